"""Polygons of a vector file: in any CRS, drawn over one or many scenes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from shapely import GeometryType

from geoseg.annotations.burn import OUTLINES, Annotations, transformed
from geoseg.annotations.dota import LIMIT
from geoseg.annotations.reader import Drawn, Reading
from geoseg.annotations.report import Done, Findings, Kind
from geoseg.errors import AnnotationError, SceneError
from geoseg.files import input_file, is_parquet, vector_file
from geoseg.legend import Legend
from geoseg.raster.georeference import map_transform
from geoseg.raster.scene import SceneInfo

log = logging.getLogger(__name__)

_POLYGONAL = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)


def read_vector(path: Path, images: Sequence[SceneInfo], reading: Reading, /) -> list[Drawn]:
    """The polygons of a vector file (GeoPackage, Shapefile, GeoJSON, GeoParquet, …) that lie on each scene,
    in its pixels.

    Their class stands in `reading.class_column`, text or number; a column ``difficult`` may hold 1 for objects that
    are hard to recognise. The file has its own CRS; where either side has none, coordinates are taken
    as they are, and those of a scene without georeference are what QGIS shows (y up). Raises
    AnnotationError when the file is not so, or none of its polygons lies on a scene, and SceneError when
    two scenes have no place, so that a polygon would lie on both.
    """
    _check_places(images)
    class_column, findings = reading.class_column, reading.findings
    table = _table(path, reading.layer, findings)
    if class_column not in table.columns:
        columns = ", ".join(c for c in table.columns if c != table.geometry.name)
        raise AnnotationError(
            f"{path}: has no column {class_column!r}. name the one with the classes by "
            f"--class-column: {columns or 'it has none'}"
        )
    names = _names(path, table, class_column)
    difficult = (
        (table["difficult"] == 1).to_numpy(bool)
        if "difficult" in table
        else np.zeros(len(table), bool)
    )
    drawn = []
    met = np.zeros(len(table), bool)
    crossed = ~shapely.is_valid(table.geometry.to_numpy())
    findings.add(Kind.INVALID_RING, path, Done.REPAIRED, count=int(crossed.sum()))
    placed: dict[str | None, shapely.STRtree] = {}  # by CRS, which is one for all as a rule
    for image in images:
        crs = image.crs.to_wkt() if image.crs else None
        if crs not in placed:
            placed[crs] = shapely.STRtree(_on_map(path, table, image))
        here, geometry = _on_scene(placed[crs], image)
        met[here] = True
        drawn.append(Drawn(geometry, names[here], difficult[here]))
    if not met.any():
        raise AnnotationError(
            f"{path}: none of its {len(table)} polygons lies on a scene. "
            "check the coordinate reference system of both"
        )
    findings.add(Kind.ON_NO_SCENE, path, Done.LEFT_OUT, count=int((~met).sum()))
    return drawn


def _check_places(images: Sequence[SceneInfo]) -> None:
    bare = [i for i in images if i.crs is None and i.transform == Affine.identity()]
    if len(bare) > 1:
        raise SceneError(
            f"{bare[1].path}: has no georeference, nor has {bare[0].path.name}, so they lie upon each "
            "other. georeference them, or prepare them one by one"
        )


def _table(path: Path, layer: str | None, findings: Findings) -> gpd.GeoDataFrame:
    """The features that are polygons."""
    file = vector_file(path)
    try:
        if is_parquet(file):
            table = gpd.read_parquet(file)
        else:
            table = gpd.read_file(file.absolute(), layer=_layer(file, layer))
    except (RuntimeError, OSError, ValueError) as fault:
        reason = str(fault).split("; It might")[0].rstrip(".")  # GDAL goes on about drivers
        raise AnnotationError(
            f"{file}: cannot be read as a vector file ({reason}). save it as a GeoPackage"
        ) from fault
    if not isinstance(table, gpd.GeoDataFrame):
        raise AnnotationError(f"{file}: has no geometry. name another layer or file")
    good = np.isin(shapely.get_type_id(table.geometry.to_numpy()), _POLYGONAL)
    good &= ~shapely.is_empty(table.geometry.to_numpy())
    if not good.any():
        raise AnnotationError(f"{file}: has no polygons. draw some around the objects to find")
    findings.add(Kind.NOT_A_POLYGON, file, Done.LEFT_OUT, count=int((~good).sum()))
    return table[good].reset_index(drop=True)


def _layer(file: Path, wanted: str | None) -> str:
    """The layer wanted, or the only one."""
    layers = [str(name) for name, kind in pyogrio.list_layers(file.absolute()) if kind is not None]
    if wanted in layers:
        return wanted
    if wanted and layers:
        raise AnnotationError(
            f"{file}: has no layer {wanted!r} with geometries. name one by --layer: {', '.join(layers[:10])}"
        )
    if len(layers) > 1:
        raise AnnotationError(
            f"{file}: has {len(layers)} layers. choose one with --layer: {', '.join(layers[:10])}"
        )
    if not layers:
        raise AnnotationError(f"{file}: has no layer with geometries. name another file")
    return layers[0]


def _names(path: Path, table: gpd.GeoDataFrame, column: str) -> NDArray[np.object_]:
    values = table[column]
    nothing = values.isna() | (values.astype(str).str.strip() == "")
    if nothing.any():
        raise AnnotationError(
            f"{path}: {int(nothing.sum())} polygons have no class in column {column!r}, first "
            f"feature {int(np.argmax(nothing)) + 1}. fill it in or remove them"
        )
    if values.dtype.kind == "f" and (values == values.round()).all():
        values = values.astype("int64")  # a column of numbers in which some cells were once empty
    return np.array(values.astype(str).str.strip(), object)


def _on_map(path: Path, table: gpd.GeoDataFrame, image: SceneInfo) -> NDArray[np.object_]:
    """(n,) polygons in the CRS of a scene; empty ones where it has no place for them."""
    if table.crs is not None and image.crs is not None:
        try:
            table = table.to_crs(image.crs.to_wkt())
        except ProjError as fault:
            raise AnnotationError(
                f"{path}: cannot be brought into the CRS of {image.path} ({fault}). "
                "reproject it in QGIS first"
            ) from fault
    elif (table.crs is None) != (image.crs is None):
        bare = path if table.crs is None else image.path
        log.warning("%s: has no CRS; its coordinates are taken for those of the other", bare)
    geometry: NDArray[np.object_] = shapely.force_2d(table.geometry.to_numpy())
    geometry[~np.isfinite(shapely.bounds(geometry)).all(axis=1)] = shapely.Polygon()
    return geometry


def _on_scene(
    polygons: shapely.STRtree, image: SceneInfo
) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Numbers of the polygons that lie on a scene, and these, valid, in its pixels."""
    to_map = map_transform(image.transform)
    box = np.array([shapely.box(0, 0, image.width, image.height)], object)
    near = np.sort(polygons.query(transformed(box, to_map)[0]))
    geometry = transformed(polygons.geometries[near], ~to_map)
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(
        geometry[invalid], method="structure", keep_collapsed=False
    )
    here = shapely.intersects(geometry, box)
    return near[here], geometry[here]


# True outlines of objects, from one GeoParquet file for all scenes.

_COLUMNS = ("image", "category", "geometry")


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
