"""Boundary IoU: how well outlines are met (Cheng et al. 2021, arXiv 2103.16562).

Of truth and of labels only the pixels near the contour of their own class are looked at, so that large
objects cannot hide a ragged border behind their many inner pixels. As in the authors' code a pixel is near
a contour if a pixel of another class lies in the square of 2 d + 1 pixels around it, and the scene's border
is a contour. Their d is 2 % of an image's diagonal, which has no meaning for a scene of any size: here it is
a number of pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE
from geoseg.metrics.confusion import ratio

DISTANCE = 5
"""Pixels from a contour, unless another number is asked for: a metre where pixels measure 20 cm, less than
half the width of a car."""


def near_contour(labels: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """(h, w) True where a pixel of another class, or one outside of the array, is at most `distance` rows
    and columns away."""
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    lowest, highest = (
        filtered(labels, square, borderType=cv2.BORDER_CONSTANT, borderValue=IGNORE)
        for filtered in (cv2.erode, cv2.dilate)
    )
    return np.asarray(lowest != highest)


def boundary_iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """(classes,) boundary IoU from (..., 3, classes) counts; NaN where a class has no contour."""
    both, truth, labels = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    return ratio(both, truth + labels - both)


class Boundaries:
    """Counts pixels near contours, strip by strip: the counts of the whole scene, whatever the strips.

    Pixels that are IGNORE in truth or labels lie outside for both, as what is beyond the scene's border.
    """

    def __init__(self, classes: int, distance: int = DISTANCE) -> None:
        self._classes, self._distance = classes, distance
        self._counts = np.zeros((3, classes), np.int64)
        self._rows: NDArray[np.uint8] | None = (
            None  # (2, h, w): counted ones, for context, and waiting ones
        )
        self._counted = 0  # of these rows

    def add(self, truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Take the next rows of a scene, (h, w) each."""
        rows = np.stack([truth, labels])
        rows[:, (rows == IGNORE).any(axis=0)] = IGNORE
        self._rows = rows if self._rows is None else np.concatenate([self._rows, rows], axis=1)
        self._count(self._rows.shape[1] - self._distance)

    def counts(self) -> NDArray[np.int64]:
        """(3, classes) pixels near contours of truth and labels, of the truth, of the labels; ends the scene."""
        if self._rows is not None:
            self._count(self._rows.shape[1])
            self._rows = None
        return self._counts

    def _count(self, end: int) -> None:
        if self._rows is None or end <= self._counted:
            return
        near = np.stack([near_contour(rows, self._distance) for rows in self._rows])
        inner = slice(self._counted, end)
        banded = np.where(near, self._rows, IGNORE)[:, inner]
        truth, labels = banded
        for row, seen in enumerate((truth[truth == labels], truth, labels)):
            found = np.bincount(seen.ravel(), minlength=IGNORE + 1)
            self._counts[row] += found[: self._classes]
        first = max(0, end - self._distance)
        self._rows, self._counted = self._rows[:, first:], end - first
