"""Small regions, holes and split objects: compared with SciPy, and independent of the strips."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.options import PolygonOptions
from geoseg.polygons import necks
from geoseg.polygons.clean import HoleFilter, RowFilter, SmallRegionFilter, filter_rows
from geoseg.polygons.necks import split_objects, split_region
from geoseg.polygons.trace import Strip

Labels = NDArray[np.uint8]

HEIGHTS = st.lists(st.integers(1, 6), min_size=1, max_size=4)
EVERYWHERE = np.ones((3, 3))


def rasters(side: int = 16) -> st.SearchStrategy[Labels]:
    shapes = st.tuples(st.integers(1, side), st.integers(1, side))
    values = st.sampled_from([0, 0, 1, 1, 1, 2, 255])
    return arrays.arrays(np.uint8, shapes, elements=values, fill=st.nothing())


def cut(labels: NDArray[np.integer], heights: list[int]) -> Iterator[Strip]:
    row = turn = 0
    while row < len(labels):
        part = slice(row, row + heights[turn % len(heights)])
        yield labels[part], np.ascontiguousarray(labels[part] % 200, np.uint8)  # type: ignore[misc]
        row, turn = part.stop, turn + 1


def decided(
    labels: NDArray[np.integer], heights: list[int], decide: RowFilter
) -> NDArray[np.integer]:
    return np.concatenate([strip for strip, _ in filter_rows(cut(labels, heights), decide)])


def ones(_first: int, rows: int) -> NDArray[np.float64]:
    return np.ones(rows)


def without_small(labels: Labels, least: int) -> Labels:
    left = labels.copy()
    for value in set(np.unique(labels).tolist()) - {0, 255}:
        ids, _ = ndimage.label(labels == value)
        small = np.bincount(ids.ravel()) < least
        small[0] = False
        left[small[ids]] = 0
    return left


def without_holes(labels: Labels, largest: int) -> Labels:
    left = labels.copy()
    nothing = (labels == 0) | (labels == 255)
    ids, n = ndimage.label(nothing, EVERYWHERE)
    framed = np.pad(ids, 1, constant_values=-1)
    for hole in range(1, n + 1):
        inside = framed == hole
        near = ndimage.binary_dilation(inside) & ~inside
        around = set(labels[near[1:-1, 1:-1]].tolist())
        at_the_edge = (framed[near] == -1).any()
        if inside.sum() <= largest and len(around) == 1 and not at_the_edge:
            left[ids == hole] = around.pop()
    return left


@settings(max_examples=200)
@given(rasters(), HEIGHTS, st.integers(1, 30))
def test_small_regions_go_as_scipy_finds_them(
    labels: Labels, heights: list[int], least: int
) -> None:
    expected = without_small(labels, least)
    for decide in (SmallRegionFilter(least, 0, ones), SmallRegionFilter(0, least, ones)):
        np.testing.assert_array_equal(decided(labels, heights, decide), expected)


RING = np.pad(np.pad(np.zeros((3, 3), np.uint8), 1, constant_values=1), 1)


@settings(max_examples=200)
@given(rasters(), HEIGHTS, st.integers(1, 30))
@example(RING, [1], 9)
@example(RING, [2], 8)
def test_holes_in_one_class_are_filled_as_scipy_finds_them(
    labels: Labels, heights: list[int], largest: int
) -> None:
    expected = without_holes(labels, largest)
    np.testing.assert_array_equal(decided(labels, heights, HoleFilter(largest)), expected)


def test_filled_pixels_have_no_confidence() -> None:
    ((labels, confidence),) = filter_rows([(RING, RING * 100)], HoleFilter(9))
    assert confidence is not None
    assert (labels == 1).sum() == 25
    assert (confidence[labels == 1] == 100).sum() == 16
    assert (confidence == 255).sum() == 9


def test_rows_go_as_soon_as_they_are_decided() -> None:
    labels = np.zeros((40, 9), np.uint8)
    labels[:, 4] = 1  # large enough after 5 rows
    strips = list(filter_rows(cut(labels, [2]), SmallRegionFilter(5, 0, ones)))
    assert [len(strip) for strip, _ in strips[:3]] == [6, 2, 2]


def discs(*centres: tuple[int, int], radius: int = 8, shape: tuple[int, int] = (60, 80)) -> Labels:
    labels = np.zeros(shape, np.uint8)
    for x, y in centres:
        cv2.circle(labels, (x, y), radius, 1, -1)
    return labels


def test_touching_discs_come_apart_where_they_meet() -> None:
    parts = split_region(discs((20, 20), (34, 20), (27, 33)) > 0)
    assert parts.max() == 3
    assert len({int(parts[y, x]) for x, y in ((20, 20), (34, 20), (27, 33))}) == 3
    sizes = np.bincount(parts.ravel())[1:]
    assert sizes.max() < 1.25 * sizes.min()


@pytest.mark.parametrize(
    "labels",
    [
        discs((30, 30)),
        discs((20, 20), (24, 20)),
        np.pad(np.ones((4, 40), np.uint8), 3),
        np.pad(np.triu(np.ones((30, 30), np.uint8)), 2),
    ],
    ids=["a disc", "two discs in one", "a bar", "a triangle"],
)
def test_what_has_no_neck_stays_whole(labels: Labels) -> None:
    assert split_region(labels > 0).max() == 1


def test_parts_are_connected_and_cover_the_region() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((150, 150)), (0, 0), 4)
    ids, n = ndimage.label(noise > np.median(noise))
    for region in range(1, n + 1):
        parts = split_region(ids == region)
        assert ((parts > 0) == (ids == region)).all()
        assert all(ndimage.label(parts == p)[1] == 1 for p in range(1, parts.max() + 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), HEIGHTS, st.sampled_from([9, 40, 1024]))
def test_splitting_does_not_depend_on_strips(seed: int, heights: list[int], largest: int) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((60, 50)), (0, 0), 3)
    labels = (1 + np.digitize(noise, np.quantile(noise, [0.2, 0.6]))).astype(np.uint16) % 3
    labels = labels.astype(np.uint16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(necks, "LARGEST", largest)
        whole = decided(labels, [60], split_objects)
        np.testing.assert_array_equal(decided(labels, heights, split_objects), whole)
    assert (whole % 256 == labels).all()


def test_parts_of_a_class_that_meet_have_labels_of_their_own() -> None:
    labels = discs((20, 20), (34, 20), (27, 33)).astype(np.uint16)
    parted = decided(labels, [60], split_objects)
    assert len({int(parted[y, x]) for x, y in ((20, 20), (34, 20), (27, 33))}) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"min_pixels": -1}, {"simplify": float("nan")}, {"oriented_boxes": True, "smooth": 1.0}],
)
def test_cleaning_that_cannot_be_is_a_value_error(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be|cannot"):
        PolygonOptions(**wrong)  # type: ignore[arg-type]
