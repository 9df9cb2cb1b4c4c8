"""Outlines that leave the pixels' edges: still a coverage, still the same regions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from geoseg.options import PolygonOptions
from geoseg.polygons.table import extract_polygons
from geoseg.polygons.trace import trace

Labels = NDArray[np.uint8]
Geometry = NDArray[np.object_]

IDENTITY = Affine.identity()
HEIGHTS = st.lists(st.integers(1, 6), min_size=1, max_size=4)
SHAPES = st.sampled_from(
    [
        PolygonOptions(simplify=0.5),
        PolygonOptions(simplify=1),
        PolygonOptions(simplify=2),
        PolygonOptions(simplify=30),
        PolygonOptions(smooth=0.5),
        PolygonOptions(smooth=4),
        PolygonOptions(simplify=1, smooth=0.7),
        PolygonOptions(simplify=3, smooth=5),
        PolygonOptions(simplify=30, smooth=30),
    ]
)


@st.composite
def rasters(draw: st.DrawFn) -> Labels:
    """Coarse regions with single pixels in them, so that outlines are short and long."""
    side = st.tuples(st.integers(1, 9), st.integers(1, 9))
    values = st.integers(0, draw(st.integers(1, 3)))
    coarse = draw(arrays.arrays(np.uint8, side, elements=values, fill=st.nothing()))
    labels: Labels = coarse.repeat(draw(st.integers(1, 4)), 0).repeat(draw(st.integers(1, 4)), 1)
    for _ in range(draw(st.integers(0, 5))):
        y, x = (draw(st.integers(0, length - 1)) for length in labels.shape)
        labels[y, x] = draw(values)
    return labels


def cut(labels: Labels, heights: list[int]) -> Iterator[tuple[Labels, None]]:
    row = turn = 0
    while row < len(labels):
        part = slice(row, row + heights[turn % len(heights)])
        yield labels[part], None
        row, turn = part.stop, turn + 1


def polygons(
    labels: Labels, cleaning: PolygonOptions, heights: list[int] | None = None
) -> Geometry:
    found = extract_polygons(cut(labels, heights or [len(labels)]), cleaning)
    parts = [batch.outlines.geometry(IDENTITY) for batch in found]
    return np.concatenate([np.empty(0, object), *parts])


@settings(max_examples=80)
@given(rasters())
def test_noded_polygons_are_a_coverage_and_the_same_regions(labels: Labels) -> None:
    (noded, plain) = (
        [batch.geometry(IDENTITY) for batch in trace([(labels, None)], noded=noded)]
        for noded in (True, False)
    )
    assert len(noded) == len(plain)
    for one, other in zip(noded, plain, strict=True):
        assert shapely.coverage_is_valid(one)
        assert shapely.equals_exact(shapely.simplify(one, 0), shapely.simplify(other, 0)).all() or (
            shapely.equals(one, other).all()
        )


SPIKES = np.tri(9, dtype=np.uint8)[:, ::-1].repeat(3, 1)


@settings(max_examples=120)
@given(rasters(), SHAPES)
@example(SPIKES, PolygonOptions(simplify=3, smooth=5))
@example(np.eye(12, dtype=np.uint8), PolygonOptions(simplify=2))
def test_shared_borders_stay_shared_and_holes_stay_holes(
    labels: Labels, cleaning: PolygonOptions
) -> None:
    shaped, traced = polygons(labels, cleaning), polygons(labels, PolygonOptions())
    assert shapely.is_valid(shaped).all()
    assert len(shaped) == 0 or shapely.coverage_is_valid(shaped)
    for count in (shapely.get_num_interior_rings, shapely.get_num_geometries):
        assert (count(shaped) == count(traced)).all()
    assert (shapely.area(shaped) > 0).all()


@settings(max_examples=60)
@given(rasters(), SHAPES, HEIGHTS)
def test_strips_change_nothing(
    labels: Labels, cleaning: PolygonOptions, heights: list[int]
) -> None:
    whole, stripped = polygons(labels, cleaning), polygons(labels, cleaning, heights)
    assert shapely.equals_exact(whole, stripped).all()


@pytest.mark.parametrize(
    "cleaning", [PolygonOptions(simplify=2), PolygonOptions(simplify=1, smooth=2)]
)
def test_batches_and_forgotten_rows_change_nothing(
    monkeypatch: pytest.MonkeyPatch, cleaning: PolygonOptions
) -> None:
    noise = np.random.default_rng(2).integers(0, 3, (90, 20), np.uint8)
    labels = noise.repeat(3, 0).repeat(3, 1)
    whole = polygons(labels, cleaning)
    monkeypatch.setattr("geoseg.polygons.trace.BATCH_CORNERS", 60)
    monkeypatch.setattr("geoseg.polygons.trace.SWEEP_PIXELS", 120)
    batches = list(extract_polygons(cut(labels, [7]), cleaning))
    assert len(batches) > 20
    parts = np.concatenate([batch.outlines.geometry(IDENTITY) for batch in batches])
    assert shapely.equals_exact(parts, whole).all()
    settled = [batch.regions.settled for batch in batches]
    for number, batch in enumerate(batches[1:]):
        assert batch.regions.coordinates[:, 1].min() >= settled[number]


def test_a_slanted_border_becomes_a_line() -> None:
    rows, columns = np.indices((60, 60))
    labels = (columns > 0.37 * rows + 10).astype(np.uint8)
    (polygon,) = polygons(labels, PolygonOptions(simplify=2))
    (pixels,) = polygons(labels, PolygonOptions())
    assert len(polygon.exterior.coords) < 0.4 * len(pixels.exterior.coords)
    assert abs(polygon.area - labels.sum()) < 0.01 * labels.sum()


def test_simplifying_keeps_about_as_many_points_as_shapely_does() -> None:
    noise = np.random.default_rng(0).integers(0, 4, (40, 40), np.uint8)
    labels = noise.repeat(7, 0).repeat(7, 1)
    labels[np.random.default_rng(1).random(labels.shape) < 0.02] = 1
    noded = np.concatenate(
        [batch.geometry(IDENTITY) for batch in trace([(labels, None)], noded=True)]
    )
    for tolerance in (1.0, 2.0, 4.0):
        theirs = shapely.get_num_coordinates(shapely.coverage_simplify(noded, tolerance)).sum()
        ours = shapely.get_num_coordinates(
            polygons(labels, PolygonOptions(simplify=tolerance))
        ).sum()
        assert ours < 1.1 * theirs


def test_the_corners_of_the_scene_stay() -> None:
    (polygon,) = polygons(np.ones((9, 7), np.uint8), PolygonOptions(simplify=5, smooth=3))
    assert polygon.equals(shapely.box(0, 0, 7, 9))


def test_a_rounded_disc_is_rounder_than_its_pixels() -> None:
    rows, columns = np.indices((41, 41))
    labels = ((rows - 20) ** 2 + (columns - 20) ** 2 < 15**2).astype(np.uint8)
    (polygon,) = polygons(labels, PolygonOptions(simplify=1, smooth=3))
    (pixels,) = polygons(labels, PolygonOptions())
    assert polygon.length < 1.03 * 2 * np.pi * 15 < pixels.length
    assert polygon.symmetric_difference(shapely.Point(20.5, 20.5).buffer(15, 64)).area < 30


def test_oriented_boxes_replace_outlines() -> None:
    (box,) = polygons(np.ones((3, 7), np.uint8), PolygonOptions(oriented_boxes=True))
    assert box.normalize().equals_exact(shapely.box(0, 0, 7, 3).normalize(), 1e-9)


PEAK = """
import resource, sys
import numpy as np
from geoseg.polygons import trace
from geoseg.options import PolygonOptions
from geoseg.polygons.table import extract_polygons

trace.BATCH_CORNERS = 1 << 15

def strips(rows):
    random = np.random.default_rng(0)
    for _ in range(0, rows, 250):
        labels = random.integers(0, 3, (50, 400), np.uint8).repeat(5, axis=0).repeat(5, axis=1)
        labels[random.random(labels.shape) < 0.05] = 1
        yield labels, labels

cleaning = PolygonOptions(min_pixels=30, fill_holes=30, split="necks", simplify=1.5, smooth=2)
batches = sum(len(batch.outlines) > 0 for batch in extract_polygons(strips(int(sys.argv[1])), cleaning))
assert batches > 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_of_cleaning_does_not_grow_with_height() -> None:
    def peak(rows: int) -> int:
        command = [sys.executable, "-c", PEAK, str(rows)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    peak(500)  # compiles the kernels, which takes memory of its own
    assert peak(4000) < 1.08 * peak(1000)
