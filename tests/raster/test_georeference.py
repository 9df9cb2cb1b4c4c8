"""Pixel sizes on the ground, against geodesic lengths."""

from __future__ import annotations

from math import cos, radians, sqrt

import pyproj
import pytest
from affine import Affine
from rasterio.crs import CRS

from geoseg.raster.georeference import format_crs, map_transform, on_one_grid, pixel_size_m

NORTH_UP = Affine(0.5, 0, 400_000, 0, -0.5, 5_500_000)


def test_metres_of_a_projected_crs_count_as_they_are() -> None:
    assert pixel_size_m(CRS.from_epsg(32633), NORTH_UP, 100, 100) == pytest.approx(0.5)


def test_feet_become_metres() -> None:
    assert pixel_size_m(CRS.from_epsg(2263), NORTH_UP, 9, 9) == pytest.approx(
        0.5 * 0.3048, rel=1e-5
    )


def test_a_rotated_pixel_keeps_its_size() -> None:
    turned = Affine(0.4, 0.3, 400_000, 0.3, -0.4, 5_500_000)
    assert pixel_size_m(CRS.from_epsg(32633), turned, 100, 100) == pytest.approx(0.5)


def test_an_oblong_pixel_counts_by_its_area() -> None:
    oblong = Affine(0.3, 0, 0, 0, -0.9, 0)
    assert pixel_size_m(CRS.from_epsg(32633), oblong, 9, 9) == pytest.approx(sqrt(0.27))


@pytest.mark.parametrize("latitude", [0.0, 33.0, -51.0, 71.0])
def test_degrees_become_geodesic_metres_at_the_centre(latitude: float) -> None:
    step = 1e-5
    transform = Affine(step, 0, 10 - 50 * step, 0, -step, latitude + 50 * step)
    geod = pyproj.Geod(ellps="WGS84")
    east = geod.inv(10 - step / 2, latitude, 10 + step / 2, latitude)[2]
    north = geod.inv(10, latitude - step / 2, 10, latitude + step / 2)[2]
    size = pixel_size_m(CRS.from_epsg(4326), transform, 100, 100)
    assert size == pytest.approx(sqrt(east * north), rel=1e-5)


@pytest.mark.parametrize("code", [3857, 3395])
def test_mercator_metres_shrink_with_latitude(code: int) -> None:
    x, y = pyproj.Transformer.from_crs(4326, code, always_xy=True).transform(10, 60)
    transform = Affine(2, 0, x - 100, 0, -2, y + 100)
    size = pixel_size_m(CRS.from_epsg(code), transform, 100, 100)
    assert size == pytest.approx(2 * cos(radians(60)), rel=0.01)


def test_transverse_mercator_metres_do_not_shrink() -> None:
    assert pixel_size_m(CRS.from_epsg(32661), NORTH_UP, 9, 9) == pytest.approx(0.5)
    assert pixel_size_m(CRS.from_epsg(31467), NORTH_UP, 9, 9) == pytest.approx(0.5)


def test_a_local_crs_counts_by_its_unit() -> None:
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["foot",0.3048]]')
    assert pixel_size_m(local, NORTH_UP, 9, 9) == pytest.approx(0.5 * 0.3048)


def test_without_a_crs_or_with_metres_called_degrees_the_size_is_unknown() -> None:
    assert pixel_size_m(None, NORTH_UP, 9, 9) is None
    assert pixel_size_m(CRS.from_epsg(4326), NORTH_UP, 9, 9) is None


def test_a_raster_without_georeference_hangs_below_the_axis_as_in_qgis() -> None:
    assert map_transform(Affine.identity()) @ (3, 5) == (3, -5)
    placed = Affine(0.5, 0, 100, 0, -0.5, 200)
    assert map_transform(placed) == placed


@pytest.mark.parametrize(
    ("grid", "shift"), [(NORTH_UP, 1e-5), (Affine(1e-6, 0, 13.4, 0, -1e-6, 52.5), 1e-9)]
)
def test_grids_are_one_but_for_rounding_whatever_their_unit(grid: Affine, shift: float) -> None:
    size = {"width": 20_000, "height": 10_000}
    assert on_one_grid(grid, Affine.translation(shift, -shift) @ grid, **size)
    assert not on_one_grid(grid, grid @ Affine.translation(0.5, 0), **size)
    assert not on_one_grid(grid, grid @ Affine.scale(1 + 1e-4), **size)


@pytest.mark.parametrize(
    ("crs", "text"),
    [
        (None, "no CRS"),
        (CRS.from_epsg(32631), "EPSG:32631"),
        (CRS.from_wkt(CRS.from_epsg(3857).to_wkt()), "EPSG:3857"),
        (CRS.from_string("+proj=laea +lat_0=12 +lon_0=34"), "the CRS unknown"),
    ],
)
def test_a_crs_is_printed_by_its_code_or_name(crs: CRS | None, text: str) -> None:
    assert format_crs(crs) == text
