"""True outlines of objects, from one GeoParquet file for all scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType

from geoseg.annotations import Annotations
from geoseg.dataset import OUTLINES
from geoseg.dota import LIMIT
from geoseg.errors import AnnotationError
from geoseg.files import input_file
from geoseg.legend import Legend
from geoseg.prepare.findings import Done, Findings, Kind

_COLUMNS = ("image", "category", "geometry")
_POLYGONAL = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)


def read_outlines(
    path: Path, legend: Legend, names: Sequence[str], findings: Findings
) -> list[Annotations]:
    """True outlines of each scene in `names`, from a GeoParquet file in pixel coordinates.

    Columns: image (scene name), category, geometry, and perhaps difficult; rows of other scenes do
    not matter, and a scene without rows has no outlines. Raises AnnotationError when the file is
    not so.
    """
    try:
        table = gpd.read_parquet(input_file(path, AnnotationError))
    except (OSError, ValueError) as fault:
        raise AnnotationError(
            f"{path}: is not GeoParquet ({fault}). write it with GeoDataFrame.to_parquet"
        ) from fault
    if absent := [column for column in _COLUMNS if column not in table.columns]:
        raise AnnotationError(f"{path}: no column {absent[0]!r}. need {', '.join(_COLUMNS)}")
    table = table[table["image"].isin(names)].reset_index(drop=True)
    try:
        ids = {name: legend.id_of(str(name)) for name in table["category"].unique()}
    except ValueError as fault:
        raise AnnotationError(f"{path}: column category: {fault}. correct it") from fault
    crossed = ~shapely.is_valid(table.geometry.to_numpy())
    for name, times in table["image"][crossed].value_counts().items():
        findings.add(
            Kind.INVALID_RING, path, Done.REPAIRED, scene=str(name), count=times, note=OUTLINES
        )
    everything = Annotations(
        _polygons(path, table.geometry.to_numpy()),
        table["category"].map(ids).to_numpy(np.uint8),
        (table["difficult"] == 1).to_numpy(bool)
        if "difficult" in table
        else np.zeros(len(table), bool),
    )
    rows = table.groupby("image").indices
    return [everything[rows[n]] if n in rows else Annotations.empty() for n in names]


def _polygons(path: Path, geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """The same polygons, made valid. Raises AnnotationError for what cannot be one."""
    good = np.isin(shapely.get_type_id(geometry), _POLYGONAL) & ~shapely.is_empty(geometry)
    if not good.all():
        raise AnnotationError(f"{path}: row {_first(~good)} is not a polygon. remove it")
    bounds = shapely.bounds(geometry).reshape(-1, 4)
    good = (np.isfinite(bounds) & (np.abs(bounds) <= LIMIT)).all(axis=1)
    if not good.all():
        raise AnnotationError(f"{path}: row {_first(~good)} reaches too far. use pixel coordinates")
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(
        geometry[invalid], method="structure", keep_collapsed=False
    )
    return geometry


def _first(found: NDArray[np.bool_]) -> int:
    return int(np.argmax(found))
