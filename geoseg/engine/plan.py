"""A scene, checked and cut into tiles before the first of them is read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rasterio.windows import Window

import geoseg
from geoseg.area import Area, Box, area_of_box, area_of_file, overlap
from geoseg.device import gpu_bytes
from geoseg.engine.job import Job
from geoseg.engine.memory import largest_window
from geoseg.engine.pixel import Gsd, network_pixel
from geoseg.engine.tiling import Margin, forward_ratio, margin_px, tiles
from geoseg.errors import ConfigError
from geoseg.files import Source, Url, state_of
from geoseg.grid import Tile
from geoseg.model.file import Model
from geoseg.scene import SceneInfo

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

    def plan(self, scenes: tuple[Source, ...]) -> Plan:
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
            "geoseg": geoseg.__version__,
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


def _identity(source: Source) -> str:
    """What changes when a scene does."""
    if isinstance(source, Url):
        return f"{source.partition('?')[0]} {state_of(source)}"
    state = source.stat()
    changed = datetime.fromtimestamp(state.st_mtime_ns / 1e9, UTC).isoformat()
    return f"{source.absolute()} of {changed} with {state.st_size} bytes"


def check_memory(memory: int | None) -> None:
    """Raises ConfigError unless there is something to work with."""
    if memory is not None and memory <= 0:
        raise ConfigError(f"--memory: must be more than nothing, got {memory}")
