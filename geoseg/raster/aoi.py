"""The part of a scene that is wanted: a polygon in the scene's own pixels."""

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
from geoseg.raster.georeference import map_transform

Box = tuple[float, float, float, float]
"""West, south, east, north, in coordinates of the scene's CRS."""


@dataclass(frozen=True, slots=True)
class Area:
    """A region of a scene."""

    geometry: BaseGeometry
    """In pixels of the scene, x right, y down."""

    def touches(self, window: Window) -> bool:
        """True where the region and the window have a point in common."""
        left, top = window.col_off, window.row_off
        box = shapely.box(left, top, left + window.width, top + window.height)
        return bool(shapely.intersects(self.geometry, box))

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """(h, w) True for the pixels whose centre lies in the region."""
        transform = Affine.translation(window.col_off, window.row_off)
        shape = (window.height, window.width)
        if not self.touches(window):
            return np.zeros(shape, bool)
        inside: NDArray[np.bool_] = geometry_mask([self.geometry], shape, transform, invert=True)
        return inside


def area_of_box(box: Box, transform: Affine) -> Area:
    """The region of a rectangle along the axes of the map; `transform` is the scene's."""
    west, south, east, north = box
    if not (west < east and south < north and all(map(isfinite, box))):
        raise ConfigError(
            f"--bbox {','.join(f'{value:g}' for value in box)}: must be west, south, east, north, "
            "with west below east and south below north"
        )
    return _in_pixels(shapely.box(west, south, east, north), transform)


def area_of_file(path: Path, crs: CRS | None, transform: Affine, size: tuple[int, int]) -> Area:
    """The region covered by the polygons of a vector file (see `geoseg.files`), in
    all of its layers, brought into the CRS of a scene of `size` (width, height).

    Raises AnnotationError when it is no such file, has no polygon, or only one of it and the scene has a
    CRS.
    """
    geometry = _read(vector_file(path))
    shapes = geometry[geometry.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        raise AnnotationError(f"{path}: holds no polygon. draw the area as one")
    if crs is not None:
        if shapes.crs is None:
            raise AnnotationError(f"{path}: has no coordinate reference system. give it one")
        near = _outline(crs, transform, size).to_crs(shapes.crs).union_all()
        if shapely.is_valid(near) and np.isfinite(near.bounds).all():  # a world has no place in UTM
            shapes = shapes.make_valid().intersection(near.buffer(near.length / 8).envelope)
        shapes = shapes.to_crs(crs.to_wkt())
    elif shapes.crs is not None:
        raise AnnotationError(
            f"{path}: has a coordinate reference system, the scene has none. use --bbox"
        )
    union = shapely.union_all(shapely.make_valid(shapes.to_numpy()))
    if not np.isfinite(shapely.bounds(union)).all():
        raise AnnotationError(
            f"{path}: lies where the scene's coordinate system has no place for it"
        )
    return _in_pixels(union, transform)


def overlap(areas: Sequence[Area]) -> Area:
    """What all regions have in common."""
    return Area(shapely.intersection_all([area.geometry for area in areas]))


def _outline(crs: CRS, transform: Affine, size: tuple[int, int]) -> gpd.GeoSeries:
    """Of the scene, on the map."""
    box = shapely.segmentize(shapely.box(0, 0, *size), max(size) / 16)
    corners = map_transform(transform)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = corners @ (points[:, 0], points[:, 1])  # type: ignore[operator]
        return np.stack([x, y], axis=1)

    return gpd.GeoSeries([shapely.transform(box, move)], crs=crs.to_wkt())


def _read(file: Path) -> gpd.GeoSeries:
    """Geometries of all layers."""
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
        raise AnnotationError(f"{file}: damaged ({error}). copy or download it again") from error


def _in_pixels(geometry: BaseGeometry, transform: Affine) -> Area:
    inverse = ~map_transform(transform)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = inverse @ (points[:, 0], points[:, 1])
        return np.stack([x, y], axis=1)

    moved: BaseGeometry = shapely.transform(geometry, move)
    return Area(moved)
