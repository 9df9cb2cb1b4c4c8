"""Polygons of a vector file for the HTML map: classes, colours, attributes, areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from rasterio.crs import CRS
from shapely import GeometryType

from geoseg.errors import SceneError
from geoseg.files import is_parquet, vector_file
from geoseg.legend import colours_for
from geoseg.polygons.attributes import area_m2, perimeter_m
from geoseg.polygons.styles import CategorizedStyle, read_style
from geoseg.polygons.trace import PolygonBatch
from geoseg.report.packing import format_values

CLASS_COLUMNS = ("class", "class_name", "label", "category", "klass", "type", "name", "class_id")
"""Columns searched for the class, in this order, when neither the caller nor a style names one."""

_BATCH = 20_000
_MAX_CLASSES = 64  # a column with more distinct values is not taken for the class
_MAX_COORDINATE = 1e13  # beyond any map; arithmetic on larger coordinates overflows
_PARTS = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)

_BOXES = ("bbox", "geometry_bbox")  # GeoParquet 1.1: bounding boxes of the geometry


@dataclass(frozen=True, slots=True)
class MapClass:
    """Name and colour of a class in the legend of the map."""

    name: str

    colour: str
    """``#rrggbb``"""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Polygons of one file, in one CRS."""

    geometry: NDArray[np.object_]
    """(n,) shapely polygons and multipolygons."""

    class_index: NDArray[np.int32]
    """(n,) indices into `classes`."""

    classes: tuple[MapClass, ...]

    columns: dict[str, NDArray[Any]]
    """Name to (n,) numbers, booleans or text; all attributes but the class."""

    crs: str | None
    """CRS as GDAL reports it; None if the file has none."""

    notes: tuple[str, ...]
    """Sentences about features that were left out."""

    def __len__(self) -> int:
        return len(self.class_index)

    def select(self, selected: NDArray[np.bool_], note: str) -> Features:
        """Return the selected features, with a note about the others."""
        return replace(
            self,
            geometry=self.geometry[selected],
            class_index=self.class_index[selected],
            columns={name: values[selected] for name, values in self.columns.items()},
            notes=(*self.notes, note),
        )


def read_features(
    path: Path, *, layers: Sequence[str] = (), class_column: str | None = None
) -> Features:
    """Read the polygons of a vector file.

    Parameters
    ----------
    path
        GeoPackage, GeoParquet, FlatGeobuf, GeoJSON or Shapefile.
    layers
        Layers to read; empty: all with geometries.
    class_column
        Column of the class. Default: the column by which the QGIS style of the file classifies, else the
        first of `CLASS_COLUMNS` in the file.

    Returns
    -------
    Features
        Colours are those of the style, else those that geoseg assigns to a class of that name.

    Raises
    ------
    SceneError
        If the file cannot be read or contains no polygons.
    """
    vector_file(path, SceneError)
    names = _select_layers(path, layers)
    table = _concatenate(path, [_read_layer(path, name, class_column) for name in names])
    good = np.isin(shapely.get_type_id(table.geometry), _PARTS)
    boxes = np.abs(shapely.bounds(table.geometry))
    good &= np.isfinite(boxes).all(axis=1)  # NaN for empty geometries
    if not good.any():
        raise SceneError(f"{path}: no polygons. Choose another file or layer")
    near = good & (boxes < _MAX_COORDINATE).all(axis=1)
    if not near.any():
        raise SceneError(f"{path}: coordinates out of range. Correct or reproject them")
    if not good.all():
        table = table.select(
            good, f"{(~good).sum():,} features are not polygons and are not shown."
        )
    if lost := int((good & ~near).sum()):
        table = table.select(
            near[good], f"{lost:,} polygons have coordinates out of range and are not shown."
        )
    return table


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    name: str
    geometry: NDArray[np.object_]
    classes: NDArray[np.object_]
    colours: dict[str, str]
    columns: dict[str, NDArray[Any]]
    crs: str | None


def _select_layers(path: Path, wanted: Sequence[str]) -> list[str]:
    if is_parquet(path):
        return [path.stem]
    try:
        layers = pyogrio.list_layers(path.absolute())
    except DataSourceError as error:
        raise SceneError(
            f"{path}: GDAL cannot open it; it may be damaged. Copy it again"
        ) from error
    available = [str(name) for name, kind in layers if kind is not None]
    if not available:
        raise SceneError(f"{path}: no layer with geometries. Choose another file")
    for name in wanted:
        if name not in available:
            raise SceneError(f"{path}: no layer {name!r}. Choose one of: {', '.join(available)}")
    return list(wanted) or available


def _read_layer(path: Path, name: str, class_column: str | None) -> _Layer:
    try:
        columns, geometry, crs = (_read_parquet if is_parquet(path) else _read_ogr)(path, name)
    except (RuntimeError, OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read ({error}). Copy it again") from error
    if class_column is not None and class_column not in columns:
        known = ", ".join(columns) or "none"
        raise SceneError(f"{path}: no column {class_column!r}. Choose one of: {known}")
    style = read_style(path, name)
    column = class_column or _find_class_column(columns, style)
    values = format_values(columns.pop(column)) if column else np.full(len(geometry), name, object)
    if column == "class":
        columns.pop("class_id", None)  # redundant
    if style is None or style.column != column:
        return _Layer(name, geometry, values, {}, columns, crs)
    if column == "class_id":
        columns.pop("class", None)
    classes: NDArray[np.object_] = np.empty_like(values)
    classes[:] = [style.names.get(str(value), value) for value in values]
    colours = {style.names[value]: colour for value, colour in style.colours.items()}
    return _Layer(name, geometry, classes, colours, columns, crs)


def _find_class_column(
    columns: dict[str, NDArray[Any]], style: CategorizedStyle | None
) -> str | None:
    if style is not None and style.column in columns:
        return style.column
    candidates = (name for name in CLASS_COLUMNS if name in columns)
    return next(
        (n for n in candidates if len(set(format_values(columns[n]))) <= _MAX_CLASSES), None
    )


def _concatenate(path: Path, layers: Sequence[_Layer]) -> Features:
    """Concatenate the layers of a file."""
    if len({layer.crs for layer in layers}) > 1:
        names = ", ".join(layer.name for layer in layers)
        raise SceneError(
            f"{path}: layers have different CRSs. Choose some of them with --layer: {names}"
        )
    colours: dict[str, str] = {}
    for layer in layers:
        colours = layer.colours | colours
    classes = np.concatenate([layer.classes for layer in layers])
    unique, index = np.unique(classes.astype(str), return_inverse=True)
    shown: list[str] = unique.tolist()
    spare = colours_for([n for n in shown if n not in colours], taken=[*colours.values()])
    fields = list(dict.fromkeys(name for layer in layers for name in layer.columns))
    columns = {n: np.concatenate([_column_of(layer, n) for layer in layers]) for n in fields}
    if sum(len(set(layer.classes)) for layer in layers) > len(
        shown
    ):  # a class is in several layers
        sizes = [len(layer.classes) for layer in layers]
        columns["layer"] = np.repeat(np.array([layer.name for layer in layers], object), sizes)
    return Features(
        np.concatenate([layer.geometry for layer in layers]),
        index.astype(np.int32),
        tuple(MapClass(name or "(no class)", colours.get(name) or spare[name]) for name in shown),
        columns,
        layers[0].crs,
        (),
    )


def _column_of(layer: _Layer, name: str) -> NDArray[Any]:
    if name in layer.columns:
        return layer.columns[name]
    return np.full(len(layer.classes), None, object)


_Table = tuple[dict[str, NDArray[Any]], NDArray[np.object_], str | None]


def _read_ogr(path: Path, layer: str) -> _Table:
    meta, fids, wkb, fields = pyogrio.raw.read(
        path.absolute(), layer=layer, force_2d=True, return_fids=True
    )
    columns = dict(zip(meta["fields"].tolist(), fields, strict=True))
    if path.suffix.lower() == ".gpkg":
        columns = {"fid": fids, **columns}
    return columns, shapely.from_wkb(wkb, on_invalid="ignore"), meta["crs"]


def _read_parquet(path: Path, layer: str) -> _Table:  # noqa: ARG001  a file is a single layer
    import geopandas as gpd

    table = gpd.read_parquet(path)
    geometry = table.geometry.to_numpy()
    columns = {
        n: table[n].to_numpy() for n in table.columns if n not in (*_BOXES, table.geometry.name)
    }
    crs = table.crs.to_wkt() if table.crs else None
    return columns, np.asarray(shapely.force_2d(geometry)), crs


def measure_polygons(
    geometry: NDArray[np.object_], crs: CRS | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute ground areas and perimeters as `geoseg.polygons.attributes` does.

    Parameters
    ----------
    geometry
        (n,) shapely polygons or multipolygons in map coordinates.
    crs
        CRS of the coordinates.

    Returns
    -------
    (n,) array
        Areas in square metres; NaN where `crs` is None or has no metric unit.
    (n,) array
        Perimeters in metres, holes included; NaN likewise.
    """
    area, length = np.zeros((2, len(geometry)))
    for first in range(0, len(geometry), _BATCH):
        parts, owner = shapely.get_parts(geometry[first : first + _BATCH], return_index=True)
        traced = _as_traced(parts)
        np.add.at(area, owner + first, area_m2(traced, Affine.identity(), crs))
        np.add.at(length, owner + first, perimeter_m(traced, Affine.identity(), crs))
    return area, length


def _as_traced(polygons: NDArray[np.object_]) -> PolygonBatch:
    """Wrap polygons in map coordinates as if they were traced at pixels of one map unit."""
    _, xy, (rings, parts) = shapely.to_ragged_array(polygons)
    count = len(polygons)
    return PolygonBatch(
        class_id=np.zeros(count, np.uint8),
        pixels=shapely.area(polygons),
        confidence_mean=np.zeros(count, np.float32),
        confidence_min=np.zeros(count, np.float32),
        touches_edge=np.zeros(count, bool),
        perimeter_xy=np.zeros((count, 2), np.int64),
        coordinates=xy,
        ring_offsets=np.asarray(rings, np.int64),
        polygon_offsets=np.asarray(parts, np.int64),
    )
