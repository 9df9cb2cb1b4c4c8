"""Vector files of polygons: in any CRS, over one or many scenes; and outlines by scene in GeoParquet."""

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

from geoseg.annotations.burn import OUTLINES, Annotations, transform_geometry
from geoseg.annotations.corrections import REJECTED, read_statuses
from geoseg.annotations.dota import LIMIT
from geoseg.annotations.readers import NamedAnnotations, ReaderOptions
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError, SceneError
from geoseg.files import input_file, is_parquet, vector_file
from geoseg.legend import Legend
from geoseg.raster.georeference import is_undefined, map_transform
from geoseg.raster.scene import SceneInfo

log = logging.getLogger(__name__)

_POLYGONAL = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)
_OUTLINE_COLUMNS = ("image", "category", "geometry")
_MAX_CLASSES = 254
AREA_LAYERS = ("annotated_area", "frames")
"""Names of layers with annotated areas: of a dataset, and of ``geoseg suggest``."""

_LISTED = 10  # layers that a message lists


def read_vector(
    path: Path, scenes: Sequence[SceneInfo], options: ReaderOptions, report: ValidationReport, /
) -> list[NamedAnnotations]:
    """Read the polygons of a vector file that lie on each scene, in pixels of the scene.

    The file is a GeoPackage, Shapefile, GeoJSON, GeoParquet or any other format of OGR. `options.class_column` has the
    class as text or number; 1 in an optional column ``difficult`` marks difficult objects. Polygons are reprojected to
    the CRS of the scene; if the file or the scene has no CRS, their coordinates are taken as equal. Coordinates of a
    scene without georeference are pixels with y up, as QGIS displays it. A column ``status`` has corrections, see
    `geoseg.annotations.corrections`.

    Raises
    ------
    AnnotationError
        If the file is not of this form, or no polygon lies on a scene.
    SceneError
        If two scenes have no georeference, so that polygons would lie on both.
    """
    _check_georeferences(scenes)
    table = _read_table(path, options.layer, report)
    column = options.class_column
    status = read_statuses(path, table)
    _check_class_column(path, table, column)
    names = _read_names(path, table, column, required=status != REJECTED)
    difficult = _read_difficult(table)
    annotations = []
    used = np.zeros(len(table), bool)
    invalid = ~shapely.is_valid(table.geometry.to_numpy())
    report.add(IssueKind.INVALID_RING, path, Action.REPAIRED, count=int(invalid.sum()))
    projected: dict[str | None, shapely.STRtree] = {}  # by CRS; usually one for all scenes
    for scene in scenes:
        crs = scene.crs.to_wkt() if scene.crs else None
        if crs not in projected:
            projected[crs] = shapely.STRtree(_reproject(path, table, scene))
        here, geometry = _select_polygons(projected[crs], scene)
        used[here] = True
        of_scene = None if status is None else status[here]
        annotations.append(NamedAnnotations(geometry, names[here], difficult[here], of_scene))
    if not used.any():
        raise AnnotationError(
            f"{path}: none of its {len(table)} polygons lies on a scene. {_describe_place(scenes)}"
        )
    report.add(IssueKind.ON_NO_SCENE, path, Action.LEFT_OUT, count=int((~used).sum()))
    return annotations


def read_annotated_area(
    path: Path, scenes: Sequence[SceneInfo], report: ValidationReport
) -> list[shapely.Geometry]:
    """Read the annotated area of each scene: the union of the polygons of a vector file, as in `read_vector`.

    Of several layers, ``annotated_area`` or ``frames`` is read.

    Returns
    -------
    list
        Polygons or multipolygons in pixels of each scene, clipped to it; empty outside of all polygons.

    Raises
    ------
    AnnotationError
        If the file has no polygon, or none lies on a scene.
    SceneError
        If two scenes have no georeference.
    """
    _check_georeferences(scenes)
    table = _read_table(path, None, report, usual=AREA_LAYERS)
    areas = []
    for scene in scenes:
        _, geometry = _select_polygons(shapely.STRtree(_reproject(path, table, scene)), scene)
        box = shapely.box(0, 0, scene.width, scene.height)
        area = shapely.intersection(shapely.union_all(geometry), box)
        parts = shapely.get_parts(area)
        areas.append(shapely.union_all(parts[shapely.area(parts) > 0]))
    if all(area.is_empty for area in areas):
        raise AnnotationError(
            f"{path}: none of its {len(table)} polygons lies on a scene. {_describe_place(scenes)}, or draw the "
            "annotated area on the scenes"
        )
    return areas


def _describe_place(scenes: Sequence[SceneInfo]) -> str:
    """Return what to check if no polygon lies on one of these scenes."""
    if all(s.crs is None and s.transform == Affine.identity() for s in scenes):
        return "Draw them at x = column, y = -row, as QGIS shows an image without georeference"
    return "Check the CRS of both"


def _check_georeferences(scenes: Sequence[SceneInfo]) -> None:
    unplaced = [s for s in scenes if s.crs is None and s.transform == Affine.identity()]
    if len(unplaced) > 1:
        raise SceneError(
            f"{unplaced[1].path}: no georeference, as {unplaced[0].path.name}, so the scenes overlap. "
            "Georeference them, or prepare them one by one"
        )


def _read_table(
    path: Path, layer: str | None, report: ValidationReport, *, usual: Sequence[str] = ()
) -> gpd.GeoDataFrame:
    """Read the features that are polygons; of several layers the first of `usual`, if there is no `layer`."""
    file = vector_file(path)
    try:
        if is_parquet(file):
            table = gpd.read_parquet(file)
        else:
            table = gpd.read_file(file.absolute(), layer=_find_layer(file, layer, usual))
    except (RuntimeError, OSError, ValueError) as error:
        reason = str(error).split("; It might")[0].rstrip(".")  # without GDAL's hint at drivers
        raise AnnotationError(
            f"{file}: cannot be read as a vector file ({reason}). Save it as a GeoPackage"
        ) from error
    if not isinstance(table, gpd.GeoDataFrame):
        raise AnnotationError(f"{file}: no geometry. Name another layer or file")
    if table.crs is not None and is_undefined(table.crs.to_wkt()):
        table = table.set_crs(None, allow_override=True)
    polygonal = np.isin(shapely.get_type_id(table.geometry.to_numpy()), _POLYGONAL)
    polygonal &= ~shapely.is_empty(table.geometry.to_numpy())
    if not polygonal.any():
        raise AnnotationError(f"{file}: no polygons. Draw some around the objects")
    report.add(IssueKind.NOT_A_POLYGON, file, Action.LEFT_OUT, count=int((~polygonal).sum()))
    return table[polygonal].reset_index(drop=True)


def _find_layer(file: Path, name: str | None, usual: Sequence[str]) -> str:
    """Return the layer of this name, or the only one, or the first of `usual`."""
    layers = [str(name) for name, kind in pyogrio.list_layers(file.absolute()) if kind is not None]
    listed = ", ".join(layers[:_LISTED])
    if name in layers:
        return name
    if name and layers:
        raise AnnotationError(
            f"{file}: no layer {name!r} with geometries. Name one by --layer: {listed}"
        )
    if len(layers) > 1 and usual:
        if known := [name for name in usual if name in layers]:
            return known[0]
        raise AnnotationError(
            f"{file}: {len(layers)} layers, none of which is {usual[0]}. Save the area as a file of its own"
        )
    if len(layers) > 1:
        raise AnnotationError(f"{file}: {len(layers)} layers. Choose one by --layer: {listed}")
    if not layers:
        raise AnnotationError(f"{file}: no layer with geometries. Name another file")
    return layers[0]


def _check_class_column(path: Path, table: gpd.GeoDataFrame, column: str) -> None:
    """Raise AnnotationError with the columns of a file, if `column` is none of them or cannot hold classes."""
    columns = [str(c) for c in table.columns if c != table.geometry.name]
    fault = None
    if column not in columns:
        fault = f"no column {column!r}"
    elif columns.count(column) > 1:
        fault = f"{columns.count(column)} columns {column!r}"
    elif (number := table[column].astype(str).nunique()) > _MAX_CLASSES:
        fault = f"column {column!r} has {number} different values, more than {_MAX_CLASSES} classes"
    if fault:
        listed = ", ".join(columns) or "the file has none"
        raise AnnotationError(
            f"{path}: {fault}. Name the column with the classes by --class-column: {listed}"
        )


def _read_names(
    path: Path, table: gpd.GeoDataFrame, column: str, *, required: NDArray[np.bool_] | bool
) -> NDArray[np.object_]:
    """Return (n,) names of classes; `required` is False for polygons that need none."""
    values = table[column]
    empty = (values.isna() | (values.astype(str).str.strip() == "")) & required
    if empty.any():
        raise AnnotationError(
            f"{path}: {int(empty.sum())} polygons have no class in column {column!r}, first feature "
            f"{_first(empty.to_numpy()) + 1}. Fill it in, or remove them"
        )
    if values.dtype.kind == "f" and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # integers are read as float where a cell was empty
    return np.array(values.astype(str).str.strip(), object)


def _read_difficult(table: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    if "difficult" not in table:
        return np.zeros(len(table), bool)
    difficult: NDArray[np.bool_] = (table["difficult"] == 1).to_numpy(bool)
    return difficult


def _reproject(path: Path, table: gpd.GeoDataFrame, scene: SceneInfo) -> NDArray[np.object_]:
    """Return (n,) polygons in the CRS of a scene; empty ones outside the area of the CRS."""
    if table.crs is not None and scene.crs is not None:
        try:
            table = table.to_crs(scene.crs.to_wkt())
        except ProjError as error:
            raise AnnotationError(
                f"{path}: cannot be reprojected to the CRS of {scene.path} ({error}). Reproject it in a GIS"
            ) from error
    elif (table.crs is None) != (scene.crs is None):
        file, other = (path, scene.path) if table.crs is None else (scene.path, path)
        log.warning("%s: no CRS; coordinates are taken to be in that of %s", file, other)
    geometry: NDArray[np.object_] = shapely.force_2d(table.geometry.to_numpy())
    geometry[~np.isfinite(shapely.bounds(geometry)).all(axis=1)] = shapely.Polygon()
    return geometry


def _select_polygons(
    polygons: shapely.STRtree, scene: SceneInfo
) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Return the positions of the polygons that lie on a scene, and these, valid, in its pixels."""
    to_map = map_transform(scene.transform)
    box = np.array([shapely.box(0, 0, scene.width, scene.height)], object)
    near = np.sort(polygons.query(transform_geometry(box, to_map)[0]))
    geometry = _make_valid(transform_geometry(polygons.geometries[near], ~to_map))
    here = shapely.intersects(geometry, box)
    return near[here], geometry[here]


def read_outlines(
    path: Path, legend: Legend, scenes: Sequence[str], report: ValidationReport
) -> list[Annotations]:
    """Read the outlines of each scene from a GeoParquet file in pixel coordinates.

    Parameters
    ----------
    path
        File with the columns ``image`` (scene name), ``category``, ``geometry`` and optionally ``difficult``.
    legend
        Classes of the dataset.
    scenes
        Names of scenes. Rows of other scenes are ignored; a scene without rows has no outlines.
    report
        Collects issues.

    Raises
    ------
    AnnotationError
        If the file is not of this form.
    """
    try:
        table = gpd.read_parquet(input_file(path, AnnotationError))
    except (OSError, ValueError) as error:
        raise AnnotationError(
            f"{path}: not GeoParquet ({error}). Write it with GeoDataFrame.to_parquet"
        ) from error
    if absent := [column for column in _OUTLINE_COLUMNS if column not in table.columns]:
        raise AnnotationError(
            f"{path}: no column {absent[0]!r}. The columns {', '.join(_OUTLINE_COLUMNS)} are required"
        )
    table = table[table["image"].isin(scenes)].reset_index(drop=True)
    try:
        ids = {name: legend.id_of(str(name)) for name in table["category"].unique()}
    except ValueError as error:
        raise AnnotationError(f"{path}: column category: {error}. Correct it") from error
    invalid = ~shapely.is_valid(table.geometry.to_numpy())
    for name, count in table["image"][invalid].value_counts().items():
        report.add(
            IssueKind.INVALID_RING,
            path,
            Action.REPAIRED,
            scene=str(name),
            count=count,
            note=OUTLINES,
        )
    outlines = Annotations(
        _check_polygons(path, table.geometry.to_numpy()),
        table["category"].map(ids).to_numpy(np.uint8),
        _read_difficult(table),
    )
    rows = table.groupby("image").indices
    return [outlines[rows[n]] if n in rows else Annotations.empty() for n in scenes]


def _check_polygons(path: Path, geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make polygons valid. Raises AnnotationError for other geometries and coordinates out of range."""
    good = np.isin(shapely.get_type_id(geometry), _POLYGONAL) & ~shapely.is_empty(geometry)
    if not good.all():
        raise AnnotationError(f"{path}: row {_first(~good)} is not a polygon. Remove it")
    bounds = shapely.bounds(geometry).reshape(-1, 4)
    good = (np.isfinite(bounds) & (np.abs(bounds) <= LIMIT)).all(axis=1)
    if not good.all():
        raise AnnotationError(
            f"{path}: coordinates of row {_first(~good)} are out of range. Use pixel coordinates"
        )
    return _make_valid(geometry)


def _make_valid(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Repair invalid polygons in place: they become the area that they enclose."""
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(
        geometry[invalid], method="structure", keep_collapsed=False
    )
    return geometry


def _first(flags: NDArray[np.bool_]) -> int:
    return int(np.argmax(flags))
