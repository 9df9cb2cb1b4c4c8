"""Area of interest: a polygon in pixels of the scene, from a bounding box or a vector file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from geoseg.errors import AnnotationError, ConfigError
from geoseg.files import is_parquet, vector_file
from geoseg.options import Box
from geoseg.raster.georeference import is_undefined, map_transform


@dataclass(frozen=True, slots=True)
class AreaOfInterest:
    """A region of a scene."""

    geometry: BaseGeometry
    """In pixels of the scene: x right, y down."""

    def intersects(self, window: Window) -> bool:
        """Return True if the region and the window have a point in common."""
        left, top = window.col_off, window.row_off
        box = shapely.box(left, top, left + window.width, top + window.height)
        return bool(shapely.intersects(self.geometry, box))

    def rasterize(self, window: Window) -> NDArray[np.bool_]:
        """Return (h, w), True for pixels of the window whose centre lies in the region."""
        transform = Affine.translation(window.col_off, window.row_off)
        shape = (window.height, window.width)
        if not self.intersects(window):
            return np.zeros(shape, bool)
        inside: NDArray[np.bool_] = geometry_mask([self.geometry], shape, transform, invert=True)
        return inside


def aoi_from_bbox(box: Box, transform: Affine) -> AreaOfInterest:
    """Return the region of a bounding box in map coordinates.

    Parameters
    ----------
    box
        West, south, east, north, in the CRS of the scene.
    transform
        Pixel-to-CRS transform of the scene.

    Raises
    ------
    ConfigError
        If the box is empty or not finite.
    """
    west, south, east, north = box
    if not (west < east and south < north and all(map(isfinite, box))):
        raise ConfigError(
            f"--bbox {','.join(f'{value:g}' for value in box)}: not a bounding box. "
            "Pass west,south,east,north, with west below east and south below north"
        )
    return _to_pixels(shapely.box(west, south, east, north), transform)


def read_aoi(
    path: Path, crs: CRS | None, transform: Affine, size: tuple[int, int]
) -> AreaOfInterest:
    """Return the union of the polygons of a vector file, in all of its layers.

    Parameters
    ----------
    path
        File of a format that `geoseg.files.vector_file` accepts.
    crs
        CRS of the scene; polygons are transformed to it.
    transform
        Pixel-to-CRS transform of the scene.
    size
        Width and height of the scene in pixels.

    Raises
    ------
    AnnotationError
        If the file cannot be read, holds no polygon, or if only one of file and scene has a CRS.
    """
    geometry = _read_geometries(vector_file(path))
    if geometry.crs is not None and is_undefined(geometry.crs.to_wkt()):
        geometry = geometry.set_crs(None, allow_override=True)
    shapes = geometry[geometry.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        raise AnnotationError(f"{path}: holds no polygon. Draw the area as a polygon")
    if crs is not None:
        if shapes.crs is None:
            raise AnnotationError(
                f"{path}: has no coordinate reference system. Assign that of its coordinates in a GIS"
            )
        near = _outline(crs, transform, size).to_crs(shapes.crs).union_all()
        if (
            shapely.is_valid(near) and np.isfinite(near.bounds).all()
        ):  # clip polygons outside a UTM zone
            shapes = shapes.make_valid().intersection(near.buffer(near.length / 8).envelope)
        shapes = shapes.to_crs(crs.to_wkt())
    elif shapes.crs is not None:
        raise AnnotationError(
            f"{path}: has a coordinate reference system, the scene has none. Pass --bbox instead"
        )
    union = shapely.union_all(shapely.make_valid(shapes.to_numpy()))
    if not union.is_empty and not np.isfinite(shapely.bounds(union)).all():
        raise AnnotationError(
            f"{path}: lies outside the area of use of the scene's coordinate reference system. "
            "Check which scene it belongs to"
        )
    return _to_pixels(union, transform)


def intersect_aois(areas: Sequence[AreaOfInterest]) -> AreaOfInterest:
    """Return the region that all areas have in common."""
    return AreaOfInterest(shapely.intersection_all([area.geometry for area in areas]))


def _outline(crs: CRS, transform: Affine, size: tuple[int, int]) -> gpd.GeoSeries:
    """Return the outline of the scene in map coordinates."""
    box = shapely.segmentize(shapely.box(0, 0, *size), max(size) / 16)
    outline = _transform_points(box, map_transform(transform))
    return gpd.GeoSeries([outline], crs=crs.to_wkt())


def _read_geometries(file: Path) -> gpd.GeoSeries:
    """Read the geometries of all layers, in the CRS of the first."""
    try:
        if is_parquet(file):
            return gpd.read_parquet(file).geometry
        names = [name for name, kind in pyogrio.list_layers(file.absolute()) if kind]
        layers = [pyogrio.read_dataframe(file.absolute(), layer=n, columns=[]) for n in names]
        first = layers[0].crs
        parts = [
            part.geometry if part.crs == first else part.geometry.to_crs(first) for part in layers
        ]
        return gpd.GeoSeries(pd.concat(parts, ignore_index=True), crs=first)
    except (DataSourceError, RuntimeError, IndexError, ValueError) as error:
        raise AnnotationError(f"{file}: damaged ({error}). Copy or download it again") from error


def _to_pixels(geometry: BaseGeometry, transform: Affine) -> AreaOfInterest:
    return AreaOfInterest(_transform_points(geometry, ~map_transform(transform)))


def _transform_points(geometry: BaseGeometry, transform: Affine) -> BaseGeometry:
    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = transform @ (points[:, 0], points[:, 1])  # type: ignore[operator]
        return np.stack([x, y], axis=1)

    moved: BaseGeometry = shapely.transform(geometry, move)
    return moved
