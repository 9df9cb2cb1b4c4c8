"""Scores from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE, Legend


def confusion(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """(classes, classes) counts of pixels, rows by truth, columns by label; pixels that are IGNORE in either
    count nowhere."""
    counted = (truth != IGNORE) & (labels != IGNORE)
    pairs = truth[counted].astype(np.int64) * classes + labels[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, slots=True)
class Scores:
    """Per-class scores, 0 to 1, by class id; NaN where a class has neither truth nor label."""

    matrix: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union."""
        hits = np.diag(self.matrix)
        return _ratio(hits, self.matrix.sum(0) + self.matrix.sum(1) - hits)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of a class's labels that are true."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of a class's truth that is found."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(1))

    def mean_iou(self, *, background: bool = False) -> float:
        """Mean IoU over the classes that occur in the truth; NaN if none does."""
        occurs = self.matrix.sum(1) > 0
        occurs[0] &= background
        return float(self.iou[occurs].mean()) if occurs.any() else float("nan")

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """Plain data; a score that is not defined is None."""
        truth = self.matrix.sum(1)
        return {
            "miou": _number(self.mean_iou()),
            "miou_with_background": _number(self.mean_iou(background=True)),
            "pixels": int(self.matrix.sum()),
            "classes": {
                c.name: {
                    "iou": _number(self.iou[c.id]),
                    "precision": _number(self.precision[c.id]),
                    "recall": _number(self.recall[c.id]),
                    "pixels": int(truth[c.id]),
                }
                for c in legend
            },
        }


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.full(len(whole), np.nan)
    return np.divide(part, whole, out=ratio, where=whole > 0)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
