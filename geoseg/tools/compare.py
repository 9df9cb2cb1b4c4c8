"""Compare: two label rasters of one place, or two models on one dataset."""

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
from geoseg.metrics.evaluation import USUAL, Rules
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
"""Legend of a raster of differences."""


def compare(
    a: Path,
    b: Path,
    *,
    output: Path | None = None,
    json_output: Path | None = None,
    overwrite: bool = False,
    track: Track = silent,
) -> Agreement:
    """Count where two label rasters on one grid agree.

    They are read by strips. `output` gets a COG of where they differ, labels themselves: 1 is changed.
    `json_output` gets the numbers. Raises SceneError where a raster is damaged, not on the grid of
    the other, or of other classes, and OutputError.
    """
    for path in filter(None, (output, json_output)):
        check_output(path, overwrite=overwrite)
        if any(path.exists() and given.exists() and path.samefile(given) for given in (a, b)):
            raise ConfigError(f"{path}: is one of the inputs. choose another name")
    with ExitStack() as stack:
        one, other = (stack.enter_context(open_labels(path)) for path in (a, b))
        _check_grids(one, other)
        legend = _common_legend(one, other)
        strips = _both(one, other, legend, track)
        if output:
            scratch = stack.enter_context(replacing(output, overwrite=overwrite))
            made = scratch.with_name(f"{scratch.stem}.work.tif")
            stack.callback(discard, made)
            with create_working_raster(
                made,
                read_scene_info(one.dataset, one.path),
                tags=legend_tags(CHANGED),
                colormap=raster_colormap(CHANGED),
            ) as raster:
                found = count_agreement(_written(strips, raster), legend, _areas(one))
            write_cog(made, scratch, overviews="mode")
        else:
            found = count_agreement(strips, legend, _areas(one))
    if json_output:
        write_json(json_output, {"a": a.name, "b": b.name, **found.to_json()})
    return found


def compare_models(
    a: Path,
    b: Path,
    folder: Path,
    *,
    split: str = "val",
    layers: Sequence[str] | None = None,
    rules: Rules = USUAL,
    json_output: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    track: Track = silent,
) -> list[Comparison]:
    """Evaluate two models, or folders of labels, on the dataset `folder`: a comparison for each truth.

    Raises what `evaluate` does.
    """
    if json_output:
        check_output(json_output, overwrite=overwrite)
    of_a, of_b = (
        evaluate(
            folder,
            model=None if side.is_dir() else side,
            labels=side if side.is_dir() else None,
            split=split,
            layers=layers,
            rules=rules,
            device=device,
            track=track,
        )
        for side in (a, b)
    )
    found = [Comparison(*pair) for pair in zip(of_a, of_b, strict=True)]
    if json_output:
        write_json(json_output, [comparison.to_json() for comparison in found])
    return found


def _both(
    one: LabelFile, other: LabelFile, legend: Legend, track: Track
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    for window in track(one.strips(), "compare"):
        yield read_class_ids(one, legend, window), read_class_ids(other, legend, window)


def _written(
    strips: Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]], raster: DatasetWriter
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    row = 0
    for a, b in strips:
        raster.write(mark_changes(a, b), 1, window=Window(0, row, raster.width, len(a)))
        row += len(a)
        yield a, b


def _check_grids(one: LabelFile, other: LabelFile) -> None:
    """What a raster does not say of its place is taken to be the same."""
    transforms = [labels.dataset.transform for labels in (one, other)]
    placed = Affine.identity() not in transforms
    if (
        one.shape != other.shape
        or (None not in (one.crs, other.crs) and one.crs != other.crs)
        or (placed and not on_one_grid(*transforms, width=one.shape[1], height=one.shape[0]))
    ):
        raise SceneError(
            f"{other.path}: is not on the grid of {one.path}. "
            "bring it there: gdalwarp -r near -t_srs CRS -te … -ts … IN OUT.tif"
        )


def _common_legend(one: LabelFile, other: LabelFile) -> Legend:
    """The one that a tag gives, else the longer one."""
    legends = [read_legend(labels) for labels in (one, other)]
    told = [LEGEND_TAG in labels.dataset.tags() for labels in (one, other)]
    if all(told) and legends[0].names != legends[1].names:
        raise SceneError(
            f"{other.path}: its classes are not those of {one.path}. "
            "compare labels that models of the same legend made"
        )
    return max(zip(told, legends, strict=True), key=lambda pair: (pair[0], len(pair[1])))[1]


def _areas(labels: LabelFile) -> RowArea:
    return row_areas(labels.transform, labels.crs, labels.shape[1])
