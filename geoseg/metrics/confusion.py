"""Confusion matrix, and the pixel scores computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE, Legend


def confusion_matrix(
    reference: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Count pixels by reference class and predicted class.

    Parameters
    ----------
    reference, labels
        Class IDs of the ground truth and of the prediction, of equal shape. Pixels that are 255 (ignore) in
        either are not counted.
    classes
        Number of classes, background included.

    Returns
    -------
    (classes, classes) array
        Pixels; rows are reference classes, columns predicted classes.
    """
    counted = (reference != IGNORE) & (labels != IGNORE)
    pairs = reference[counted].astype(np.int64) * classes + labels[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, slots=True)
class Scores:
    """Pixel scores per class, 0 to 1; NaN where a class is in neither reference nor labels."""

    matrix: NDArray[np.int64]
    """(classes, classes) confusion matrix, rows by reference."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(classes,) intersection over union."""
        hits = np.diag(self.matrix)
        return divide(hits, self.matrix.sum(0) + self.matrix.sum(1) - hits)

    @property
    def precision(self) -> NDArray[np.float64]:
        """(classes,) share of the predicted pixels of a class that are correct."""
        return divide(np.diag(self.matrix), self.matrix.sum(0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """(classes,) share of the reference pixels of a class that are predicted."""
        return divide(np.diag(self.matrix), self.matrix.sum(1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """(classes,) harmonic mean of precision and recall (Dice coefficient): 2 IoU / (1 + IoU)."""
        return divide(2 * np.diag(self.matrix), self.matrix.sum(0) + self.matrix.sum(1))

    @property
    def accuracy(self) -> float:
        """Share of correct pixels, background included; NaN without pixels."""
        return float(divide(np.trace(self.matrix), self.matrix.sum()))

    def mean_iou(self, *, background: bool = False) -> float:
        """Compute the mean IoU of the classes in the reference; NaN if there are none."""
        return mean_score(self.matrix.sum(1), self.iou, background=background)

    def weighted_iou(self) -> float:
        """Compute the IoU of all classes, background included, weighted by their reference pixels.

        Notes
        -----
        Frequency weighted IoU of Long et al. (2015), arXiv:1411.4038. NaN without pixels.
        """
        reference = self.matrix.sum(1)
        return float(divide(np.nansum(reference * self.iou), reference.sum()))

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """Return the scores as JSON data; an undefined score is None."""
        reference, predicted = self.matrix.sum(1), self.matrix.sum(0)
        return {
            "miou": round_score(self.mean_iou()),
            "miou_with_background": round_score(self.mean_iou(background=True)),
            "fwiou": round_score(self.weighted_iou()),
            "accuracy": round_score(self.accuracy),
            "pixels": int(self.matrix.sum()),
            "classes": {
                c.name: {
                    "iou": round_score(self.iou[c.id]),
                    "precision": round_score(self.precision[c.id]),
                    "recall": round_score(self.recall[c.id]),
                    "f1": round_score(self.f1[c.id]),
                    "pixels": int(reference[c.id]),
                    "predicted": int(predicted[c.id]),
                }
                for c in legend
            },
        }


def mean_score(
    reference: NDArray[np.int64], scores: NDArray[np.float64], *, background: bool = False
) -> float:
    """Average (classes,) scores over the classes with reference pixels; NaN if there are none."""
    present = reference > 0
    present[0] &= background
    return float(scores[present].mean()) if present.any() else float("nan")


def divide(part: Any, whole: Any) -> NDArray[np.float64]:
    """Divide `part` by `whole`; NaN where `whole` is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    result: NDArray[np.float64] = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def round_score(score: float) -> float | None:
    """Round a score to the four decimals of JSON; None where it is NaN."""
    return None if np.isnan(score) else round(float(score), 4)
