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
        return ratio(hits, self.matrix.sum(0) + self.matrix.sum(1) - hits)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of a class's labels that are true."""
        return ratio(np.diag(self.matrix), self.matrix.sum(0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of a class's truth that is found."""
        return ratio(np.diag(self.matrix), self.matrix.sum(1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall, the Dice coefficient: 2 IoU / (1 + IoU)."""
        return ratio(2 * np.diag(self.matrix), self.matrix.sum(0) + self.matrix.sum(1))

    @property
    def accuracy(self) -> float:
        """Share of pixels whose label is true, background like any other class; NaN without pixels."""
        return float(ratio(np.trace(self.matrix), self.matrix.sum()))

    def mean_iou(self, *, background: bool = False) -> float:
        """Mean IoU over the classes that occur in the truth; NaN if none does."""
        return mean_over(self.matrix.sum(1), self.iou, background=background)

    def weighted_iou(self) -> float:
        """IoU of all classes, background too, weighed by their share of the true pixels (frequency
        weighted IoU of Long et al. 2015, arXiv 1411.4038); NaN without pixels."""
        truth = self.matrix.sum(1)
        return float(ratio(np.nansum(truth * self.iou), truth.sum()))

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """Plain data; a score that is not defined is None."""
        truth, labels = self.matrix.sum(1), self.matrix.sum(0)
        return {
            "miou": number(self.mean_iou()),
            "miou_with_background": number(self.mean_iou(background=True)),
            "fwiou": number(self.weighted_iou()),
            "accuracy": number(self.accuracy),
            "pixels": int(self.matrix.sum()),
            "classes": {
                c.name: {
                    "iou": number(self.iou[c.id]),
                    "precision": number(self.precision[c.id]),
                    "recall": number(self.recall[c.id]),
                    "f1": number(self.f1[c.id]),
                    "pixels": int(truth[c.id]),
                    "predicted": int(labels[c.id]),
                }
                for c in legend
            },
        }


def mean_over(
    truth: NDArray[np.int64], scores: NDArray[np.float64], *, background: bool = False
) -> float:
    """Mean of the scores (classes,) of those classes that occur in the truth (classes,); NaN if none does."""
    occurs = truth > 0
    occurs[0] &= background
    return float(scores[occurs].mean()) if occurs.any() else float("nan")


def ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """Part by whole, NaN where the whole is nothing."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    result: NDArray[np.float64] = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def number(value: float) -> float | None:
    """A score as it stands in JSON: four decimals, None where it is not defined."""
    return None if np.isnan(value) else round(float(value), 4)
