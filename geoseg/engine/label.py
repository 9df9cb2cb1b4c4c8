"""A scene's labels: read ahead → decide → write behind, tile after tile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from rasterio.io import DatasetWriter
from rasterio.windows import Window

from geoseg.engine.flow import overlapped
from geoseg.engine.predict import Decided, Predictor, Read
from geoseg.grid import Tile
from geoseg.progress import Track, silent
from geoseg.scene import Scene


def label(
    scene: Scene,
    tiles: Sequence[Tile],
    predictor: Predictor,
    labels: DatasetWriter,
    confidence: DatasetWriter,
    *,
    batch_size: int = 1,
    track: Track = silent,
) -> int:
    """Write the labels and confidences of all `tiles` and return how many of them had something
    to decide.

    Reading and writing run on a thread each beside the network. Tiles without a valid pixel are
    neither computed nor written. Raises SceneError where the scene is damaged, OutputError, and
    ConfigError when the memory does not suffice.
    """

    def read(tile: Tile) -> Read:
        return Read(tile, *scene.read(tile.window))

    def write(decided: Decided | None) -> bool:
        if decided is None:
            return False
        core: Window = decided.tile.core
        labels.write(decided.labels, 1, window=core)
        confidence.write(decided.confidence, 1, window=core)
        return True

    with _thread() as reader, _thread() as writer:
        reads = overlapped(reader, read, tiles)
        written = overlapped(writer, write, decide(predictor, reads, batch_size=batch_size))
        return sum(track(written, "segment", total=len(tiles)))


def decide(
    predictor: Predictor, reads: Iterable[Read], *, batch_size: int = 1
) -> Iterator[Decided | None]:
    """What was found in each tile, None for one without data; neighbours of one size go through
    the network together.
    """
    batch: list[Read] = []
    for read in reads:
        if read.empty:
            yield None
            continue
        if batch and predictor.padded(batch[0]) != predictor.padded(read):
            yield from predictor.decide(batch)
            batch = []
        batch.append(read)
        if len(batch) == batch_size:
            yield from predictor.decide(batch)
            batch = []
    if batch:
        yield from predictor.decide(batch)


@contextmanager
def _thread() -> Iterator[Executor]:
    """One thread, so that a dataset is only ever used by one; what has not begun when the block
    ends is dropped.
    """
    executor = ThreadPoolExecutor(max_workers=1)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
