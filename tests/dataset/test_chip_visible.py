"""Visible parts of objects in chips, and their labels."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn
from geoseg.annotations.rle import encode_counts
from geoseg.annotations.yolo import fit_quad
from geoseg.dataset.chips import burn_chip, select_objects
from geoseg.legend import IGNORE
from geoseg.options import ChipOptions
from tests.dataset.chip_decoding import pixels_of_rle

HEIGHT, WIDTH = 90, 120
place = st.tuples(st.floats(-20, WIDTH + 20), st.floats(-20, HEIGHT + 20))
shapes = st.lists(place, min_size=3, max_size=7).map(
    lambda corners: shapely.MultiPoint(np.round(corners, 6)).convex_hull
)
polygons = shapes.filter(lambda g: g.geom_type == "Polygon" and g.area > 0.01)
windows = st.builds(
    lambda left, top, width, height: Window(
        left, top, min(width, WIDTH - left), min(height, HEIGHT - top)
    ),
    *(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)),
    *(st.integers(1, WIDTH), st.integers(1, HEIGHT)),
)


def scene(geometry: list[shapely.Geometry], *difficult: int) -> Annotations:
    n = len(geometry)
    flags = np.isin(np.arange(n), difficult)
    return Annotations(np.array(geometry, object), np.arange(1, n + 1).astype(np.uint8), flags)


def off_outlines(geometry: list[shapely.Geometry], window: Window) -> NDArray[np.bool_]:
    """(h, w) False where an outline passes through a pixel's centre: rounding decides its label there."""
    rows, columns = np.mgrid[: window.height, : window.width] + 0.5
    centres = shapely.points(columns + window.col_off, rows + window.row_off)
    off = np.ones((window.height, window.width), bool)
    for outline in shapely.boundary(geometry):
        off &= shapely.distance(outline, centres) > 1e-6
    return off


@example([shapely.Polygon([(0, 0), (0, 1), (19.75, 19.75)])], Window(0, 0, 7, 2), "keep")
@given(st.lists(polygons, max_size=6), windows, st.sampled_from(["keep", "ignore", "drop"]))
def test_labels_of_a_chip_equal_those_of_the_whole_scene(
    geometry: list[shapely.Geometry], window: Window, difficult: str
) -> None:
    annotations = scene(geometry, 1, 2)
    tiling = ChipOptions(difficult=difficult)  # type: ignore[arg-type]
    valid = np.ones((window.height, window.width), bool)
    valid[::3, 1::2] = False
    found = burn_chip(AnnotationIndex(annotations), window, valid, tiling)
    whole = burn(annotations, HEIGHT, WIDTH, difficult=tiling.difficult)
    rows, columns = window.toslices()
    compared = valid & off_outlines(geometry, window)
    assert (found[compared] == whole[rows, columns][compared]).all()
    assert (found[~valid] == IGNORE).all()


@given(st.lists(polygons, max_size=6), windows, st.floats(0, 1))
def test_every_object_is_visible_or_counted_and_clipped_as_by_shapely(
    geometry: list[shapely.Geometry], window: Window, least: float
) -> None:
    box = shapely.box(0, 0, window.width, window.height)
    shown = select_objects(AnnotationIndex(scene(geometry)), window, ChipOptions(min_visible=least))
    moved = [
        shapely.transform(g, lambda xy: xy - (window.col_off, window.row_off)) for g in geometry
    ]
    touching = [g.intersection(box).area / g.area for g in moved if g.intersection(box).area > 0.02]
    assert len(shown) + shown.hidden >= len(touching)
    for whole, part, class_id in zip(
        shown.whole.geometry, shown.visible, shown.whole.class_id, strict=True
    ):
        original = moved[class_id - 1]
        assert shapely.equals_exact(whole, original, 1e-6)
        assert part.symmetric_difference(original.intersection(box)).area < 1e-3
        assert box.covers(part)
        assert part.area / original.area >= least - 1e-6
        if box.covers(original):
            assert shapely.equals_exact(part, original, 1e-6)


def test_objects_hardly_visible_are_dropped_or_marked_and_never_called_background() -> None:
    annotations = scene([shapely.box(10, 10, 50, 20), shapely.box(0, 30, 12, 40)])
    window = Window(0, 0, 20, 60)  # a quarter of the first and all of the second
    index = AnnotationIndex(annotations)
    dropped = select_objects(index, window, ChipOptions(min_visible=0.3))
    assert dropped.whole.class_id.tolist() == [2]
    assert dropped.hidden == 1
    marked = select_objects(index, window, ChipOptions(min_visible=0.3, hardly_visible="difficult"))
    assert marked.whole.difficult.tolist() == [True, False]
    assert marked.hidden == 0
    labels = burn_chip(index, window, np.ones((60, 20), bool), ChipOptions(min_visible=0.3))
    assert (labels[10:20, 10:] == IGNORE).all()
    assert (labels[30:40, :12] == 2).all()
    assert len(select_objects(index, window, ChipOptions(min_visible=0.25))) == 2


def test_what_nobody_knows_is_no_object_but_ignored_in_label_images() -> None:
    annotations = Annotations(
        np.array([shapely.box(0, 0, 9, 9), shapely.box(20, 0, 29, 9)], object),
        np.array([1, IGNORE], np.uint8),
        np.zeros(2, bool),
    )
    window, index = Window(0, 0, 40, 20), AnnotationIndex(annotations)
    shown = select_objects(index, window, ChipOptions())
    assert shown.whole.class_id.tolist() == [1]
    assert shown.unknown == 1
    labels = burn_chip(index, window, np.ones((20, 40), bool), ChipOptions())
    assert (labels[:9, 20:29] == IGNORE).all()


@given(polygons, st.booleans())
def test_run_lengths_are_the_pixels_that_gdal_burns(geometry: shapely.Geometry, hole: bool) -> None:
    geometry = geometry.intersection(shapely.box(0, 0, WIDTH, HEIGHT))
    if hole:
        geometry = geometry.difference(geometry.centroid.buffer(5))
    if geometry.is_empty or geometry.area < 0.01:
        return
    counts = encode_counts(geometry, HEIGHT, WIDTH)
    assert all(length > 0 for length in counts[1:])
    burned = burn(scene([geometry]), HEIGHT, WIDTH) == 1
    assert (pixels_of_rle({"counts": counts, "size": [HEIGHT, WIDTH]}) == burned).all()


@settings(max_examples=100)
@given(polygons)
def test_fitted_quads_lie_in_the_image_and_cover_most_of_the_object(
    geometry: shapely.Geometry,
) -> None:
    image = shapely.box(0, 0, WIDTH, HEIGHT)
    part = shapely.transform(geometry.intersection(image), lambda xy: xy.round(6))
    if part.geom_type != "Polygon" or part.area < 1:
        return
    corners = fit_quad(part, HEIGHT, WIDTH)
    assert corners.shape == (4, 2)
    quad = shapely.Polygon(corners)
    assert image.buffer(1e-9).covers(quad)
    assert quad.intersection(part).area > 0.5 * part.area
    if len(shapely.get_coordinates(part)) == 5:
        assert shapely.equals(quad, part)


def test_a_cut_ship_becomes_a_quad_within_the_window() -> None:
    ship = shapely.Polygon([(-10, 20), (30, 60), (24, 66), (-16, 26)])
    quad = shapely.Polygon(fit_quad(ship.intersection(shapely.box(0, 0, 99, 99)), 99, 99))
    seen = ship.intersection(shapely.box(0, 0, 99, 99))
    assert quad.intersection(seen).area / quad.union(seen).area == pytest.approx(0.9, abs=0.1)
