"""Rendering of synthetic elements."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.synthetic.render import SUBPIXEL, Sun, noise, render, shrink_polygons, to_fixed_point
from geoseg.synthetic.shapes import Element, Shape, Texture, box, ground, rectangle, rotate

METRE = 0.25  # pixel size
SIDE = 200
GROUND = ground(box(-5, -5, 100, 100), (128, 128, 128), Texture.PLAIN)
SUN = Sun(azimuth=np.pi, elevation=np.pi / 4)  # in the west


def drawn(*elements: Element) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    image = render(
        [GROUND, *elements], SIDE, pixel_size=METRE, sun=SUN, rng=np.random.default_rng(0)
    )
    return np.asarray(image.mean(axis=2), dtype=np.float64)


def test_a_shape_is_drawn_where_its_metres_say() -> None:
    white = Element((Shape(box(10, 20, 15, 40), (250, 250, 250)),), level=1)
    rows, columns = np.nonzero(drawn(white) - drawn() > 55)
    edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) * METRE
    assert edges == pytest.approx([10, 20, 15, 40], abs=0.3)


def test_a_shadow_falls_away_from_the_sun_and_is_as_long_as_the_height_at_45_degrees() -> None:
    post = Element((Shape(box(20, 20, 24, 24), (128, 128, 128), height=5.0),), level=1)
    darker = np.nonzero(drawn()[88] - drawn(post)[88] > 30)[0] * METRE
    assert darker.min() == pytest.approx(24, abs=0.5)
    assert darker.max() == pytest.approx(29, abs=0.7)


def test_a_roof_that_leans_to_the_sun_is_brighter() -> None:
    assert SUN.brightness(np.pi) > 1 > SUN.brightness(0.0)


def test_higher_things_are_drawn_over_lower_ones_whatever_their_order() -> None:
    low = Element((Shape(box(10, 10, 20, 20), (20, 20, 20)),), level=1)
    high = Element((Shape(box(10, 10, 20, 20), (240, 240, 240)),), level=2)
    assert drawn(high, low)[60, 60] > 150


@given(st.floats(12, 60), st.floats(6, 20), st.floats(0, 7))
def test_the_border_of_a_drawn_rectangle_lies_within_a_third_of_a_pixel(
    length: float, width: float, turn: float
) -> None:
    corners = rotate(rectangle(length, width), turn) + 50.0
    picture = np.zeros((100, 100), np.uint8)
    cv2.fillPoly(
        picture,
        [to_fixed_point(shrink_polygons(corners, np.array([0])))],
        255,
        cv2.LINE_AA,
        SUBPIXEL,
    )
    border = 2 * (length + width)
    assert picture.sum() / 255 == pytest.approx(length * width, abs=border / 2)


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(-7, 7), st.floats(-7, 7))
def test_placing_twice_is_placing_once_by_both(x: float, y: float, a: float, b: float) -> None:
    element = Element((Shape(rectangle(4, 2, (1, 0)), (0, 0, 0)),))
    corners = element.place((x, y), a).place((3.0, -2.0), b).placed_shapes()[0].corners
    once = rotate(element.shapes[0].corners, a) + np.array([x, y])
    expected = rotate(once, b) + np.array([3.0, -2.0])
    np.testing.assert_allclose(corners, expected, atol=1e-9)


@pytest.mark.parametrize("scale", [1, 6, 60])
def test_noise_has_unit_variance_and_no_bias(scale: int) -> None:
    field = noise(np.random.default_rng(0), 512, scale)
    assert field.shape == (512, 512)
    assert field.dtype == np.float32
    assert field.std() == pytest.approx(1, abs=0.25)
    assert abs(float(field.mean())) < 0.3
