"""The same work on many files at once."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from geoseg.annotations.burn import Annotations, transform_geometry
from geoseg.annotations.validation import (
    Action,
    InputError,
    IssueKind,
    ValidationReport,
    log_report,
    write_report,
)
from geoseg.dataset.classes import Renaming, legend_named, read_classes, united, unknown_class
from geoseg.dataset.folder import ANNOTATIONS, DESCRIPTION, REPORT, SCENES, describe
from geoseg.dataset.placement import common_crs
from geoseg.dataset.scenes import (
    JOURNAL,
    Input,
    Placed,
    Record,
    Written,
    class_counts,
    place,
    write,
)
from geoseg.dataset.sources import check_names
from geoseg.dataset.split import by_list, by_share, in_blocks
from geoseg.dataset.validate import check_ground, check_twins, checked
from geoseg.errors import AnnotationError, ConfigError, DatasetError, OutputError, SceneError
from geoseg.files import check_parent, write_json
from geoseg.legend import Legend
from geoseg.options import BatchOptions, PrepareOptions
from geoseg.polygons.table import GEOMETRY
from geoseg.polygons.writers.gpkg import add_layer_style
from geoseg.progress import Track, silent
from geoseg.work_folder import open_work_folder, publish_folder, restore_folder

T = TypeVar("T")
R = TypeVar("R")

_FAULTS = (AnnotationError, SceneError)


class Threads:
    """A pool whose tasks end early when its block is left by an exception."""

    def __init__(self, jobs: int | None, track: Track) -> None:
        self._pool = ThreadPoolExecutor(jobs or os.cpu_count() or 1)
        self._track = track
        self._left = threading.Event()

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        self._pool.shutdown(cancel_futures=True)

    def check(self) -> None:
        """To be called by long tasks now and then: raises when nobody waits for them any more."""
        if self._left.is_set():
            raise InterruptedError("the work was given up")

    def run(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        text: str,
        report: ValidationReport,
        *,
        at_once: bool = False,
    ) -> list[R]:
        """What `function` makes of the items, in their order, but for those at fault.

        These go to `report`, which with `at_once` may stop the work at the first of them.
        """

        def attempt(item: T) -> R | InputError:
            try:
                return function(item)
            except _FAULTS as fault:
                return fault

        results: list[R] = []
        for result in self._track(self._pool.map(attempt, items), text, len(items)):
            if not isinstance(result, _FAULTS):
                results.append(result)
                continue
            report.reject(result)
            if at_once:
                report.raise_rejected()
        return results


# A dataset folder that appears only when it is complete; what is interrupted can go on.

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEW = "dataset"


@contextmanager
def building(
    output: Path, *, overwrite: bool = False, restart: bool = False
) -> Iterator[tuple[Path, Record]]:
    """A folder that takes the name `output` when the block ends well, and the record of its scenes.

    Scenes that an interrupted run has finished are in it, and the record knows those of a dataset that is
    to be replaced; `restart` does without both. Only a dataset or an empty folder is ever replaced.
    Raises OutputError when `output` cannot be written, also when the disk is full, and while another
    process writes it.
    """
    target = output.resolve()
    check_parent(output, target.parent)
    # a scene at fault may be whole in the next run, so what is done stays in any case
    with open_work_folder(target, remote=True) as work:
        new = work / _NEW
        restore_folder(work, target)
        _check_target(output, target, overwrite=overwrite)
        if restart:
            shutil.rmtree(new, ignore_errors=True)
        try:
            (new / SCENES).mkdir(parents=True, exist_ok=True)
            _drop_remains(new)
            before = target if overwrite and not restart else None
            yield new, Record(new, before)
            _sync(new)
            publish_folder(new, target)
        except OSError as fault:
            if fault.errno in _FULL:
                raise OutputError(
                    f"{output}: the disk is full. free some space or choose another disk"
                ) from fault
            raise


def _drop_remains(folder: Path) -> None:
    """Leave of a run that was killed its scenes and its journal: the rest is made anew, or was never finished."""
    for path in folder.iterdir():
        if path.is_file() and path.name != JOURNAL:
            path.unlink()


def _check_target(output: Path, target: Path, *, overwrite: bool) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() and not (target / DESCRIPTION).is_file():
        raise OutputError(f"{output}: exists and is no dataset. choose another name")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{output}: exists already. choose another name or use --overwrite, "
            "which writes only what has changed"
        )


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


# A dataset's files: scenes, annotations.gpkg, dataset.json.


def write_dataset(
    placed: Sequence[Placed],
    folder: Path,
    record: Record,
    legend: Legend,
    threads: Threads,
    report: ValidationReport,
) -> None:
    """Scenes, annotations and description, into a folder; scenes that cannot be written go to `report`.

    Raises DatasetError when none is left.
    """
    crs = common_crs([p.input.image for p in placed])
    writing = partial(
        write, folder=folder, crs=crs, legend=legend, record=record, check=threads.check
    )
    written = threads.run(writing, placed, "write scenes", report, at_once=True)
    if not written:
        raise DatasetError(f"{folder}: no scene is left. {report.format_errors()}")
    written.sort(key=lambda w: w.scene.name)
    record.close([w.scene for w in written])
    (folder / ANNOTATIONS).unlink(missing_ok=True)  # of a run that was killed
    write_annotations(written, folder, crs, legend)
    write_description(written, folder, crs, legend)


def write_annotations(
    written: Sequence[Written], folder: Path, crs: CRS | None, legend: Legend
) -> None:
    """Write one GeoPackage with a layer per truth, in map coordinates, in the legend's colours."""
    path = folder / ANNOTATIONS
    for layer in written[0].truths:
        table = _table(written, layer, crs, legend)
        simple = bool((table.geom_type == "Polygon").all())
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "'crs' was not provided")
                table.to_file(
                    path,
                    layer=layer,
                    driver="GPKG",
                    engine="pyogrio",
                    index=False,
                    geometry_type="Polygon" if simple else "MultiPolygon",
                    promote_to_multi=not simple,
                    layer_options={"GEOMETRY_NAME": GEOMETRY},
                )
        except (RuntimeError, ValueError) as fault:
            raise OutputError(
                f"{ANNOTATIONS}: cannot be written ({fault}). is the disk full?"
            ) from fault
    for layer in written[0].truths:
        add_layer_style(path, legend, layer=layer)


def write_description(
    written: Sequence[Written], folder: Path, crs: CRS | None, legend: Legend
) -> None:
    """Write dataset.json."""
    splits = [w.scene.split for w in written]
    layers = {
        layer: class_counts([w.tallies[layer] for w in written], splits, legend)
        for layer in written[0].truths
    }
    scenes = [w.scene for w in written]
    wkt = crs.to_wkt() if crs else None
    write_json(folder / DESCRIPTION, describe(legend=legend, scenes=scenes, layers=layers, crs=wkt))


def _table(
    written: Sequence[Written], layer: str, crs: CRS | None, legend: Legend
) -> gpd.GeoDataFrame:
    truths = [w.truths[layer] for w in written]
    class_id = np.concatenate([truth.class_id for truth in truths])
    return gpd.GeoDataFrame(
        {
            "scene": np.repeat([w.scene.name for w in written], [len(truth) for truth in truths]),
            "class": _class_names(class_id, legend),
            "class_id": class_id.astype(np.int16),
            "difficult": np.concatenate([truth.difficult for truth in truths]),
        },
        geometry=np.concatenate(
            [
                transform_geometry(truth.geometry, Affine(*w.scene.transform))
                for w, truth in zip(written, truths, strict=True)
            ]
        ),
        crs=crs.to_wkt() if crs else None,
    )


def _class_names(class_id: NDArray[np.uint8], legend: Legend) -> NDArray[np.object_]:
    known, which = np.unique(class_id, return_inverse=True)
    return np.array([legend.name_of(label) for label in known.tolist()], object)[which]


# From inputs that were looked at to a dataset folder, whatever the inputs are.


@dataclass(frozen=True, slots=True)
class Run:
    """What goes with a run, for those who gather its inputs."""

    settings: PrepareOptions
    threads: Threads
    report: ValidationReport

    asked: Legend | None
    """The legend that the user named."""

    renaming: Renaming
    """What the user wants classes to become."""


Gather = Callable[[Run], Sequence[Input]]


def make(
    output: Path,
    settings: PrepareOptions,
    gather: Gather,
    *,
    spatial: bool,
    run: BatchOptions,
    track: Track = silent,
) -> Path:
    """Make the dataset folder `output` of what `gather` finds, and return it.

    With `spatial`, or where blocks are asked for, scenes without a split are divided by the ground they
    show, else by their names.
    """
    report = ValidationReport(skip=run.skip_bad)
    asked = legend_named(settings.legend) if settings.legend else None
    renaming = read_classes(Path(settings.classes)) if settings.classes else Renaming()
    with (
        warnings.catch_warnings(),
        building(output, overwrite=run.overwrite, restart=run.restart) as (
            folder,
            record,
        ),
        Threads(run.jobs, track) as threads,
    ):
        # here, because threads that change the filters by turns undo one another's changes
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        inputs = gather(Run(settings, threads, report, asked, renaming))
        report.raise_rejected()
        _check_any(output, inputs, report)
        legend, inputs = _relabelled(inputs, asked, renaming, report)
        inputs = [checked(i, difficult=settings.difficult, report=report) for i in inputs]
        check_twins(inputs, report)
        inputs = _split(inputs, settings, report, spatial=spatial)
        report.raise_rejected()
        _check_any(output, inputs, report)
        check_names(i.source for i in inputs)
        check_ground(inputs, report)
        write_dataset(place(inputs), folder, record, legend, threads, report)
        write_report(folder / REPORT, report)
    log_report(output / REPORT, report)
    report.raise_skipped(output)
    return output


def _check_any(output: Path, inputs: Sequence[Input], report: ValidationReport) -> None:
    if not inputs:
        raise DatasetError(f"{output}: no scene is left. {report.format_errors()}")


def _relabelled(
    inputs: Sequence[Input], asked: Legend | None, renaming: Renaming, report: ValidationReport
) -> tuple[Legend, list[Input]]:
    """The legend of the dataset, and the inputs with its class ids."""
    known = {i.legend: i.source.labels for i in inputs}
    renaming.check(name for legend in known for name in legend.names[1:])
    legends = {path: renaming.legend(legend) for legend, path in known.items()}
    legend = asked or united(legends, report)
    tables = {}
    for former, path in known.items():
        try:
            tables[former] = renaming.table(former, legend)
        except ValueError as fault:
            raise unknown_class(path, fault) from fault
    return legend, [_with_ids(i, tables[i.legend], legend, report) for i in inputs]


def _with_ids(scene: Input, table: np.ndarray, legend: Legend, report: ValidationReport) -> Input:
    truths = {}
    for layer, objects in scene.truths.items():
        ids = table[objects.class_id]
        for former in np.unique(objects.class_id[ids < 0]):
            count = (objects.class_id == former).sum()
            report.add(
                IssueKind.DROPPED_CLASS,
                scene.file(layer),
                Action.LEFT_OUT,
                scene=scene.source.name,
                count=count,
                note=scene.legend[former].name,
            )
        kept = ids >= 0
        truths[layer] = Annotations(
            objects.geometry[kept], ids[kept].astype(np.uint8), objects.difficult[kept]
        )
    return replace(scene, truths=truths, legend=legend)


def _split(
    inputs: Sequence[Input], settings: PrepareOptions, report: ValidationReport, *, spatial: bool
) -> list[Input]:
    """Every input with a split, or blocks of it."""
    if settings.split_list:
        if settings.block or settings.gap:
            raise ConfigError(
                f"{settings.split_list}: says which scenes are in which split. leave out --block and --gap"
            )
        images = {i.source.name: i.source.image for i in inputs}
        splits = by_list(images, Path(settings.split_list), report)
        return [_into(i, splits[i.source.name]) for i in inputs if i.source.name in splits]
    undecided = [i for i in inputs if i.source.split is None]
    decided = [i for i in inputs if i.source.split is not None]
    if undecided and (spatial or settings.block):
        return decided + in_blocks(undecided, settings, report)
    if settings.block or settings.gap:
        raise ConfigError("--block and --gap are for scenes that have no split. leave them out")
    splits = by_share([i.source.name for i in undecided], settings.val_share)
    return decided + [_into(i, splits[i.source.name]) for i in undecided]


def _into(scene: Input, split: str) -> Input:
    return replace(scene, source=replace(scene.source, split=split))
