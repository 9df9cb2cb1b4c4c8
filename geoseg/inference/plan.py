"""All that a thread, a process or a machine needs to know to decide tiles of a scene."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio
from rasterio.windows import Window

from geoseg._version import __version__
from geoseg.errors import ConfigError
from geoseg.files import ScenePath, Url, read_remote_version
from geoseg.inference.memory import largest_window
from geoseg.inference.predictor import Decided, Predictor, decide
from geoseg.inference.reader import Gsd, Readable, Reader, network_pixel
from geoseg.inference.tiling import Margin, forward_ratio, margin_px, tiles
from geoseg.models.model_file import Model, load_model
from geoseg.models.onnx_import import load_onnx
from geoseg.models.runtime import Backend, gpu_bytes, on_backend
from geoseg.raster.aoi import Area, Box, area_of_box, area_of_file, overlap
from geoseg.raster.mosaic import Mosaic, opened_mosaic
from geoseg.raster.scene import Scene, SceneInfo, gdal_settings, opened_scene
from geoseg.raster.tiles import Tile


@dataclass(frozen=True)
class Job:
    """A scene, a model, and how the one is shown to the other; it can be pickled."""

    scenes: tuple[ScenePath, ...] = ()
    """Several make a mosaic."""

    indexes: tuple[int, ...] | None = None
    """Bands of the scene, numbered from 1; None: all but alpha."""

    bands: int | None = None
    """How many the model wants."""

    dtype: str | None = None
    """And of which type."""

    model: Path | None = None
    """None: the one geoseg ships with."""

    device: str = "cpu"

    backend: Backend = "auto"

    card: Path | None = None
    """What an ONNX file does not say of itself."""

    pixel: tuple[float, float] = (1.0, 1.0)
    """What a pixel of the network measures in the scene's pixels, along a row and along a column."""

    area: Area | None = None

    probabilities: bool = False

    augmented: bool = False

    identity: str = ""
    """Changes when the files do that the paths name."""

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """The scene, open. Raises SceneError."""
        with self.settings():
            scene = self.open_scene()
            try:
                yield self.reader_of(scene)
            finally:
                scene.close()

    def settings(self) -> rasterio.Env:
        """GDAL's, while the scene is opened and read."""
        return gdal_settings(*self.scenes)

    def open_scene(self) -> Scene | Mosaic:
        """The scene as it is, in its own pixels, for a caller who closes it. Raises SceneError."""
        wanted: dict[str, Any] = {"bands": self.bands, "indexes": self.indexes, "dtype": self.dtype}
        if len(self.scenes) > 1:
            return opened_mosaic(self.scenes, **wanted)
        return opened_scene(self.scenes[0], **wanted)

    def reader_of(self, scene: Readable) -> Reader:
        """The scene as the network sees it."""
        return Reader(scene, pixel=self.pixel, area=self.area)

    def open_model(self) -> Model:
        """The model as it is in its file. Raises ModelError, ConfigError."""
        if self.model is not None and self.model.suffix.lower() == ".onnx":
            return load_onnx(self.model, self.card)
        if self.card is not None:
            raise ConfigError(f"--card {self.card}: is for ONNX files; geoseg's models have theirs")
        return load_model(self.model)

    def predictor(self, model: Model | None = None) -> Predictor:
        """The model, ready; `model` spares opening it once more."""
        return Predictor(
            on_backend(model or self.open_model(), self.backend),
            self.device,
            probabilities=self.probabilities,
            augmented=self.augmented,
        )


class _Here(threading.local):
    """What this thread has open, so that the next tiles of the same job find it so."""

    job: Job | None = None
    scene: Scene | Mosaic
    predictor: Predictor


_here = _Here()


def decide_tiles(job: Job, tiles: Sequence[Tile]) -> list[Decided | None]:
    """What is found in each tile, None where there is nothing to decide; on whatever thread or process
    this is called, with a handle of its own to the scene.
    """
    with job.settings():
        if _here.job != job:
            if _here.job is not None:
                _here.scene.close()
            _here.job = None
            _here.scene, _here.predictor = job.open_scene(), job.predictor()
            _here.job = job
        reads = map(job.reader_of(_here.scene).read, tiles)
        return list(decide(_here.predictor, reads, batch_size=len(tiles)))


# A scene, checked and cut into tiles before the first of them is read.

DEFAULT_MEMORY = 2_000_000_000
"""Bytes that a run on the CPU keeps to unless it is told otherwise."""

_PIXEL_BYTES = 32
"""Per pixel of a window: what is read ahead, scaled, and written behind, outside the network."""

_DEAR = 2.0
"""Pixels through the network per pixel of the scene that are worth a word."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one scene, or with several as a mosaic."""

    name: str

    info: SceneInfo

    job: Job

    cells: Sequence[Tile]
    """All tiles of its grid, in the network's pixels; their numbers are what a journal speaks of."""

    about: Mapping[str, Any]
    """Everything its labels depend on, for the journal."""

    @property
    def key(self) -> str:
        """Names its work, whatever other scenes there are."""
        names = [str(s.absolute()) if isinstance(s, Path) else s for s in self.job.scenes]
        return hashlib.sha256(repr(names).encode()).hexdigest()[:16]

    @property
    def outside(self) -> bool:
        """True where nothing is wanted of it."""
        whole = Window(0, 0, self.info.width, self.info.height)
        return self.job.area is not None and not self.job.area.touches(whole)


@dataclass(frozen=True, slots=True)
class Planner:
    """How any scene is cut, given a model and what was asked."""

    model: Model

    job: Job
    """Without a scene, its pixel and its area."""

    core: int | None = None

    margin: Margin = "auto"

    memory: int | None = None
    """Bytes; None: 2 GB, or what a GPU has left."""

    batch_size: int = 1

    gsd: Gsd = "auto"

    bbox: Box | None = None

    aoi: Path | None = None

    def plan(self, scenes: tuple[ScenePath, ...]) -> Plan:
        """Check a scene, or several as a mosaic, and cut it.

        Raises SceneError when it does not fit, AnnotationError for the area's file, ConfigError for
        what was asked.
        """
        job = replace(self.job, scenes=scenes)
        with job.reader() as reader:
            info = reader.info
        pixel = network_pixel(info, self.model.card, self.gsd)
        job = replace(job, pixel=pixel, area=self._area(info))
        with job.reader() as reader:
            width, height = reader.width, reader.height
        margin = margin_px(self.margin, self.model)
        largest = self._largest_window(job)
        if self.core is not None and self.memory and (self.core + 2 * margin) ** 2 > largest:
            raise ConfigError(
                f"--memory: does not suffice for windows of --core {self.core} and a margin of "
                f"{margin} pixels. leave --core out, or allow more"
            )
        cells = tiles(
            width, height, self.model,
            core=self.core, margin=margin, largest_window=largest if self.core is None else None,
        )  # fmt: skip
        ratio = forward_ratio(cells, width, height)
        if ratio > _DEAR:
            log.info(
                "%s: every pixel goes %.1f times through the network, for a margin of %d pixels. "
                "a smaller --margin or a larger --memory makes it quicker",
                *(info.path, ratio, margin),
            )
        others = f" and {len(scenes) - 1} more" if len(scenes) > 1 else ""
        name = scenes[0].name + others
        about = self._about(job, cells, margin)
        job = replace(job, identity=json.dumps(about))
        return Plan(name, info, job, cells, about)

    def _area(self, info: SceneInfo) -> Area | None:
        areas = []
        if self.bbox:
            areas.append(area_of_box(self.bbox, info.transform))
        if self.aoi:
            areas.append(
                area_of_file(self.aoi, info.crs, info.transform, (info.width, info.height))
            )
        return overlap(areas) if areas else None

    def _largest_window(self, job: Job) -> int:
        card = self.model.card
        own = max(1.0, job.pixel[0] * job.pixel[1])  # the scene's pixels in one of the network's
        planes = 2 + len(card.legend) * job.probabilities
        pixels = largest_window(
            self.model.network,
            bands=card.bands,
            stride=card.stride,
            limit=self._limit(job),
            pixel_bytes=_PIXEL_BYTES + own * (1 + 3 * planes),
            on_gpu=job.device != "cpu",
        )
        return pixels // self.batch_size

    def _limit(self, job: Job) -> int:
        return self.memory or gpu_bytes(job.device) or DEFAULT_MEMORY

    def _about(self, job: Job, cells: Sequence[Tile], margin: int) -> dict[str, Any]:
        area = hashlib.sha256(job.area.geometry.wkb) if job.area else None
        first, last = cells[0].core, cells[-1].core
        return {
            "geoseg": __version__,
            "scene": ", ".join(map(_identity, job.scenes)),
            "model": self.model.sha256[:16],
            "--bands": job.indexes,
            "--gsd": job.pixel,
            "--core or --memory": f"{len(cells)} tiles, first of {first.width} x {first.height}, "
            f"last at {last.col_off}, {last.row_off}",
            "--margin": margin,
            "--bbox or --aoi": area and area.hexdigest()[:16],
            "--tta": job.augmented,
            "--probabilities": job.probabilities,
            "--batch-size": self.batch_size,
            "--device": job.device,
            "--backend": job.backend,
        }


def _identity(source: ScenePath) -> str:
    """What changes when a scene does."""
    if isinstance(source, Url):
        return f"{source.partition('?')[0]} {read_remote_version(source)}"
    state = source.stat()
    changed = datetime.fromtimestamp(state.st_mtime_ns / 1e9, UTC).isoformat()
    return f"{source.absolute()} of {changed} with {state.st_size} bytes"
