"""A plan becomes rasters: what a journal holds is taken from it, the rest is decided."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from pathlib import Path

from rasterio.io import DatasetWriter
from rasterio.windows import Window

from geoseg.engine.journal import Journal, Record, open_journal
from geoseg.engine.label import label
from geoseg.engine.plan import Plan
from geoseg.engine.predict import Decided, Predictor
from geoseg.engine.rasters import Colormap, working_raster
from geoseg.legend import Legend
from geoseg.progress import Track, silent

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
