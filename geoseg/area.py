"""The part of a scene that is wanted: a polygon in the scene's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
from geoseg.files import input_file
from geoseg.ground import map_transform

Box = tuple[float, float, float, float]
"""West, south, east, north, in coordinates of the scene's CRS."""

_MAGIC = {
    ".gpkg": b"SQLite format 3\0",
    ".fgb": b"fgb",
    ".shp": b"\0\0\x27\x0a",
    ".geojson": b"{",
    ".json": b"{",
}
"""How each format begins: what only calls itself one could make GDAL open another file or a URL."""


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
    if not (west < east and south < north):
        raise ConfigError(
            f"--bbox {','.join(f'{value:g}' for value in box)}: must be west, south, east, north, "
            "with west below east and south below north"
        )
    return _in_pixels(shapely.box(west, south, east, north), transform)


def area_of_file(path: Path, crs: CRS | None, transform: Affine) -> Area:
    """The region covered by the polygons of a vector file (GeoPackage, GeoJSON, FlatGeobuf, Shapefile),
    brought into the scene's CRS.

    Raises AnnotationError when it is no such file, has no polygon, or has a CRS that the scene lacks.
    """
    frame = _read(input_file(path, AnnotationError))
    shapes = frame.geometry[frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        raise AnnotationError(f"{path}: holds no polygon. draw the area as one")
    if crs is not None:
        if shapes.crs is None:
            raise AnnotationError(f"{path}: has no coordinate reference system. give it one")
        shapes = shapes.to_crs(crs.to_wkt())
    union = shapely.union_all(shapely.make_valid(shapes.to_numpy()))
    if not np.isfinite(shapely.bounds(union)).all():
        raise AnnotationError(
            f"{path}: lies where the scene's coordinate system has no place for it"
        )
    return _in_pixels(union, transform)


def overlap(areas: Sequence[Area]) -> Area:
    """What all regions have in common."""
    return Area(shapely.intersection_all([area.geometry for area in areas]))


def _read(file: Path) -> Any:
    start = _MAGIC.get(file.suffix.lower())
    with file.open("rb") as opened:
        head = opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if start is None or not head.startswith(start):
        raise AnnotationError(
            f"{file}: is no vector file that geoseg opens. "
            "use a GeoPackage, GeoJSON, FlatGeobuf or Shapefile"
        )
    try:
        return pyogrio.read_dataframe(file.absolute(), columns=[])
    except (DataSourceError, RuntimeError) as error:
        raise AnnotationError(f"{file}: damaged ({error}). copy or download it again") from error


def _in_pixels(geometry: BaseGeometry, transform: Affine) -> Area:
    inverse = ~map_transform(transform)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = inverse @ (points[:, 0], points[:, 1])
        return np.stack([x, y], axis=1)

    moved: BaseGeometry = shapely.transform(geometry, move)
    return Area(moved)
