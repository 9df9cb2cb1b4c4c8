"""Build a dataset folder from source scenes: map classes, validate, split, place, write."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.annotations.validation import (
    Action,
    IssueKind,
    ValidationReport,
    log_report,
    write_report,
)
from geoseg.dataset.classes import ClassMapping, make_class_error, unite_legends
from geoseg.dataset.folder import (
    ANNOTATIONS,
    DESCRIPTION,
    REPORT,
    SCENES,
    write_annotations,
    write_description,
)
from geoseg.dataset.placement import find_common_crs, place_scenes
from geoseg.dataset.pool import InputPool
from geoseg.dataset.record import JOURNAL, BuildJournal
from geoseg.dataset.scenes import WrittenScene, count_classes, write_scene
from geoseg.dataset.sources import SourceScene, check_names
from geoseg.dataset.split import assign_splits
from geoseg.dataset.validate import report_duplicate_images, report_overlaps, validate_objects
from geoseg.errors import DatasetError, OutputError
from geoseg.files import check_parent
from geoseg.legend import Legend
from geoseg.options import PrepareOptions, RunOptions
from geoseg.work_folder import open_work_folder, publish_folder, restore_folder

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEW = "dataset"


def build_dataset(
    scenes: Sequence[SourceScene],
    journal: BuildJournal,
    options: PrepareOptions,
    classes: ClassMapping,
    pool: InputPool,
    report: ValidationReport,
    *,
    spatial: bool,
) -> None:
    """Write a dataset into the folder of a journal.

    Parameters
    ----------
    scenes
        Scenes of all sources.
    journal
        Journal of the dataset, from `open_build`.
    options
        Splits and treatment of difficult objects.
    classes
        Legend and renaming of classes.
    pool, report
        Threads, and the issues they find.
    spatial
        Divide scenes without a split by the ground they cover, else by name.

    Raises
    ------
    SceneError, AnnotationError
        With all rejected inputs, unless the report skips them.
    DatasetError
        If no scene is left.
    """
    report.raise_rejected()
    _check_any(scenes, journal, report)
    legend, scenes = map_classes(scenes, classes, report)
    drop = options.difficult == "drop"
    scenes = [validate_objects(scene, report, drop_difficult=drop) for scene in scenes]
    report_duplicate_images(scenes, report)
    scenes = assign_splits(scenes, options, report, spatial=spatial)
    report.raise_rejected()
    _check_any(scenes, journal, report)
    check_names(scenes)
    crs = find_common_crs([scene.image for scene in scenes])
    report_overlaps(scenes, report)
    # largest first, so that no thread is left alone with a large scene
    placed = sorted(place_scenes(scenes), key=lambda s: -s.image.width * s.image.height)
    write = partial(
        write_scene, journal=journal, crs=crs, legend=legend, check=pool.raise_if_cancelled
    )
    written = pool.map(write, placed, "write scenes", report, stop_at_first=True)
    _check_any(written, journal, report)
    written.sort(key=lambda w: w.scene.name)
    journal.close([w.scene for w in written])
    _write_tables(written, journal.folder, legend, crs.to_wkt() if crs else None, scenes)
    write_report(journal.folder / REPORT, report)


def finish_build(output: Path, report: ValidationReport) -> None:
    """Log the validation report of a finished dataset. Raises SkippedInputsError if inputs were left out."""
    log_report(output / REPORT, report)
    report.raise_skipped(output)


def _check_any(scenes: Sequence[object], journal: BuildJournal, report: ValidationReport) -> None:
    if not scenes:
        raise DatasetError(f"{journal.output}: no scene is left. {report.format_errors()}")


def map_classes(
    scenes: Sequence[SourceScene], classes: ClassMapping, report: ValidationReport
) -> tuple[Legend, list[SourceScene]]:
    """Return the legend of the dataset, and the scenes with its class IDs."""
    files = {scene.legend: scene.labels for scene in scenes}
    classes.check_sources(name for legend in files for name in legend.names[1:])
    mapped = {file: classes.map_legend(legend) for legend, file in files.items()}
    legend = classes.requested or unite_legends(mapped, report)
    tables = {}
    for source, file in files.items():
        try:
            tables[source] = classes.label_table(source, legend)
        except ValueError as error:
            raise make_class_error(file, error) from error
    return legend, [_map_scene(s, tables[s.legend], legend, report) for s in scenes]


def _map_scene(
    scene: SourceScene, table: NDArray[np.int16], legend: Legend, report: ValidationReport
) -> SourceScene:
    layers = {}
    for layer, objects in scene.layers.items():
        ids = table[objects.class_id]
        for source_id in np.unique(objects.class_id[ids < 0]):
            report.add(
                IssueKind.DROPPED_CLASS,
                scene.files[layer],
                Action.LEFT_OUT,
                scene=scene.name,
                count=(objects.class_id == source_id).sum(),
                note=scene.legend[source_id].name,
            )
        kept = ids >= 0
        layers[layer] = Annotations(
            objects.geometry[kept], ids[kept].astype(np.uint8), objects.difficult[kept]
        )
    return replace(scene, layers=layers, legend=legend)


def _write_tables(
    written: Sequence[WrittenScene],
    folder: Path,
    legend: Legend,
    crs: str | None,
    scenes: Sequence[SourceScene],
) -> None:
    """Write annotations.gpkg and dataset.json."""
    entries = [w.scene for w in written]
    layers = {layer: [w.layers[layer] for w in written] for layer in written[0].layers}
    (folder / ANNOTATIONS).unlink(missing_ok=True)  # of an interrupted run
    write_annotations(folder, entries, layers, legend, crs)
    write_description(
        folder,
        legend=legend,
        scenes=entries,
        layers={layer: count_classes(written, layer, legend) for layer in layers},
        crs=crs,
        local_coordinates=crs is None and any(scene.located for scene in scenes),
    )


@contextmanager
def open_build(output: Path, run: RunOptions) -> Iterator[BuildJournal]:
    """Open a folder that becomes the dataset `output` when the block ends without an error.

    Parameters
    ----------
    output
        Dataset to write. Only a dataset or an empty folder is ever replaced.
    run
        Overwrite an existing dataset; restart an interrupted run.

    Yields
    ------
    BuildJournal
        Journal of the folder. It has the scenes that an interrupted run has finished, and those of the dataset to be
        replaced.

    Raises
    ------
    OutputError
        If `output` cannot be written, also for lack of space, or while another process writes it.
    """
    target = output.resolve()
    check_parent(output, target.parent)
    # remote: a damaged scene may be repaired before the next run, so finished scenes are kept
    with open_work_folder(target, remote=True) as work:
        new = work / _NEW
        restore_folder(work, target)
        _check_target(output, target, overwrite=run.overwrite)
        if run.restart:
            shutil.rmtree(new, ignore_errors=True)
        try:
            (new / SCENES).mkdir(parents=True, exist_ok=True)
            _remove_incomplete(new)
            former = target if run.overwrite and not run.restart else None
            yield BuildJournal(output, new, former)
            _sync_files(new)
            publish_folder(new, target)
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise OutputError(
                    f"{output}: the disk is full. Free some space or choose another disk"
                ) from error
            raise


def _remove_incomplete(folder: Path) -> None:
    """Remove the files of an interrupted run but its scenes and journal."""
    for path in folder.iterdir():
        if path.is_file() and path.name != JOURNAL:
            path.unlink()


def _check_target(output: Path, target: Path, *, overwrite: bool) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() and not (target / DESCRIPTION).is_file():
        raise OutputError(f"{output}: exists and is not a dataset. Choose another name")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{output}: exists already. Choose another name, or use --overwrite, which writes only "
            "what has changed"
        )


def _sync_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
