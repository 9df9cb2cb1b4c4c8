"""Build a dataset folder from source scenes: map classes, validate, split, place, write, count."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn
from geoseg.annotations.validation import (
    Action,
    IssueKind,
    ValidationReport,
    log_report,
    write_report,
)
from geoseg.dataset.bands import BandLayout, align_bands
from geoseg.dataset.classes import (
    ClassMapping,
    make_class_error,
    mark_countable,
    unite_legends,
)
from geoseg.dataset.folder import (
    ANNOTATIONS,
    DESCRIPTION,
    REPORT,
    SCENES,
    ClassCounts,
    Counts,
    DatasetScene,
    write_annotated_area,
    write_annotations,
    write_description,
)
from geoseg.dataset.images import write_image
from geoseg.dataset.placement import find_common_crs, place_scenes
from geoseg.dataset.pool import InputPool
from geoseg.dataset.record import JOURNAL, BuildJournal, SceneCounts, compute_fingerprint
from geoseg.dataset.sources import SourceScene, check_names
from geoseg.dataset.split import assign_splits
from geoseg.dataset.validate import (
    report_duplicate_images,
    report_missing_classes,
    report_overlaps,
    select_annotated,
    validate_objects,
)
from geoseg.errors import DatasetError, OutputError
from geoseg.files import DISK_FULL, check_parent
from geoseg.legend import Legend
from geoseg.options import PrepareOptions, RunOptions
from geoseg.raster.histogram import (
    add_histograms,
    compute_statistics,
    count_values,
    empty_histograms,
)
from geoseg.raster.scene import assume_pixel_size
from geoseg.work_folder import open_work_folder, publish_folder, restore_folder

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
    bands, scenes = align_bands(scenes, report, chosen=options.bands is not None)
    report.raise_rejected()
    _check_any(scenes, journal, report)
    scenes = [assume_gsd(scene, options.pixel_size_m) for scene in scenes]
    legend, scenes = map_classes(scenes, classes, report)
    drop = options.difficult == "drop"
    scenes = [validate_objects(scene, report, drop_difficult=drop) for scene in scenes]
    scenes = select_annotated(scenes, report)
    report_duplicate_images(scenes, report)
    scenes = assign_splits(scenes, options, report, spatial=spatial)
    report.raise_rejected()
    _check_any(scenes, journal, report)
    check_names(scenes)
    crs = find_common_crs([scene.image for scene in scenes])
    report_overlaps(scenes, report)
    report_missing_classes(scenes, legend, report)
    write = partial(
        write_image_scenes,
        journal=journal,
        crs=crs,
        legend=legend,
        band_names=bands.names,
        check=pool.raise_if_cancelled,
    )
    files = _group_by_file(place_scenes(scenes))
    parts = pool.map(write, files, "write scenes", report, stop_at_first=True)
    written = [scene for of_file in parts for scene in of_file]
    _check_any(written, journal, report)
    written.sort(key=lambda w: w.scene.name)
    journal.close([w.scene for w in written])
    _write_tables(written, journal.folder, legend, bands, crs.to_wkt() if crs else None, scenes)
    write_report(journal.folder / REPORT, report)


def _group_by_file(scenes: Sequence[SourceScene]) -> list[list[SourceScene]]:
    """Group scenes of one file, the largest files first: no thread is to be left alone with a large one."""
    files: dict[str, list[SourceScene]] = {}
    for scene in scenes:
        files.setdefault(scene.stem, []).append(scene)
    return sorted(
        files.values(), key=lambda parts: -sum(s.image.width * s.image.height for s in parts)
    )


def finish_build(output: Path, report: ValidationReport) -> None:
    """Log the validation report of a finished dataset. Raises SkippedInputsError if inputs were left out."""
    log_report(output / REPORT, report)
    report.raise_skipped(output)


def _check_any(scenes: Sequence[object], journal: BuildJournal, report: ValidationReport) -> None:
    if not scenes:
        raise DatasetError(f"{journal.output}: no scene is left. {report.format_errors()}")


def assume_gsd(scene: SourceScene, metres: float | None) -> SourceScene:
    """Return a scene with a GSD of `metres`, if it has no CRS and its GSD is unknown."""
    image = assume_pixel_size(scene.image, metres)  # warns if it has another
    unknown = image.crs is None and scene.gsd is None
    return replace(scene, gsd=metres) if unknown and metres is not None else scene


def map_classes(
    scenes: Sequence[SourceScene], classes: ClassMapping, report: ValidationReport
) -> tuple[Legend, list[SourceScene]]:
    """Return the legend of the dataset, and the scenes with its class IDs."""
    files = {scene.legend: scene.labels for scene in scenes}
    classes.check_sources(name for legend in files for name in legend.names[1:])
    mapped = {file: classes.map_legend(legend) for legend, file in files.items()}
    legend = classes.requested or unite_legends(mapped, report)
    if classes.countable is not None:
        legend = mark_countable(legend, classes.countable)
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
        layers[layer] = replace(objects[kept], class_id=ids[kept].astype(np.uint8))
    return replace(scene, layers=layers, legend=legend)


def _write_tables(
    written: Sequence[WrittenScene],
    folder: Path,
    legend: Legend,
    bands: BandLayout,
    crs: str | None,
    scenes: Sequence[SourceScene],
) -> None:
    """Write annotations.gpkg and dataset.json."""
    training = [w for w in written if w.scene.split == "train"] or written
    entries = [w.scene for w in written]
    layers = {layer: [w.layers[layer] for w in written] for layer in written[0].layers}
    (folder / ANNOTATIONS).unlink(missing_ok=True)  # of an interrupted run
    write_annotations(folder, entries, layers, legend, crs)
    areas = [w.area for w in written]
    if has_areas := any(area is not None for area in areas):
        write_annotated_area(folder, entries, areas, crs)
    write_description(
        folder,
        legend=legend,
        scenes=entries,
        layers={layer: count_classes(written, layer, legend) for layer in layers},
        crs=crs,
        local_coordinates=crs is None and any(scene.located for scene in scenes),
        dtype=bands.dtype,
        band_names=bands.names,
        statistics=compute_statistics(w.counts.values for w in training),
        annotated_area=has_areas,
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
            if error.errno in DISK_FULL:
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


@dataclass(frozen=True, slots=True)
class WrittenScene:
    """Scene that is complete in the dataset folder."""

    scene: DatasetScene

    layers: Mapping[str, Annotations]
    """Annotations by layer, in pixels of the scene."""

    counts: SceneCounts

    @property
    def area(self) -> shapely.Geometry | None:
        """Annotated area in pixels of the scene; None: all of it."""
        return next((objects.area for objects in self.layers.values()), None)


def write_image_scenes(
    sources: Sequence[SourceScene],
    *,
    journal: BuildJournal,
    crs: CRS | None,
    legend: Legend,
    band_names: Sequence[str],
    check: Callable[[], None],
) -> list[WrittenScene]:
    """Write the image of one or more scenes into the dataset folder, or reuse it if it is unchanged.

    Parameters
    ----------
    sources
        A whole scene, or windows of one image, with final transforms and splits.
    journal
        Journal of the dataset.
    crs
        CRS of the dataset.
    legend
        Legend of the dataset.
    band_names
        Names of its bands.
    check
        Called for every strip; raises to cancel the work.
    """
    first = sources[0]
    image = first.whole or first.image
    file = f"{SCENES}/{first.stem}.tif"
    key = compute_fingerprint(sources, len(legend), band_names, crs)
    counts = journal.reuse(file, key, image.transform[:6])
    if counts is None:
        counters = {
            source.name: SceneCounter(source.layers, len(legend), len(band_names), image.dtype)
            for source in sources
        }

        def count_strip(strip: Window, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
            check()
            for source in sources:
                part = crop_strip(strip, source.window)
                if part:
                    window, rows, columns = part
                    counter = counters[source.name]
                    counter.add(window, pixels[:, rows, columns], valid[rows, columns])

        write_image(
            image,
            journal.folder / file,
            names=band_names,
            transform=image.transform,
            crs=crs,
            on_strip=count_strip,
        )
        counts = {name: counter.counts for name, counter in counters.items()}
        journal.add(file, key, image.transform[:6], counts)
    return [
        WrittenScene(_describe_scene(source, file, crs), source.layers, counts[source.name])
        for source in sources
    ]


def crop_strip(strip: Window, block: Window | None) -> tuple[Window, slice, slice] | None:
    """Return the part of a strip of an image that lies in a block: in pixels of the block, and of the strip."""
    if block is None:
        return strip, slice(None), slice(None)
    left, top, width, height = block.flatten()
    first = max(top, strip.row_off)
    last = min(top + height, strip.row_off + strip.height)
    if first >= last:
        return None
    window = Window(0, first - top, width, last - first)
    rows = slice(first - strip.row_off, last - strip.row_off)
    return window, rows, slice(left, left + width)


def _describe_scene(source: SourceScene, file: str, crs: CRS | None) -> DatasetScene:
    image, window = source.image, source.window
    return DatasetScene(
        name=source.name,
        file=file,
        split=source.split or "",
        width=image.width,
        height=image.height,
        pixel_size_m=image.pixel_size_m if crs else source.gsd,
        image_source=source.image_source,
        transform=tuple(image.transform[:6]),
        window=(window.col_off, window.row_off, window.width, window.height) if window else None,
    )


class SceneCounter:
    """Counts the pixels of each class and the values of each band of a scene, window by window."""

    def __init__(
        self, layers: Mapping[str, Annotations], classes: int, bands: int, dtype: str
    ) -> None:
        self.counts = SceneCounts(
            {layer: np.zeros(classes, np.int64) for layer in layers}, empty_histograms(bands, dtype)
        )
        self._indexes = {layer: AnnotationIndex(objects) for layer, objects in layers.items()}

    def add(self, window: Window, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Count the valid pixels of a window."""
        for layer, index in self._indexes.items():
            labels = burn(
                index.query_window(window),
                *valid.shape,
                transform=Affine.translation(-window.col_off, -window.row_off),
            )
            counts = self.counts.pixels[layer]
            counts += _count_ids(labels[valid], len(counts))
        found = count_values(pixels, valid)
        values = map(add_histograms, zip(self.counts.values, found, strict=True))
        self.counts = SceneCounts(self.counts.pixels, tuple(values))


def count_classes(written: Sequence[WrittenScene], layer: str, legend: Legend) -> ClassCounts:
    """Sum the objects and pixels of each class over all scenes and over each split."""
    splits = sorted({w.scene.split for w in written})
    whole = _sum_counts(written, layer, legend)
    parts = {
        split: _sum_counts([w for w in written if w.scene.split == split], layer, legend)
        for split in splits
    }
    return ClassCounts(whole.objects, whole.pixels, parts)


def _sum_counts(written: Sequence[WrittenScene], layer: str, legend: Legend) -> Counts:
    objects = np.sum([_count_ids(w.layers[layer].class_id, len(legend)) for w in written], axis=0)
    pixels = np.sum([w.counts.pixels[layer] for w in written], axis=0)
    return Counts(
        {c.name: int(objects[c.id]) for c in legend.objects},
        {c.name: int(pixels[c.id]) for c in legend},
    )


def _count_ids(class_ids: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return the (classes,) number of each class ID, without IGNORE."""
    counts: NDArray[np.int64] = np.bincount(class_ids, minlength=classes)[:classes]
    return counts
