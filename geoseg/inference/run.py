"""Work that overlaps, with as much of it in memory as is said and not more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from rasterio.io import DatasetWriter
from rasterio.windows import Window

from geoseg.concurrency import batched, map_buffered
from geoseg.inference.journal import Journal, Record, open_journal
from geoseg.inference.plan import Job, Plan, decide_tiles
from geoseg.inference.predictor import Decided, Predictor, decide
from geoseg.legend import Legend
from geoseg.progress import Track, silent
from geoseg.raster.cog import Colormap, working_raster
from geoseg.raster.tiles import Tile

# A scene's labels: read prefetch → decide → write behind, tile after tile.

Write = Callable[[Decided | None], None]
"""Takes what was found in a tile, None where there is nothing to decide."""

_AHEAD = 16  # batched that an executor is given before the first comes back


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
            with job.reader() as reader, _thread() as reading:
                reads = map_buffered(reading, reader.read, tiles)
                yield from map_buffered(
                    writer, write, decide(predictor, reads, batch_size=batch_size)
                )
        else:
            work = batched(tiles, batch_size)
            done = map_buffered(executor, partial(decide_tiles, job), work, depth=_AHEAD)
            found = (decided for batch in done for decided in batch)
            yield from map_buffered(writer, write, found)


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


# A plan becomes rasters: what a journal holds is taken from it, the rest is decided.

LABELS, CONFIDENCE, PROBABILITIES = "labels", "confidence", "probabilities"

_NOWHERE = Window(0, 0, 0, 0)

log = logging.getLogger(__name__)


def work_on(
    plan: Plan,
    folder: Path,
    *,
    legend: Legend,
    colormap: Colormap,
    tags: dict[str, str],
    output: Path,
    predictor: Predictor,
    batch_size: int = 1,
    executor: Executor | None = None,
    track: Track = silent,
) -> dict[str, Path]:
    """Decide a scene and return its rasters in `folder`, by what they are: labels, confidence, and
    probabilities if the plan wants them. `tags` and `colormap` are for the labels.

    What an earlier run decided is taken from the journal in `folder`; `output` is the name that
    messages speak of. Raises SceneError, OutputError, ConfigError.
    """
    here = folder / plan.key
    kinds: dict[str, tuple[str, ...]] = {LABELS: ("",), CONFIDENCE: ("",)}
    if plan.job.probabilities:
        kinds[PROBABILITIES] = legend.names
    paths = {kind: here / f"{kind}.tif" for kind in kinds}
    here.mkdir(exist_ok=True)
    with ExitStack() as stack:
        about = plan.about
        journal = stack.enter_context(open_journal(here / "journal", about, output=output))
        for path in paths.values():  # of a run that was killed, and may be anything
            path.unlink(missing_ok=True)
        rasters = [
            stack.enter_context(
                working_raster(
                    path,
                    plan.info,
                    bands=kinds[kind],
                    tags=tags if kind == LABELS else None,
                    colormap=colormap if kind == LABELS else None,
                )
            )
            for kind, path in paths.items()
        ]
        write = _writer(rasters)
        found = _decide(
            plan, journal, write,
            predictor=predictor, batch_size=batch_size, executor=executor, track=track,
        )  # fmt: skip
    if not found:
        log.warning("%s: has no valid pixel, so nothing is found in it", plan.info.path)
    return paths


def _decide(
    plan: Plan,
    journal: Journal,
    write: Callable[[Record], None],
    *,
    predictor: Predictor,
    batch_size: int,
    executor: Executor | None,
    track: Track,
) -> bool:
    """Returns False when no tile had anything to decide."""
    before, found = set(), False
    for record in journal.records():
        write(record)
        before.add(record.number)
        found |= record.planes is not None
    if before:
        log.info("%s: %d of %d tiles were decided before", plan.name, len(before), len(plan.cells))
    with plan.job.reader() as reader:
        left = [
            (number, cell)
            for number, cell in enumerate(plan.cells)
            if number not in before and reader.concerns(cell)
        ]
    numbers = iter([number for number, _ in left])

    def keep(decided: Decided | None) -> None:
        nonlocal found
        number = next(numbers)
        if decided is None:
            journal.add(Record(number, _NOWHERE, None))
            return
        record = Record(number, decided.place, decided.planes)
        write(record)
        journal.add(record)
        found = True

    cells = [cell for _, cell in left]
    steps = label(
        plan.job, cells, keep, predictor=predictor, batch_size=batch_size, executor=executor
    )
    with closing(steps):  # its files and threads, when somebody interrupts the track
        for _ in track(steps, "segment", total=len(left)):
            pass
    return found


def _writer(rasters: list[DatasetWriter]) -> Callable[[Record], None]:
    """Writes the planes of a record to the bands of the rasters, one after the other."""

    def write(record: Record) -> None:
        if record.planes is None:
            return
        first = 0
        for raster in rasters:
            raster.write(record.planes[first : first + raster.count], window=record.place)
            first += raster.count

    return write
