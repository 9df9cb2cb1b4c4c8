"""Simple shapes in place of outlines: they fit, and never overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from rasterio.features import rasterize

import geoseg
from geoseg.legend import Legend, LegendClass
from geoseg.options import PolygonOptions
from geoseg.polygons.shapes import (
    HULLS,
    RECTANGLE,
    TEMPLATES,
    compare,
    compare_convex,
    compute_moments,
    fit_shapes,
    fit_templates,
)
from geoseg.polygons.table import extract_polygons

Labels = NDArray[np.uint8]
Geometry = NDArray[np.object_]

IDENTITY = Affine.identity()
COUNTABLE = (False, True, True, False)
"""Classes 1 and 2 are countable, class 3 is not."""


def cut(labels: Labels, heights: list[int]) -> Iterator[tuple[Labels, None]]:
    row = turn = 0
    while row < len(labels):
        part = slice(row, row + heights[turn % len(heights)])
        yield labels[part], None
        row, turn = part.stop, turn + 1


def polygons(
    labels: Labels, options: PolygonOptions, heights: list[int] | None = None
) -> tuple[Geometry, Geometry]:
    """Return regions along pixel edges, and outlines."""
    batches = list(
        extract_polygons(cut(labels, heights or [len(labels)]), options, countable=COUNTABLE)
    )
    return tuple(  # type: ignore[return-value]
        np.concatenate(
            [np.empty(0, object), *(getattr(b, name).geometry(IDENTITY) for b in batches)]
        )
        for name in ("regions", "outlines")
    )


def burn(*shapes: tuple[shapely.Geometry, int], side: int = 64) -> Labels:
    labels: Labels = rasterize(shapes, (side, side), transform=IDENTITY, dtype=np.uint8)
    return labels


def rectangle(x: float, y: float, length: float, width: float, angle: float) -> shapely.Polygon:
    box = shapely.box(x - length / 2, y - width / 2, x + length / 2, y + width / 2)
    return shapely.affinity.rotate(box, angle)


def largest_overlap(geometry: Geometry) -> float:
    one, other = shapely.STRtree(geometry).query(geometry)
    pairs = one < other
    shared = shapely.intersection(geometry[one[pairs]], geometry[other[pairs]])
    return float(shapely.area(shared).max(initial=0))


@st.composite
def scenes(draw: st.DrawFn) -> Labels:
    """Return rectangles and discs of three classes that touch and cover each other."""
    shapes = []
    for _ in range(draw(st.integers(1, 14))):
        x, y = draw(st.floats(0, 48)), draw(st.floats(0, 48))
        shape = (
            shapely.Point(x, y).buffer(draw(st.floats(2, 8)))
            if draw(st.booleans())
            else rectangle(
                x,
                y,
                draw(st.floats(4, 20)),
                draw(st.floats(3, 9)),
                draw(st.sampled_from([0, 20, 45, 70, 90])),
            )
        )
        shapes.append((shape, draw(st.integers(0, 3))))
    return burn(*shapes, side=48)


OPTIONS = st.sampled_from(
    [
        PolygonOptions(regularize=True),
        PolygonOptions(regularize=True, simplify=1),
        PolygonOptions(regularize=True, simplify=2, smooth=3),
    ]
)
CLUTTER = arrays.arrays(np.uint8, (16, 16), elements=st.integers(0, 3)).map(
    lambda labels: np.kron(labels, np.ones((3, 4), np.uint8))
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(scenes(), CLUTTER), OPTIONS)
@example(
    np.kron(np.eye(5, dtype=np.uint8) + 1, np.ones((6, 4), np.uint8)),
    PolygonOptions(regularize=True),
)
def test_polygons_never_overlap_and_none_is_lost(labels: Labels, options: PolygonOptions) -> None:
    regions, outlines = polygons(labels, options)
    assert (shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON).all()
    assert shapely.is_valid(outlines).all() and (shapely.area(outlines) > 0).all()
    assert len(outlines) == len(regions)
    assert largest_overlap(outlines) < 1e-9
    assert shapely.dwithin(outlines, regions, 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(scenes(), OPTIONS, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_strips_change_nothing(labels: Labels, options: PolygonOptions, heights: list[int]) -> None:
    _, whole = polygons(labels, options)
    _, stripped = polygons(labels, options, heights)
    assert shapely.equals_exact(whole, stripped).all()


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    placed = rng.uniform((0, 0, 5, 5, 0), (200, 200, 16, 16, 90), (150, 5)).tolist()
    shapes = [
        (rectangle(x, y, length, width, angle), n % 3 + 1)
        for n, (x, y, length, width, angle) in enumerate(placed)
    ]
    labels = burn(*shapes, side=200)
    _, whole = polygons(labels, PolygonOptions(regularize=True))
    monkeypatch.setattr("geoseg.polygons.trace.BATCH_CORNERS", 60)
    monkeypatch.setattr("geoseg.polygons.trace.SWEEP_PIXELS", 400)
    _, batched = polygons(labels, PolygonOptions(regularize=True), [7])
    assert shapely.equals_exact(whole, batched).all()


@pytest.mark.parametrize("angle", [0, 13, 30, 45, 77])
def test_a_rectangle_becomes_the_rectangle(angle: float) -> None:
    court = rectangle(32, 32, 40, 17, angle)
    _, (found,) = polygons(burn((court, 1)), PolygonOptions(regularize=True))
    assert len(found.exterior.coords) == 5
    assert found.symmetric_difference(court).area < 0.06 * court.area
    assert found.minimum_rotated_rectangle.area == pytest.approx(found.area)


def test_a_disc_becomes_a_circle() -> None:
    tank = shapely.Point(31.3, 30.8).buffer(12.4, 32)
    _, (found,) = polygons(burn((tank, 2)), PolygonOptions(regularize=True))
    radii = np.hypot(*(shapely.get_coordinates(found) - (31.3, 30.8)).T)
    assert np.ptp(radii) < 0.7 and found.area == pytest.approx(tank.area, rel=0.03)


def test_an_l_becomes_right_angled() -> None:
    angle = shapely.box(10, 10, 50, 26).union(shapely.box(10, 10, 26, 54))
    turned = shapely.affinity.rotate(angle, 25)
    _, (found,) = polygons(burn((turned, 1)), PolygonOptions(regularize=True))
    assert len(found.exterior.coords) == 7
    sides = np.diff(shapely.get_coordinates(found), axis=0)
    following = np.roll(sides, -1, axis=0)
    assert np.abs((sides * following).sum(axis=1)).max() < 1e-6
    assert found.symmetric_difference(turned).area < 0.06 * turned.area


def test_a_ship_gets_a_bow() -> None:
    ship = shapely.Polygon([(5, 25), (40, 25), (58, 32), (40, 39), (5, 39)])
    _, (found,) = polygons(burn((ship, 1)), PolygonOptions(regularize=True))
    assert len(found.exterior.coords) == 6
    assert found.symmetric_difference(ship).area < 0.08 * ship.area


def test_shapes_of_no_kind_and_of_other_classes_and_at_the_edge_keep_their_outlines() -> None:
    plane = (
        rectangle(32, 32, 50, 5, 0)
        .union(rectangle(36, 32, 6, 46, 0))
        .union(rectangle(10, 32, 4, 18, 0))
    )
    for labels in (
        burn((shapely.affinity.rotate(plane, 33), 1)),
        burn((rectangle(32, 32, 30, 12, 40), 3)),
        burn((rectangle(32, 62, 30, 12, 0), 1)),
    ):
        _, simple = polygons(labels, PolygonOptions(simplify=1))
        _, found = polygons(labels, PolygonOptions(simplify=1, regularize=True))
        assert shapely.equals_exact(found, simple).all()


def test_parked_cars_stay_rectangles_next_to_each_other() -> None:
    row = shapely.affinity.rotate
    cars = [
        (row(shapely.box(12 + 7 * n, 20, 19 + 7 * n, 36), 25, origin=(32, 32)), 1 + n % 2)
        for n in range(5)
    ]
    labels = burn(*cars)
    _, found = polygons(labels, PolygonOptions(regularize=True))
    assert len(found) == 5 and (shapely.get_num_coordinates(found) == 5).all()
    assert largest_overlap(found) < 1e-9
    truth = np.array([car for car, _ in cars])
    nearest = shapely.STRtree(truth).nearest(shapely.centroid(found))
    iou, _ = compare(found, truth[nearest])
    assert iou.min() > 0.85


def test_an_outline_is_cut_by_the_shape_that_it_touches() -> None:
    quay = shapely.box(0, 0, 64, 30)
    ship = rectangle(32, 34, 30, 12, 10)
    labels = burn((quay, 3), (ship, 1))
    _, found = polygons(labels, PolygonOptions(regularize=True, simplify=1))
    assert len(found) == 2 and largest_overlap(found) < 1e-9
    assert min(shapely.get_num_coordinates(found)) == 5
    assert found[0].distance(found[1]) < 0.5


def test_an_object_inside_another_one_is_not_covered() -> None:
    labels = burn((shapely.box(10, 10, 50, 40), 1), (shapely.box(28, 22, 32, 26), 2))
    _, found = polygons(labels, PolygonOptions(regularize=True))
    assert sorted(shapely.area(found).round(6)) == [16, 40 * 30 - 16]
    assert largest_overlap(found) < 1e-9


@pytest.mark.parametrize("countable", [True, False])
def test_the_legend_determines_which_classes_are_regularized(
    countable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    names = LegendClass(0, "background", "#000000"), LegendClass(1, "silo", "#aa0000", countable)
    labels = burn((shapely.Point(32, 32).buffer(14), 1))
    table = geoseg.vectorize(labels, legend=Legend(names), polygons=PolygonOptions(regularize=True))
    (found,) = table.geometry
    radii = np.hypot(*(shapely.get_coordinates(found) - found.centroid.coords[0]).T)
    assert (np.ptp(radii) < 1e-6) == countable
    assert ("no class is countable" in caplog.text) != countable
    assert table["pixels"].item() == labels.sum()


@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(0, len(TEMPLATES) - 1), st.floats(0, 7))
def test_the_kernel_intersects_like_shapely(labels: Labels, template: int, angle: float) -> None:
    regions, _ = polygons(labels, PolygonOptions())
    if not len(regions):
        return
    filled = shapely.polygons(shapely.get_exterior_ring(regions))
    axis = np.tile([np.cos(angle), np.sin(angle)], (len(filled), 1))
    shapes = fit_templates(filled, np.full(len(filled), template), axis)
    np.testing.assert_allclose(shapely.area(shapes.outline), shapely.area(filled))
    for ours, theirs in zip(
        compare_convex(shapes.outline, filled), compare(shapes.outline, filled), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    np.testing.assert_allclose(
        compute_moments(shapes.outline)[1], shapely.get_coordinates(shapely.centroid(filled))
    )


def test_every_template_fits_itself() -> None:
    shapes = np.array([shapely.Polygon(points * (20, 8)) for points in TEMPLATES[RECTANGLE:]])
    found = fit_shapes(shapes)
    iou, _ = compare(found.outline, shapes)
    np.testing.assert_allclose(iou, 1)
    assert found.template[0] == RECTANGLE and set(found.template[1:]) <= set(HULLS)
