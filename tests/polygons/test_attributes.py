"""Areas, against pixel counts and against pyproj's geodesics."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.crs import CRS

from geoseg.options import PolygonOptions
from geoseg.polygons.attributes import area_m2, perimeter_m, row_areas
from geoseg.polygons.boxes import measure_boxes
from geoseg.polygons.table import extract_polygons
from geoseg.polygons.trace import PolygonBatch, trace

RING = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [1, 0, 0, 0, 1, 0],
        [1, 0, 2, 0, 1, 3],
        [1, 0, 0, 0, 1, 3],
        [1, 1, 1, 1, 1, 3],
    ],
    np.uint8,
)
METRES = Affine(0.5, 0, 600000, 0, -0.5, 5800000)
DEGREES = Affine(0.01, 0, 8, 0, -0.01, 53)


def areas(labels: np.ndarray, transform: Affine, crs: CRS | None) -> np.ndarray:
    return np.concatenate([area_m2(batch, transform, crs) for batch in trace([(labels, None)])])


def area_by_class(transform: Affine, crs: CRS | None) -> dict[int, float]:
    ids = np.concatenate([batch.class_id for batch in trace([(RING, None)])])
    return dict(zip(ids.tolist(), areas(RING, transform, crs).tolist(), strict=True))


def geodesic_areas(transform: Affine, geod: pyproj.Geod, degrees: float = 1) -> list[float]:
    """By pyproj, of outlines so dense that a geodesic between two points is a straight line."""
    polygons = np.concatenate([batch.geometry(transform) for batch in trace([(RING, None)])])
    dense = shapely.transform(shapely.segmentize(polygons, 0.0005), lambda xy: xy * degrees)
    return [abs(geod.geometry_area_perimeter(polygon)[0]) for polygon in dense]


def ground_areas(transform: Affine, epsg: int) -> list[float]:
    """By pyproj, of outlines on the ellipsoid of the CRS, densified."""
    crs = pyproj.CRS.from_epsg(epsg)
    geod = crs.get_geod()
    assert geod is not None
    inverse = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    side = np.sqrt(abs(transform.determinant))
    polygons = np.concatenate([batch.geometry(transform) for batch in trace([(RING, None)])])
    dense = shapely.transform(
        shapely.segmentize(polygons, side / 4), lambda xy: np.transpose(inverse.transform(*xy.T))
    )
    return [abs(geod.geometry_area_perimeter(polygon)[0]) for polygon in dense]


PLACES = {
    32632: (700_000, 5_800_000),  # UTM
    2263: (1_000_000, 200_000),  # New York, in feet
    2154: (700_000, 6_600_000),  # Lambert-93
    28992: (120_000, 480_000),  # oblique stereographic
    3031: (1_500_000, 900_000),  # polar stereographic
    3035: (4_900_000, 2_300_000),  # equal area
    3034: (5_500_000, 3_400_000),  # conformal conic of Europe
    3395: (2_086_982, 7_239_030),  # ellipsoidal Mercator
    3832: (-1_000_000, 5_000_000),  # Mercator of the Pacific
    3857: (2_086_982, 7_239_030),
}
"""EPSG code to a position within the area of use."""


@pytest.mark.parametrize("epsg", PLACES)
@pytest.mark.parametrize("turn", [0, 30], ids=["north up", "turned"])
def test_areas_on_a_projected_grid_are_those_on_the_ellipsoid(epsg: int, turn: float) -> None:
    grid = Affine.translation(*PLACES[epsg]) @ Affine.rotation(turn) @ Affine.scale(20, -30)
    found = areas(RING, grid, CRS.from_epsg(epsg))
    assert found == pytest.approx(ground_areas(grid, epsg), rel=1e-5)


@pytest.mark.parametrize("epsg", PLACES)
def test_lengths_on_a_projected_grid_are_those_on_the_ellipsoid(epsg: int) -> None:
    grid = Affine.translation(*PLACES[epsg]) @ Affine.rotation(25) @ Affine.scale(20, -30)
    crs = pyproj.CRS.from_epsg(epsg)
    geod, base = crs.get_geod(), crs.geodetic_crs
    assert geod is not None
    inverse = pyproj.Transformer.from_crs(crs, base, always_xy=True)
    polygons = np.concatenate([batch.geometry(grid) for batch in trace([(RING, None)])])
    placed = shapely.transform(polygons, lambda xy: np.transpose(inverse.transform(*xy.T)))
    assert perimeters(grid, CRS.from_epsg(epsg)) == pytest.approx(
        geodesic_lengths(placed, geod), rel=1e-5
    )
    (batch, *_) = trace([(np.ones((1, 9), np.uint8), None)])
    length, width, _ = measure_boxes(batch, grid, CRS.from_epsg(epsg))[0]
    corners = [grid @ corner for corner in ((0, 0), (9, 0), (0, 1))]
    (x, *xs), (y, *ys) = inverse.transform(*np.transpose(corners))
    _, _, sides = geod.inv([x, x], [y, y], xs, ys)
    # on a grid that is not conformal, pixels are not quite rectangles
    assert (length, width) == pytest.approx(sides, rel=5e-4)


def test_a_large_polygon_in_utm_has_the_area_on_the_ellipsoid() -> None:
    grid = Affine(2000, 0, 700_000, 0, -2000, 5_800_000)  # 12 km wide
    found = areas(RING, grid, CRS.from_epsg(32632))
    assert found == pytest.approx(ground_areas(grid, 32632), rel=1e-4)


def test_a_vertical_datum_does_not_change_the_area() -> None:
    compound = CRS.from_user_input("EPSG:32632+5783")
    assert areas(RING, METRES, compound) == pytest.approx(areas(RING, METRES, CRS.from_epsg(32632)))


def test_the_unit_of_a_map_without_crs_gives_its_metres() -> None:
    def measure(grid: Affine, unit: float) -> list[float]:
        (batch, *_) = trace([(np.ones((2, 5), np.uint8), None)])
        box = measure_boxes(batch, grid, None, unit)[0, :2]
        return [*area_m2(batch, grid, None, unit), *perimeter_m(batch, grid, None, unit), *box]

    assert measure(Affine.scale(1, -1), 0.5) == pytest.approx([2.5, 7, 2.5, 1])
    assert measure(Affine.rotation(40) @ Affine.scale(2, -2), 0.25) == pytest.approx(
        [2.5, 7, 2.5, 1]
    )
    assert row_areas(Affine.scale(2, -2), None, 4, 0.25)(0, 3) == pytest.approx([0.25] * 3)


@pytest.mark.parametrize(
    "crs",
    [
        None,
        CRS.from_wkt(
            'ENGCRS["image",EDATUM["image"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["pixel",1]]'
        ),
    ],
    ids=["no crs", "pixels"],
)
def test_without_a_unit_of_length_the_area_is_unknown(crs: CRS | None) -> None:
    assert np.isnan(list(area_by_class(METRES, crs).values())).all()


def test_metres_under_a_geographic_crs_give_no_area() -> None:
    assert np.isnan(list(area_by_class(METRES, CRS.from_epsg(4326)).values())).all()


@pytest.mark.parametrize("epsg", [4326, 4258, 4314, 4807])
def test_geographic_areas_agree_with_geodesics_of_densified_outlines(epsg: int) -> None:
    crs = CRS.from_epsg(epsg)
    geod = pyproj.CRS.from_wkt(crs.to_wkt()).get_geod()
    assert geod is not None
    oracle = geodesic_areas(DEGREES, geod, degrees=0.9 if epsg == 4807 else 1)  # 4807 is in grads
    assert areas(RING, DEGREES, crs) == pytest.approx(oracle, rel=1e-7)


def test_slanted_edges_of_a_rotated_geographic_grid_are_integrated() -> None:
    slanted = Affine.translation(8, 53) @ Affine.rotation(25) @ Affine.scale(0.01, -0.01)
    oracle = geodesic_areas(slanted, pyproj.Geod(ellps="WGS84"))
    assert areas(RING, slanted, CRS.from_epsg(4326)) == pytest.approx(oracle, rel=1e-7)


def test_the_whole_globe_has_the_area_of_a_sphere() -> None:
    globe = areas(
        np.ones((5, 4), np.uint8),
        Affine(90, 0, -180, 0, -36, 90),
        CRS.from_string("+proj=longlat +R=6371000"),
    )
    assert globe == pytest.approx([4 * np.pi * 6371000**2])


@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(1, 3)
    )
)
def test_the_areas_of_all_polygons_add_up_to_that_of_the_raster(labels: np.ndarray) -> None:
    crs = CRS.from_epsg(4326)
    whole = areas(np.ones_like(labels), DEGREES, crs)
    assert areas(labels, DEGREES, crs).sum() == pytest.approx(whole.sum(), rel=1e-9)


def test_no_polygons_have_no_areas() -> None:
    none = PolygonBatch(
        class_id=np.zeros(0, np.uint8),
        pixels=np.zeros(0, np.int64),
        confidence_mean=np.zeros(0, np.float32),
        confidence_min=np.zeros(0, np.float32),
        touches_edge=np.zeros(0, bool),
        perimeter_xy=np.zeros((0, 2), np.int64),
        coordinates=np.zeros((0, 2), np.int32),
        ring_offsets=np.zeros(1, np.int64),
        polygon_offsets=np.zeros(1, np.int64),
    )
    assert area_m2(none, DEGREES, CRS.from_epsg(4326)).shape == (0,)
    assert area_m2(none, METRES, CRS.from_epsg(32632)).shape == (0,)


def test_web_mercator_areas_are_those_on_the_ground() -> None:
    grid = Affine(2, 0, 2_086_982, 0, -2, 7_239_030)  # at 54.5 degrees north
    to_degrees = pyproj.Transformer.from_crs(3857, 4326, always_xy=True)
    polygons = np.concatenate([batch.geometry(grid) for batch in trace([(RING, None)])])
    dense = shapely.transform(
        shapely.segmentize(polygons, 0.1), lambda xy: np.transpose(to_degrees.transform(*xy.T))
    )
    geod = pyproj.Geod(ellps="WGS84")
    expected = [abs(geod.geometry_area_perimeter(polygon)[0]) for polygon in dense]
    found = areas(RING, grid, CRS.from_epsg(3857))
    assert found == pytest.approx(expected, rel=1e-5)
    assert found.sum() < 0.4 * 4 * (RING > 0).sum()


def perimeters(transform: Affine, crs: CRS | None) -> np.ndarray:
    return np.concatenate([perimeter_m(b, transform, crs) for b in trace([(RING, None)])])


def geodesic_lengths(polygons: np.ndarray, geod: pyproj.Geod) -> list[float]:
    lines = [[polygon.exterior, *polygon.interiors] for polygon in polygons]
    return [sum(geod.geometry_length(line) for line in rings) for rings in lines]


@pytest.mark.parametrize(
    "cleaning", [PolygonOptions(simplify=1), PolygonOptions(smooth=2)], ids=str
)
def test_lengths_are_those_of_the_outlines_that_are_drawn(cleaning: PolygonOptions) -> None:
    (batch,) = extract_polygons([(RING, None)], cleaning)
    polygons = batch.outlines.geometry(METRES)
    found = perimeter_m(batch.outlines, METRES, None, 1.0)
    assert found == pytest.approx(shapely.length(polygons))


SLANTED = Affine.translation(8, 53) @ Affine.rotation(25) @ Affine.scale(0.01, -0.01)


@pytest.mark.parametrize("transform", [DEGREES, SLANTED], ids=["north up", "turned"])
def test_geographic_lengths_agree_with_geodesics_of_densified_outlines(transform: Affine) -> None:
    polygons = np.concatenate([batch.geometry(transform) for batch in trace([(RING, None)])])
    dense = shapely.segmentize(polygons, 0.0005)
    expected = geodesic_lengths(dense, pyproj.Geod(ellps="WGS84"))
    assert perimeters(transform, CRS.from_epsg(4326)) == pytest.approx(expected, rel=1e-7)


def test_web_mercator_lengths_are_those_on_the_ground() -> None:
    grid = Affine(2, 0, 2_086_982, 0, -2, 7_239_030)  # at 54.5 degrees north
    to_degrees = pyproj.Transformer.from_crs(3857, 4326, always_xy=True)
    polygons = np.concatenate([batch.geometry(grid) for batch in trace([(RING, None)])])
    placed = shapely.transform(polygons, lambda xy: np.transpose(to_degrees.transform(*xy.T)))
    expected = geodesic_lengths(placed, pyproj.Geod(ellps="WGS84"))
    assert perimeters(grid, CRS.from_epsg(3857)) == pytest.approx(expected, rel=1e-5)


def test_without_a_unit_of_length_the_length_is_unknown() -> None:
    assert np.isnan(perimeters(METRES, None)).all()


@pytest.mark.parametrize(("epsg", "transform"), [(32632, METRES), (4326, DEGREES)])
def test_areas_of_pixels_by_row_are_those_of_polygons(epsg: int, transform: Affine) -> None:
    crs = CRS.from_epsg(epsg)
    rows = np.arange(1, 6, dtype=np.uint8)[:, None]
    expected = areas(rows, transform, crs)
    assert row_areas(transform, crs, 1)(0, 5) == pytest.approx(expected, rel=1e-12)
    assert row_areas(transform, crs, 1)(2, 2) == pytest.approx(expected[2:4], rel=1e-12)
