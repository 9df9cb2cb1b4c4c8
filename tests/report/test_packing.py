"""Packed polygons and attributes round trip."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.report.packing import (
    Frame,
    PackedOutlines,
    encode_varints,
    encode_zigzag,
    pack_column,
    pack_outlines,
)

FRAME = Frame(100.0, 900.0, 0.5, 0.25)


def numbers(packed: bytes) -> list[int]:
    """The inverse of `encode_varints`, a byte at a time."""
    found, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(value)
            value, shift = 0, 0
    return found


def unpacked(outlines: PackedOutlines) -> list[list[NDArray[np.int64]]]:
    """Rings of every polygon, in steps."""
    steps = np.array([n >> 1 ^ -(n & 1) for n in numbers(outlines.steps)]).reshape(-1, 2)
    xy = iter(np.cumsum(steps, axis=0))
    lengths = iter(numbers(outlines.vertices))
    return [
        [np.array([next(xy) for _ in range(next(lengths))]) for _ in range(rings)]
        for rings in numbers(outlines.rings)
    ]


@given(st.lists(st.integers(0, 2**35 - 1)))
def test_variable_length_numbers_round_trip(values: list[int]) -> None:
    assert numbers(encode_varints(np.array(values, np.uint64))) == values


@given(st.integers(-(2**33), 2**33))
def test_zigzag_round_trips_and_keeps_small_numbers_small(value: int) -> None:
    (packed,) = encode_zigzag(np.array([value])).tolist()
    assert packed == (2 * value if value >= 0 else -2 * value - 1)


def test_outlines_round_trip_with_holes_and_parts() -> None:
    hole = shapely.box(100, 800, 150, 900).difference(shapely.box(110, 850, 120, 860))
    parts = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 7)])
    back = unpacked(pack_outlines(np.array([hole, parts], object), FRAME))
    assert [len(rings) for rings in back] == [2, 2]
    for geometry, rings in zip((hole, parts), back, strict=True):
        places = [xy * (0.5, -0.25) + (100, 900) for xy in rings]
        area = abs(sum(shapely.Polygon(p).area * s for p, s in zip(places, (1, -1), strict=True)))
        if geometry is hole:
            assert area == pytest.approx(geometry.area)
        else:
            assert shapely.equals(geometry, shapely.union_all([shapely.Polygon(p) for p in places]))


@given(st.floats(0, 3), st.integers(0, 50))
def test_outlines_are_displaced_by_at_most_the_tolerance(tolerance: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.random(60)) * 2 * np.pi
    radius = 20 + 5 * rng.random(60)
    ring = np.stack([200 + radius * np.cos(angle), 800 + radius * np.sin(angle)], axis=1)
    polygon = shapely.Polygon(ring)
    frame = Frame(100.0, 900.0, 0.25, 0.25)
    ((back,),) = unpacked(pack_outlines(np.array([polygon], object), frame, tolerance=tolerance))
    outline = shapely.LinearRing(back * (0.25, -0.25) + (100, 900))
    far = shapely.hausdorff_distance(outline, polygon.exterior)
    assert far <= 0.25 * (tolerance + 0.75)  # and half a step, each way, for whole numbers


def test_a_polygon_smaller_than_a_step_becomes_a_point() -> None:
    back = unpacked(pack_outlines(np.array([shapely.box(150, 850, 150.01, 850.01)]), FRAME))
    assert [ring.tolist() for ring in back[0]] == [[[100, 200]]]


def read(column: dict[str, Any]) -> list[Any]:
    values = np.frombuffer(base64.b64decode(column["data"]), column["type"]).tolist()
    if column["kind"] == "text":
        return [column["words"][v] for v in values]
    if column["kind"] == "boolean":
        return [bool(v) for v in values]
    return [v / column["scale"] for v in values] if "scale" in column else values


@pytest.mark.parametrize(
    ("values", "kind", "size"),
    [
        (np.array([0, 255]), "u1", 1),
        (np.array([0, 256]), "u2", 2),
        (np.array([-1, 70_000]), "i4", 4),
        (np.array([2**40]), "f8", 8),
        (np.array([0.5, 0.0625]), "f4", 4),
        (np.array([0.912, 0.25]), "u2", 2),
        (np.array([2.0**30 + 1]), "f8", 8),
    ],
)
def test_numbers_are_stored_in_the_smallest_type(
    values: NDArray[Any], kind: str, size: int
) -> None:
    column = pack_column("x", values)
    assert column["type"] == kind
    assert read(column) == values.tolist()


def test_text_booleans_dates_and_missing_values_round_trip() -> None:
    assert read(pack_column("x", np.array(["b", None, "a", "b"], object))) == ["b", "", "a", "b"]
    assert read(pack_column("x", np.array([True, False]))) == [True, False]
    assert read(pack_column("x", np.array(["2026-11-25", "NaT"], "M8[D]"))) == ["2026-11-25", ""]
    missing = read(pack_column("x", np.array([1, None], object)))
    assert missing[0] == 1
    assert np.isnan(missing[1])
