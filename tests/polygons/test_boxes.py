"""Oriented boxes of objects, in pixels and on the ground."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import rasterize

from geoseg.polygons.boxes import fit_oriented_boxes, measure_boxes, oriented_boxes
from geoseg.polygons.trace import PolygonBatch, trace

UTM = CRS.from_epsg(32632)


def trace_one(labels: NDArray[np.uint8]) -> PolygonBatch:
    """Trace labels into a single batch."""
    (batch,) = trace([(labels, None)])
    return batch


def burn_rectangle(
    length: float, width: float, angle: float, shift: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.uint8]:
    """Burn a rectangle whose long side points `angle` degrees clockwise from up."""
    rectangle = shapely.box(-width / 2, -length / 2, width / 2, length / 2)
    placed = shapely.affinity.translate(
        shapely.affinity.rotate(rectangle, angle, origin=(0, 0)), 64 + shift[0], 64 + shift[1]
    )
    labels: NDArray[np.uint8] = rasterize(
        [placed], (128, 128), transform=Affine.identity(), dtype=np.uint8
    )
    return labels


def difference(one: float, other: float) -> float:
    """Return the difference of two directions of lines in degrees."""
    return abs((one - other + 90) % 180 - 90)


@settings(max_examples=60)
@given(
    st.floats(24, 80),
    st.floats(6, 18),
    st.floats(0, 180),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_the_box_of_a_burned_rectangle_is_the_rectangle(
    length: float, width: float, angle: float, shift: tuple[float, float]
) -> None:
    ((x, y, found_length, found_width, found_angle),) = oriented_boxes(
        trace_one(burn_rectangle(length, width, angle, shift))
    )
    # worst at 45° with centres of pixels on all sides
    assert abs(found_length - length) < 1 + 0.05 * length
    assert abs(found_width - width) < 2
    assert difference(found_angle, angle) < 5  # two pixels in 24
    assert np.hypot(x - 64 - shift[0], y - 64 - shift[1]) < 0.8


def test_boxes_of_oblique_rectangles_are_not_too_large_on_average() -> None:
    rng = np.random.default_rng(0)
    errors, smallest = [], []
    for _ in range(40):
        size = rng.uniform(24, 60), rng.uniform(8, 16)
        batch = trace_one(burn_rectangle(*size, rng.uniform(10, 80), tuple(rng.random(2))))
        (box,) = oriented_boxes(batch)
        errors.append(box[2:4] - size)
        (outline,) = batch.geometry(Affine.identity())
        smallest.append(shapely.oriented_envelope(outline).length / 4 - sum(size) / 2)
    assert np.abs(np.mean(errors, axis=0)).max() < 0.15
    assert np.mean(smallest) > 0.5


@settings(max_examples=60)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)
    )
)
def test_boxes_have_at_least_the_area_and_at_most_the_smallest_rectangle(
    labels: NDArray[np.uint8],
) -> None:
    for batch in trace([(labels, None)]):
        boxes = oriented_boxes(batch)
        area = boxes[:, 2] * boxes[:, 3]
        smallest = shapely.area(shapely.oriented_envelope(batch.geometry(Affine.identity())))
        assert (area >= batch.pixels - 1e-6).all()
        assert (area <= np.maximum(smallest, batch.pixels) + 1e-6).all()
        assert (boxes[:, 2] >= boxes[:, 3]).all()
        assert ((boxes[:, 4] >= 0) & (boxes[:, 4] < 180)).all()
        np.testing.assert_allclose(
            shapely.area(fit_oriented_boxes(batch).geometry(Affine.identity())), area
        )


def test_directions_are_clockwise_from_north_on_the_map() -> None:
    batch = trace_one(burn_rectangle(50, 10, 30))
    ((length, width, angle),) = measure_boxes(batch, Affine(0.5, 0, 0, 0, -0.5, 0), UTM)
    assert (length, width) == pytest.approx((25, 5), abs=0.4)
    assert difference(angle, 30) < 1.5
    ((*_, turned),) = measure_boxes(batch, Affine.rotation(90) @ Affine(0.5, 0, 0, 0, -0.5, 0), UTM)
    assert difference(turned, angle - 90) < 1e-6


def test_boxes_in_degrees_are_those_on_the_ground() -> None:
    latitude, metre = 60.0, 1 / 111_412.0
    transform = Affine(2 * metre, 0, 10, 0, -metre, latitude)
    batch = trace_one(burn_rectangle(60, 12, 40))
    ((length, width, angle),) = measure_boxes(batch, transform, CRS.from_epsg(4326))
    assert (length, width) == pytest.approx((60, 12), abs=0.7)
    assert difference(angle, 40) < 1.5
    row = trace_one(np.ones((1, 40), np.uint8))
    ((across, down, _),) = measure_boxes(row, transform, CRS.from_epsg(4326))
    geod = pyproj.Geod(ellps="WGS84")
    _, _, expected = geod.inv(10, latitude, 10 + 80 * metre, latitude)
    assert across == pytest.approx(expected, rel=1e-4)
    assert down == pytest.approx(1.0, rel=1e-3)


def test_sizes_are_unknown_without_metres_and_directions_are_not() -> None:
    batch = trace_one(np.ones((2, 8), np.uint8))
    ((length, width, angle),) = measure_boxes(batch, Affine.identity(), None)
    assert np.isnan([length, width]).all() and angle == 90
    beyond = measure_boxes(batch, Affine(1, 0, 0, 0, -1, 95), CRS.from_epsg(4326))
    assert np.isnan(beyond).all()


def test_an_empty_batch_has_no_boxes() -> None:
    batch = trace_one(np.ones((1, 1), np.uint8))
    values: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, np.ndarray):
            values[field.name] = value[: 1 if field.name.endswith("offsets") else 0]
    empty = replace(batch, **values)
    assert oriented_boxes(empty).shape == (0, 5)
    assert measure_boxes(empty, Affine.identity(), UTM).shape == (0, 3)
    assert len(fit_oriented_boxes(empty)) == 0
