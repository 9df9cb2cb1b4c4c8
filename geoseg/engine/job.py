"""All that a thread, a process or a machine needs to know to decide tiles of a scene."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio

from geoseg.area import Area
from geoseg.engine.decide import decide
from geoseg.engine.predict import Decided, Predictor
from geoseg.engine.reader import Readable, Reader
from geoseg.errors import ConfigError
from geoseg.files import Source
from geoseg.grid import Tile
from geoseg.model.file import Model, load_model
from geoseg.model.foreign import load_onnx
from geoseg.model.runtime import Backend, on_backend
from geoseg.mosaic import Mosaic, opened_mosaic
from geoseg.scene import Scene, gdal_settings, opened_scene


@dataclass(frozen=True)
class Job:
    """A scene, a model, and how the one is shown to the other; it can be pickled."""

    scenes: tuple[Source, ...] = ()
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
