"""Compare two label rasters of one place, or two models on one dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from geoseg.errors import ConfigError, SceneError
from geoseg.files import check_output, discard, replacing, write_json
from geoseg.legend import Legend
from geoseg.metrics.comparison import Agreement, Comparison, count_agreement, mark_changes
from geoseg.options import CompareOutputs, ScoringOptions, StrPath, as_path
from geoseg.polygons.attributes import RowArea, row_areas
from geoseg.polygons.styles import raster_colormap
from geoseg.progress import Track, silent
from geoseg.raster.cog import create_working_raster, write_cog
from geoseg.raster.georeference import on_one_grid
from geoseg.raster.labels import (
    LEGEND_TAG,
    LabelFile,
    legend_tags,
    open_labels,
    read_class_ids,
    read_legend,
)
from geoseg.raster.scene import read_scene_info
from geoseg.tools.evaluate import evaluate

CHANGED = Legend.of({"changed": "#f902bd"})
"""Legend of a change raster."""


def compare(
    a: StrPath,
    b: StrPath,
    *,
    output: StrPath | None = None,
    outputs: CompareOutputs = CompareOutputs(),
    track: Track = silent,
) -> Agreement:
    """Count agreeing and changed pixels of two label rasters on one grid, strip by strip.

    Parameters
    ----------
    a, b
        Label rasters.
    output
        Write changed pixels (1) to this Cloud Optimized GeoTIFF; 255 is nodata.
    outputs
        JSON file of the counts and scores, and treatment of existing products.
    track
        Progress of the strips.

    Returns
    -------
    Agreement
        Pixels and areas by class in A and in B.

    Raises
    ------
    SceneError
        If a raster cannot be read, or if the rasters differ in their grid or their classes.
    OutputError
        If a product exists or cannot be written.
    ConfigError
        If a product is one of the inputs.
    """
    a, b, output, json = Path(a), Path(b), as_path(output), as_path(outputs.json)
    for path in filter(None, (output, json)):
        check_output(path, overwrite=outputs.overwrite)
        if any(path.exists() and given.exists() and path.samefile(given) for given in (a, b)):
            raise ConfigError(f"{path}: is one of the inputs. Choose another name")
    with ExitStack() as stack:
        one, other = (stack.enter_context(open_labels(path)) for path in (a, b))
        _check_grids(one, other)
        legend = _common_legend(one, other)
        strips = _read_both(one, other, legend, track)
        if output:
            scratch = stack.enter_context(replacing(output, overwrite=outputs.overwrite))
            working = scratch.with_name(f"{scratch.stem}.work.tif")
            stack.callback(discard, working)
            with create_working_raster(
                working,
                read_scene_info(one.dataset, one.path),
                tags=legend_tags(CHANGED),
                colormap=raster_colormap(CHANGED),
            ) as raster:
                agreement = count_agreement(_write_changes(strips, raster), legend, _areas(one))
            write_cog(working, scratch, overviews="mode")
        else:
            agreement = count_agreement(strips, legend, _areas(one))
    if json:
        write_json(json, {"a": a.name, "b": b.name, **agreement.to_json()})
    return agreement


def compare_models(
    a: StrPath,
    b: StrPath,
    folder: StrPath,
    *,
    split: str = "val",
    layers: Sequence[str] | None = None,
    scoring: ScoringOptions = ScoringOptions(),
    outputs: CompareOutputs = CompareOutputs(),
    device: str = "auto",
    track: Track = silent,
) -> list[Comparison]:
    """Evaluate two models, or folders of labels, on a dataset, and compare their scores.

    Parameters
    ----------
    a, b
        Model file, or folder of label rasters.
    folder
        Dataset folder.
    split, layers, scoring, device, track
        See `evaluate`.
    outputs
        JSON file of the list of comparisons, and treatment of an existing one.

    Returns
    -------
    list of Comparison
        One for each annotation layer.

    Raises
    ------
    DatasetError, ModelError, SceneError, OutputError, ConfigError
        As `evaluate` does.
    """
    a, b, json = Path(a), Path(b), as_path(outputs.json)
    if json:
        check_output(json, overwrite=outputs.overwrite)
    of_a, of_b = (
        evaluate(
            folder,
            model=None if side.is_dir() else side,
            labels=side if side.is_dir() else None,
            split=split,
            layers=layers,
            scoring=scoring,
            device=device,
            track=track,
        )
        for side in (a, b)
    )
    comparisons = [Comparison(*pair) for pair in zip(of_a, of_b, strict=True)]
    if json:
        write_json(json, [comparison.to_json() for comparison in comparisons])
    return comparisons


def _read_both(
    one: LabelFile, other: LabelFile, legend: Legend, track: Track
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    for window in track(one.strips(), "compare"):
        yield read_class_ids(one, legend, window), read_class_ids(other, legend, window)


def _write_changes(
    strips: Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]], raster: DatasetWriter
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    row = 0
    for a, b in strips:
        raster.write(mark_changes(a, b), 1, window=Window(0, row, raster.width, len(a)))
        row += len(a)
        yield a, b


def _check_grids(one: LabelFile, other: LabelFile) -> None:
    """Raise SceneError if the grids differ; a missing CRS or transform is assumed to be equal."""
    transforms = [labels.dataset.transform for labels in (one, other)]
    georeferenced = Affine.identity() not in transforms
    if (
        one.shape != other.shape
        or (None not in (one.crs, other.crs) and one.crs != other.crs)
        or (georeferenced and not on_one_grid(*transforms, width=one.shape[1], height=one.shape[0]))
    ):
        raise SceneError(
            f"{other.path}: is not on the grid of {one.path}. "
            "Resample it with gdalwarp -r near -t_srs CRS -te … -ts … IN OUT.tif"
        )


def _common_legend(one: LabelFile, other: LabelFile) -> Legend:
    """Return the legend of a tag, else the longer one."""
    legends = [read_legend(labels) for labels in (one, other)]
    tagged = [LEGEND_TAG in labels.dataset.tags() for labels in (one, other)]
    if all(tagged) and legends[0].names != legends[1].names:
        raise SceneError(
            f"{other.path}: other classes than {one.path}. Compare labels with the same legend"
        )
    return max(zip(tagged, legends, strict=True), key=lambda pair: (pair[0], len(pair[1])))[1]


def _areas(labels: LabelFile) -> RowArea:
    return row_areas(labels.transform, labels.crs, labels.shape[1])
