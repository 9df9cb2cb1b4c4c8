"""Boundary IoU: accuracy of outlines (Cheng et al. 2021, arXiv:2103.16562).

Only pixels near the contour of their own class count, in the reference and in the labels, so the many inner
pixels of large objects cannot hide an inaccurate outline. As in the authors' code, a pixel is near a contour
if the square of 2 d + 1 pixels around it contains another class or reaches beyond the scene. The authors set
d to 2 % of the image diagonal, which is meaningless for scenes of any size; here d is a number of pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE
from geoseg.metrics.confusion import divide


def mark_boundaries(labels: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Mark pixels at most `distance` rows and columns from another class or from the edge of the array.

    Parameters
    ----------
    labels
        (h, w) class IDs.
    distance
        Pixels.

    Returns
    -------
    (h, w) array of bool
    """
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    lowest, highest = (
        extreme(labels, square, borderType=cv2.BORDER_CONSTANT, borderValue=IGNORE)
        for extreme in (cv2.erode, cv2.dilate)
    )
    return np.asarray(lowest != highest)


def boundary_iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute boundary IoU from counts.

    Parameters
    ----------
    counts
        (..., 3, classes) pixels near contours: of both, of the reference, of the labels.

    Returns
    -------
    (..., classes) array
        0 to 1; NaN where a class has no contour.
    """
    both, reference, labels = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    return divide(both, reference + labels - both)


class BoundaryCounter:
    """Count pixels near contours strip by strip; strip heights do not change the result.

    Pixels that are 255 (ignore) in reference or labels are outside for both, like those beyond the scene.
    """

    def __init__(self, classes: int, distance: int = 5) -> None:
        self._classes, self._distance = classes, distance
        self._counts = np.zeros((3, classes), np.int64)
        self._rows: NDArray[np.uint8] | None = None  # (2, h, w) context rows, then pending rows
        self._counted = 0  # number of context rows

    def add(self, reference: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Add the next rows of a scene, (h, w) each."""
        rows = np.stack([reference, labels])
        rows[:, (rows == IGNORE).any(axis=0)] = IGNORE
        self._rows = rows if self._rows is None else np.concatenate([self._rows, rows], axis=1)
        self._count(self._rows.shape[1] - self._distance)

    def finish(self) -> NDArray[np.int64]:
        """Count the pending rows and return (3, classes) pixels: of both, of the reference, of the labels."""
        if self._rows is not None:
            self._count(self._rows.shape[1])
            self._rows = None
        return self._counts

    def _count(self, end: int) -> None:
        if self._rows is None or end <= self._counted:
            return
        near = np.stack([mark_boundaries(rows, self._distance) for rows in self._rows])
        inner = slice(self._counted, end)
        reference, labels = np.where(near, self._rows, IGNORE)[:, inner]
        for row, pixels in enumerate((reference[reference == labels], reference, labels)):
            counts = np.bincount(pixels.ravel(), minlength=IGNORE + 1)
            self._counts[row] += counts[: self._classes]
        first = max(0, end - self._distance)
        self._rows, self._counted = self._rows[:, first:], end - first
