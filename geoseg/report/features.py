"""Polygons of any vector file as a map shows them: what they are, in which colour, what else is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from shapely import GeometryType

from geoseg.errors import SceneError
from geoseg.files import is_parquet, vector_file
from geoseg.legend import colours_for
from geoseg.polygons.styles import Style, style_of
from geoseg.report.packing import in_words

CLASS_COLUMNS = ("class", "class_name", "label", "category", "klass", "type", "name", "class_id")
"""Where a class is looked for when neither the caller nor a style names the column."""

_MAX_GUESSED = 64  # a guessed column with more different values holds no classes
_FURTHEST = 1e13  # what no coordinate of a map reaches; arithmetic on larger ones overflows
_PARTS = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)

_BOXES = ("bbox", "geometry_bbox")  # of GeoParquet 1.1: structures, and told by the geometry


@dataclass(frozen=True, slots=True)
class Kind:
    """A class as a map's legend shows it."""

    name: str

    colour: str
    """``#rrggbb``"""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Polygons of one file, all in one CRS."""

    geometry: NDArray[np.object_]
    """(n,) shapely polygons and multipolygons"""

    kind: NDArray[np.int32]
    """(n,) index into `kinds`"""

    kinds: tuple[Kind, ...]

    columns: dict[str, NDArray[Any]]
    """Name -> (n,) numbers, truth values or text; what was no class"""

    crs: str | None
    """As GDAL tells it; None where the file has none."""

    notes: tuple[str, ...]
    """What was left out, in sentences."""

    def __len__(self) -> int:
        return len(self.kind)

    def where(self, chosen: NDArray[np.bool_], note: str) -> Features:
        """Those that are chosen, with a note about the others."""
        return replace(
            self,
            geometry=self.geometry[chosen],
            kind=self.kind[chosen],
            columns={name: values[chosen] for name, values in self.columns.items()},
            notes=(*self.notes, note),
        )


def read_features(
    path: Path, *, layers: Sequence[str] = (), class_column: str | None = None
) -> Features:
    """Read the polygons of a GeoPackage, GeoParquet, FlatGeobuf, GeoJSON or Shapefile.

    layers: those to read; all that hold polygons, when empty.
    class_column: where the class stands; else the column by which the file's QGIS style tells
    polygons apart, else the first of `CLASS_COLUMNS` that there is.

    Colours are those of the style, else those that geoseg gives a class of that name. Raises
    SceneError when the file cannot be read or holds no polygons.
    """
    vector_file(path, SceneError)
    table = _stacked(path, [_layer(path, n, class_column) for n in _chosen(path, layers)])
    good = np.isin(shapely.get_type_id(table.geometry), _PARTS)
    boxes = np.abs(shapely.bounds(table.geometry))
    good &= np.isfinite(boxes).all(axis=1)  # of empty ones they are nan
    if not good.any():
        raise SceneError(f"{path}: holds no polygons. name another file or layer")
    near = good & (boxes < _FURTHEST).all(axis=1)
    if not near.any():
        raise SceneError(f"{path}: its coordinates are on no map. correct or reproject them")
    if not good.all():
        table = table.where(good, f"{(~good).sum():,} features are no polygons and are not shown.")
    if lost := int((good & ~near).sum()):
        table = table.where(near[good], f"{lost:,} polygons lie on no map and are not shown.")
    return table


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    name: str
    geometry: NDArray[np.object_]
    classes: NDArray[np.object_]
    colours: dict[str, str]
    columns: dict[str, NDArray[Any]]
    crs: str | None


def _chosen(path: Path, wanted: Sequence[str]) -> list[str]:
    if is_parquet(path):
        return [path.stem]
    try:
        layers = pyogrio.list_layers(path.absolute())
    except DataSourceError as error:
        raise SceneError(f"{path}: damaged, GDAL cannot open it. copy it again") from error
    found = [str(name) for name, kind in layers if kind is not None]
    if not found:
        raise SceneError(f"{path}: has no layer with geometries. name another file")
    for name in wanted:
        if name not in found:
            raise SceneError(f"{path}: has no layer {name!r}. it has: {', '.join(found)}")
    return list(wanted) or found


def _layer(path: Path, name: str, class_column: str | None) -> _Layer:
    try:
        columns, geometry, crs = (_parquet if is_parquet(path) else _vector)(path, name)
    except (RuntimeError, OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read ({error}). copy it again") from error
    if class_column is not None and class_column not in columns:
        known = ", ".join(columns) or "none"
        raise SceneError(f"{path}: has no column {class_column!r}. it has: {known}")
    style = style_of(path, name)
    column = class_column or _class_column(columns, style)
    values = in_words(columns.pop(column)) if column else np.full(len(geometry), name, object)
    if column == "class":
        columns.pop("class_id", None)  # the same once more
    if style is None or style.column != column:
        return _Layer(name, geometry, values, {}, columns, crs)
    if column == "class_id":
        columns.pop("class", None)
    classes: NDArray[np.object_] = np.empty_like(values)
    classes[:] = [style.names.get(str(value), value) for value in values]
    colours = {style.names[value]: colour for value, colour in style.colours.items()}
    return _Layer(name, geometry, classes, colours, columns, crs)


def _class_column(columns: dict[str, NDArray[Any]], style: Style | None) -> str | None:
    if style is not None and style.column in columns:
        return style.column
    found = (name for name in CLASS_COLUMNS if name in columns)
    return next((n for n in found if len(set(in_words(columns[n]))) <= _MAX_GUESSED), None)


def _stacked(path: Path, layers: Sequence[_Layer]) -> Features:
    """All layers in one."""
    if len({layer.crs for layer in layers}) > 1:
        names = ", ".join(layer.name for layer in layers)
        raise SceneError(f"{path}: its layers differ in their CRS. choose by --layer: {names}")
    colours: dict[str, str] = {}
    for layer in layers:
        colours = layer.colours | colours
    classes = np.concatenate([layer.classes for layer in layers])
    found, kind = np.unique(classes.astype(str), return_inverse=True)
    shown: list[str] = found.tolist()
    spare = colours_for([n for n in shown if n not in colours], taken=[*colours.values()])
    every = list(dict.fromkeys(name for layer in layers for name in layer.columns))
    columns = {n: np.concatenate([_column(layer, n) for layer in layers]) for n in every}
    if sum(len(set(layer.classes)) for layer in layers) > len(shown):  # a class is in several
        sizes = [len(layer.classes) for layer in layers]
        columns["layer"] = np.repeat(np.array([layer.name for layer in layers], object), sizes)
    return Features(
        np.concatenate([layer.geometry for layer in layers]),
        kind.astype(np.int32),
        tuple(Kind(name or "(no class)", colours.get(name) or spare[name]) for name in shown),
        columns,
        layers[0].crs,
        (),
    )


def _column(layer: _Layer, name: str) -> NDArray[Any]:
    if name in layer.columns:
        return layer.columns[name]
    return np.full(len(layer.classes), None, object)


Read = tuple[dict[str, NDArray[Any]], NDArray[np.object_], str | None]


def _vector(path: Path, layer: str) -> Read:
    meta, fids, wkb, fields = pyogrio.raw.read(
        path.absolute(), layer=layer, force_2d=True, return_fids=True
    )
    columns = dict(zip(meta["fields"].tolist(), fields, strict=True))
    if path.suffix.lower() == ".gpkg":
        columns = {"fid": fids, **columns}
    return columns, shapely.from_wkb(wkb, on_invalid="ignore"), meta["crs"]


def _parquet(path: Path, layer: str) -> Read:  # noqa: ARG001  the file is the layer
    import geopandas as gpd

    table = gpd.read_parquet(path)
    geometry = table.geometry.to_numpy()
    columns = {
        n: table[n].to_numpy() for n in table.columns if n not in (*_BOXES, table.geometry.name)
    }
    crs = table.crs.to_wkt() if table.crs else None
    return columns, np.asarray(shapely.force_2d(geometry)), crs
