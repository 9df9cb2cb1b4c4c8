"""Areas and perimeters of polygons in files without them."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from rasterio.crs import CRS

from geoseg.report.features import measure_polygons

TWO = shapely.MultiPolygon(
    [
        shapely.box(0, 0, 300, 200).difference(shapely.box(50, 50, 80, 90)),
        shapely.Point(900, 400).buffer(120),
    ]
)


def test_in_feet_they_are_those_of_the_ellipsoid_in_metres() -> None:
    new_york = CRS.from_epsg(2263)  # US survey feet
    placed = shapely.transform(TWO, lambda xy: np.add(xy, (980_000, 190_000)))
    (area,), (length,) = measure_polygons(np.array([placed]), new_york)
    to_degrees = pyproj.Transformer.from_crs(2263, 4269, always_xy=True)
    degrees = shapely.transform(placed, to_degrees.transform, interleaved=False)
    earth = pyproj.Geod(ellps="GRS80")
    oracle, _ = earth.geometry_area_perimeter(shapely.normalize(degrees))
    assert area == pytest.approx(abs(oracle), rel=1e-5)
    assert length == pytest.approx(earth.geometry_length(degrees.boundary), rel=1e-5)


@pytest.mark.parametrize("epsg", [4326, 3857])
def test_in_degrees_and_web_mercator_they_are_those_of_the_ellipsoid(epsg: int) -> None:
    to_map = pyproj.Transformer.from_crs(32633, epsg, always_xy=True)
    placed = shapely.transform(TWO, lambda xy: np.add(xy, (450_000, 6_000_000)))
    there = shapely.transform(placed, to_map.transform, interleaved=False)
    (area,), (length,) = measure_polygons(np.array([there]), CRS.from_epsg(epsg))
    to_degrees = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    degrees = shapely.transform(placed, to_degrees.transform, interleaved=False)
    earth = pyproj.Geod(ellps="WGS84")
    oracle, _ = earth.geometry_area_perimeter(shapely.normalize(degrees))
    assert area == pytest.approx(abs(oracle), rel=1e-4)
    assert length == pytest.approx(earth.geometry_length(degrees.boundary), rel=1e-4)


def test_without_a_crs_areas_and_perimeters_are_unknown() -> None:
    area, length = measure_polygons(np.array([TWO]), None)
    assert np.isnan(area).all()
    assert np.isnan(length).all()
