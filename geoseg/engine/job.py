"""All that a thread, a process or a machine needs to know to decide tiles of a scene."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg.area import Area
from geoseg.engine.decide import decide
from geoseg.engine.predict import Decided, Predictor
from geoseg.engine.reader import Readable, Reader
from geoseg.files import Source
from geoseg.grid import Tile
from geoseg.model.file import Model, load_model
from geoseg.mosaic import open_mosaic
from geoseg.scene import open_scene


@dataclass(frozen=True)
class Job:
    """A scene, a model, and how the one is shown to the other; it can be pickled."""

    scenes: tuple[Source, ...]
    """Several make a mosaic."""

    indexes: tuple[int, ...] | None
    """Bands of the scene, numbered from 1; None: all but alpha."""

    bands: int
    """That the model wants."""

    dtype: str

    model: Path | None
    """None: the one geoseg ships with."""

    device: str = "cpu"

    backend: str = "torch"

    pixel: tuple[float, float] = (1.0, 1.0)
    """What a pixel of the network measures in the scene's pixels, along a row and along a column."""

    area: Area | None = None

    probabilities: bool = False

    augmented: bool = False

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """The scene, open."""
        with self.scene() as scene:
            yield Reader(scene, pixel=self.pixel, area=self.area)

    @contextmanager
    def scene(self) -> Iterator[Readable]:
        """The scene as it is, in its own pixels. Raises SceneError."""
        wanted = {"bands": self.bands, "indexes": self.indexes, "dtype": self.dtype}
        if len(self.scenes) > 1:
            with open_mosaic(self.scenes, **wanted) as mosaic:  # type: ignore[arg-type]
                yield mosaic
        else:
            with open_scene(self.scenes[0], **wanted) as scene:  # type: ignore[arg-type]
                yield scene

    def predictor(self, model: Model | None = None) -> Predictor:
        """The model, ready; `model` spares opening it once more."""
        return Predictor(
            model or load_model(self.model),
            self.device,
            probabilities=self.probabilities,
            augmented=self.augmented,
        )


class _Here(threading.local):
    """What this thread has open, so that the next tiles of the same job find it so."""

    job: Job | None = None
    reader: Reader
    predictor: Predictor
    stack: ExitStack


_here = _Here()


def decide_tiles(job: Job, tiles: Sequence[Tile]) -> list[Decided | None]:
    """What is found in each tile, None where there is nothing to decide; on whatever thread or process
    this is called, with a handle of its own to the scene.
    """
    if _here.job != job:
        if _here.job is not None:
            _here.stack.close()
        _here.job, _here.stack = None, ExitStack()
        _here.reader = _here.stack.enter_context(job.reader())
        _here.predictor = job.predictor()
        _here.job = job
    return list(decide(_here.predictor, map(_here.reader.read, tiles), batch_size=len(tiles)))
