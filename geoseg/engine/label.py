"""A scene's labels: read ahead → decide → write behind, tile after tile."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from geoseg.engine.decide import decide
from geoseg.engine.flow import batches, overlapped
from geoseg.engine.job import Job, decide_tiles
from geoseg.engine.predict import Decided, Predictor
from geoseg.grid import Tile

Write = Callable[[Decided | None], None]
"""Takes what was found in a tile, None where there is nothing to decide."""

_AHEAD = 16  # batches that an executor is given before the first comes back


def label(
    job: Job,
    tiles: Sequence[Tile],
    write: Write,
    *,
    predictor: Predictor,
    batch_size: int = 1,
    executor: Executor | None = None,
) -> Generator[None]:
    """Decide `tiles` in their order, give each to `write`, and yield after each.

    Reading and writing run on a thread each beside the network, which `predictor` runs in this
    one; or an `executor` decides (threads, processes, a cluster), each of its workers with files
    and a model of its own, and this process only writes. Raises SceneError where the scene is
    damaged, OutputError, and ConfigError when the memory does not suffice.
    """
    with _thread() as writer:
        if executor is None:
            with job.reader() as reader, _thread() as ahead:
                reads = overlapped(ahead, reader.read, tiles)
                yield from overlapped(
                    writer, write, decide(predictor, reads, batch_size=batch_size)
                )
        else:
            work = batches(tiles, batch_size)
            done = overlapped(executor, partial(decide_tiles, job), work, depth=_AHEAD)
            found = (decided for batch in done for decided in batch)
            yield from overlapped(writer, write, found)


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
