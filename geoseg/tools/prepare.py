"""Build a dataset from DOTA folders and datasets, or from scenes and an annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from geoseg.annotations.validation import ValidationReport
from geoseg.dataset.build import build_dataset, finish_build, open_build
from geoseg.dataset.classes import read_class_options
from geoseg.dataset.pool import InputPool
from geoseg.dataset.sources import merge_sources, read_annotated_scenes, read_folders
from geoseg.dataset.validate import report_sparse_annotations
from geoseg.options import (
    AnnotationOptions,
    BatchOptions,
    PrepareOptions,
    StrPath,
    as_path,
)
from geoseg.progress import Track, silent


def prepare(
    folders: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    splits: Sequence[str] | None = None,
    outlines: StrPath | None = None,
    options: PrepareOptions = PrepareOptions(),
    run: BatchOptions = BatchOptions(),
    track: Track = silent,
) -> Path:
    """Build a dataset from DOTA folders and other datasets.

    Parameters
    ----------
    folders
        DOTA folders, with ``images/`` and ``labelTxt/`` or sub-folders per split that have them, and
        datasets, which are merged.
    output
        Folder to write.
    splits
        Sub-folders, or splits of datasets, to use. Default: all.
    outlines
        GeoParquet file of outlines for DOTA folders: columns image, category, and geometry in
        pixels.
    options
        Bands, splits and classes. The default legend is the smallest of DOTA with all classes found, or
        the union of the datasets' classes by name.
    run
        Treatment of an existing dataset, of interrupted runs and of input with errors.
    track
        Progress of an iterable.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    SceneError, AnnotationError
        With a list of the inputs that have errors, unless ``run.skip_bad`` is set.
    DatasetError
        If a folder has neither layout.
    ConfigError
        For an unknown legend or class.
    OutputError
        If `output` cannot be written.
    SkippedInputsError
        After the dataset is complete, if inputs were skipped.

    Notes
    -----
    Scenes with a CRS keep their georeference and must share the CRS. Others are arranged side by
    side on a plane without a CRS, in metres where the GSD is known, else in pixels. All issues of
    the input are logged and written to ``report.json``.
    """
    output = Path(output)
    classes = read_class_options(options)
    report = ValidationReport(skip=run.skip_bad)
    with open_build(output, run) as journal, InputPool(run.jobs, track) as pool:
        paths = _to_paths(folders)
        sources = read_folders(paths, splits, as_path(outlines), classes, options, pool, report)
        scenes = merge_sources(sources, report)
        build_dataset(scenes, journal, options, classes, pool, report, spatial=False)
    finish_build(output, report)
    return output


def prepare_scenes(
    scenes: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    annotations: StrPath,
    source: AnnotationOptions = AnnotationOptions(),
    options: PrepareOptions = PrepareOptions(),
    run: BatchOptions = BatchOptions(),
    track: Track = silent,
) -> Path:
    """Build a dataset from scenes and an annotation file.

    Parameters
    ----------
    scenes
        Raster files, or folders of them. By default up to 7 scenes are cut into about 16 blocks, and
        more stay whole; blocks that overlap on the ground get the same split.
    output
        Folder to write.
    annotations
        Vector file with a class column, or a file or folder of another format. Pixels outside all
        polygons are background, or ignored outside of ``source.annotated_area``.
    source
        Format of `annotations`.
    options
        Bands, splits and classes. The default legend has the classes found.
    run
        Treatment of an existing dataset, of interrupted runs and of scenes with errors.
    track
        Progress of an iterable.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    SceneError, AnnotationError, DatasetError, ConfigError, OutputError
    SkippedInputsError
        After the dataset is complete, if scenes were skipped.
    """
    output = Path(output)
    classes = read_class_options(options)
    report = ValidationReport(skip=run.skip_bad)
    with open_build(output, run) as journal, InputPool(run.jobs, track) as pool:
        annotated = read_annotated_scenes(
            _to_paths(scenes), Path(annotations), source, classes, options, pool, report
        )
        report_sparse_annotations(annotated, report)
        build_dataset(annotated, journal, options, classes, pool, report, spatial=True)
    finish_build(output, report)
    return output


def _to_paths(paths: StrPath | Sequence[StrPath]) -> list[Path]:
    """Return a list of paths, also for a single path."""
    return [Path(p) for p in ([paths] if isinstance(paths, str | PathLike) else paths)]
