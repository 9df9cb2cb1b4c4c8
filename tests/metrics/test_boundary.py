import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from geoseg.legend import IGNORE
from geoseg.metrics.boundary import BoundaryCounter, boundary_iou, mark_boundaries

CLASSES = 4
SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 30))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw reference and labels of rectangular patches, some of them IGNORE."""
    height, width = draw(SHAPES)
    side = draw(st.sampled_from([1, 4, 9]))
    small = (-(-height // side), -(-width // side))
    values = st.sampled_from([0, 0, 1, 2, 3, IGNORE])
    truth, labels = (draw(hnp.arrays(np.uint8, small, elements=values)) for _ in range(2))
    return tuple(  # type: ignore[return-value]
        of.repeat(side, axis=0).repeat(side, axis=1)[:height, :width] for of in (truth, labels)
    )


def their_boundary(of_class: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """`mask_to_boundary` as the authors of boundary IoU wrote it."""
    framed = cv2.copyMakeBorder(of_class.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return np.asarray(of_class & (inner == 0))


def counted(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8], distance: int, heights: list[int]
) -> NDArray[np.int64]:
    boundaries = BoundaryCounter(CLASSES, distance)
    row = 0
    while row < len(truth):
        height = heights.pop(0) if heights else len(truth)
        boundaries.add(truth[row : row + height], labels[row : row + height])
        row += height
    return boundaries.finish()


@given(pairs(), st.integers(1, 6), st.lists(st.integers(1, 9), max_size=30))
def test_counts_equal_those_of_the_authors_for_any_strips(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], distance: int, heights: list[int]
) -> None:
    truth, labels = pair
    counts = counted(truth, labels, distance, heights)
    seen = (truth != IGNORE) & (labels != IGNORE)
    for class_id in range(CLASSES):
        t = their_boundary((truth == class_id) & seen, distance)
        f = their_boundary((labels == class_id) & seen, distance)
        assert counts[:, class_id].tolist() == [(t & f).sum(), t.sum(), f.sum()]


@given(pairs())
def test_with_a_large_distance_boundary_iou_is_iou(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    truth, labels = pair
    seen = (truth != IGNORE) & (labels != IGNORE)
    iou = boundary_iou(counted(truth, labels, 30, []))
    for class_id in range(CLASSES):
        t, f = (truth == class_id) & seen, (labels == class_id) & seen
        if (t | f).any():
            assert iou[class_id] == (t & f).sum() / (t | f).sum()
        else:
            assert np.isnan(iou[class_id])


def test_a_shifted_square_has_a_lower_boundary_iou_than_iou() -> None:
    truth = np.zeros((300, 300), np.uint8)
    truth[50:250, 50:250] = 1
    shifted = np.roll(truth, 5, axis=1)
    inner = 195 * 200 / (205 * 200)
    bands = boundary_iou(counted(truth, shifted, 5, []))
    assert bands[1] < 0.55 < inner  # both bands are 5 wide: along two sides they miss each other
    assert boundary_iou(counted(truth, truth, 5, []))[1] == 1


def test_the_border_of_the_scene_is_a_contour() -> None:
    near = mark_boundaries(np.zeros((9, 9), np.uint8), 2)
    assert near.sum() == 81 - 25


def test_no_rows_have_no_counts() -> None:
    assert not BoundaryCounter(CLASSES).finish().any()
    assert np.isnan(boundary_iou(BoundaryCounter(CLASSES).finish())).all()


@pytest.mark.parametrize("height", [1, 3, 512])
def test_pending_rows_are_limited_by_the_distance(height: int) -> None:
    boundaries = BoundaryCounter(CLASSES, 5)
    for _ in range(40):
        boundaries.add(np.zeros((height, 8), np.uint8), np.zeros((height, 8), np.uint8))
        assert boundaries._rows is not None
        assert boundaries._rows.shape[1] <= 2 * 5 + height
