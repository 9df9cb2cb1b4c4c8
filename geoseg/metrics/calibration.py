"""Calibration of confidences, and the confidence threshold below which a label becomes background.

Everything is computed from one histogram: pixels by reference class, predicted class and confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.metrics.confusion import divide, mean_score, round_score
from geoseg.polygons.trace import CONFIDENCE_SCALE

LEVELS = CONFIDENCE_SCALE + 2
"""Confidence levels of the histogram: 0 to 200, and one for unknown confidence."""

BINS = 20
"""Bins of a reliability curve, of equal width: 10 levels each."""


def confidence_histogram(
    reference: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    classes: int,
) -> NDArray[np.int64]:
    """Count pixels by reference class, predicted class and confidence.

    Parameters
    ----------
    reference, labels
        Class IDs of the ground truth and of the prediction, of equal shape. Pixels that are 255 (ignore) in
        either are not counted.
    confidence
        Levels 0 to 200 of the same shape; None if unknown.
    classes
        Number of classes, background included.

    Returns
    -------
    (classes, classes, LEVELS) array
        Its sum over the levels is the confusion matrix.
    """
    counted = (reference != IGNORE) & (labels != IGNORE)
    cells = reference[counted].astype(np.int64) * classes + labels[counted]
    cells *= LEVELS
    cells += (
        LEVELS - 1 if confidence is None else np.minimum(confidence[counted], np.uint8(LEVELS - 1))
    )
    shape = (classes, classes, LEVELS)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """Accuracy of labels by confidence (Guo et al. 2017, arXiv:1706.04599)."""

    pixels: NDArray[np.int64]
    """(BINS,) pixels. A bin holds confidences above its lower and up to its upper end; the first also holds 0."""

    confidence: NDArray[np.float64]
    """(BINS,) mean confidence, 0 to 1; NaN where a bin is empty."""

    accuracy: NDArray[np.float64]
    """(BINS,) share of correct labels, 0 to 1; NaN where a bin is empty."""

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap between confidence and accuracy over all pixels."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(divide(np.nansum(self.pixels * gaps), self.pixels.sum()))

    def to_json(self) -> dict[str, Any]:
        """Return the bins and the calibration error as JSON data."""
        return {
            "bins": [
                {
                    "from": round(index / BINS, 4),
                    "to": round((index + 1) / BINS, 4),
                    "confidence": round_score(self.confidence[index]),
                    "accuracy": round_score(self.accuracy[index]),
                    "pixels": int(self.pixels[index]),
                }
                for index in range(BINS)
            ],
            "ece": round_score(self.ece),
        }


def reliability_curve(histogram: NDArray[np.int64], *, background: bool = True) -> ReliabilityCurve:
    """Compute the reliability curve of a confidence histogram.

    Parameters
    ----------
    histogram
        (classes, classes, LEVELS) pixels, see `confidence_histogram`. Unknown confidences are left out.
    background
        Include pixels that are predicted as background.
    """
    known = histogram[:, 0 if background else 1 :, :-1]
    levels = np.arange(CONFIDENCE_SCALE + 1)
    starts = np.arange(BINS) * CONFIDENCE_SCALE // BINS + (np.arange(BINS) > 0)
    by_level = known.sum(axis=(0, 1))
    correct = np.trace(histogram[:, :, :-1])
    if not background:
        correct = correct - histogram[BACKGROUND, BACKGROUND, :-1]
    pixels, weighted, hits = (
        np.add.reduceat(counts, starts) for counts in (by_level, by_level * levels, correct)
    )
    return ReliabilityCurve(
        pixels=pixels,
        confidence=divide(weighted, pixels * CONFIDENCE_SCALE),
        accuracy=divide(hits, pixels),
    )


@dataclass(frozen=True, slots=True)
class ThresholdSweep:
    """Pixel counts for every confidence threshold below which labels become background.

    The counts of an object class depend on its own threshold only.
    """

    hits: NDArray[np.int64]
    """(201, classes) correct pixels per class, by threshold in steps of 1/200."""

    labels: NDArray[np.int64]
    """(201, classes) predicted pixels per class, by threshold."""

    reference: NDArray[np.int64]
    """(classes,) reference pixels."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(201, classes) IoU by threshold; NaN where a class is in neither reference nor labels."""
        return divide(self.hits, self.labels + self.reference - self.hits)

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """Return the best thresholds and the curves as JSON data.

        The best threshold for all classes has the highest mean IoU; that of a class has its highest IoU, and
        therefore its highest F1.
        """
        iou, precision = self.iou, divide(self.hits, self.labels)
        recall = divide(self.hits, np.broadcast_to(self.reference, self.hits.shape))
        mious = np.array([mean_score(self.reference, scores) for scores in iou])
        return {
            "overall": _best_threshold(mious, "miou"),
            "classes": {c.name: _best_threshold(iou[:, c.id], "iou") for c in legend.objects},
            "curves": {
                "confidence": [step / BINS for step in range(BINS + 1)],
                "miou": _thin_curve(mious),
                "classes": {
                    c.name: {
                        "iou": _thin_curve(iou[:, c.id]),
                        "precision": _thin_curve(precision[:, c.id]),
                        "recall": _thin_curve(recall[:, c.id]),
                    }
                    for c in legend.objects
                },
            },
        }


def sweep_thresholds(histogram: NDArray[np.int64]) -> ThresholdSweep:
    """Apply every confidence threshold to a histogram in which all confidences are known."""
    kept = np.flip(np.flip(histogram[:, :, :-1], axis=2).cumsum(axis=2), axis=2)  # level or above
    objects = kept[:, 1:]
    hits, labels = np.einsum("cct->tc", kept).copy(), kept.sum(axis=0).T.copy()
    # (reference class, level) pixels that become background
    removed = objects[:, :, 0].sum(axis=1)[:, None] - objects.sum(axis=1)
    hits[:, BACKGROUND] = kept[BACKGROUND, BACKGROUND, 0] + removed[BACKGROUND]
    labels[:, BACKGROUND] = kept[:, BACKGROUND, 0].sum() + removed.sum(axis=0)
    return ThresholdSweep(hits, labels, histogram.sum(axis=(1, 2)))


def _best_threshold(scores: NDArray[np.float64], name: str) -> dict[str, float | None]:
    """Return the lowest threshold with the best of (201,) scores, and its gain over no threshold."""
    if np.isnan(scores).all():
        return {"confidence": None, name: None, "gain": None}
    best = int(np.nanargmax(scores))
    return {
        "confidence": best / CONFIDENCE_SCALE,
        name: round_score(scores[best]),
        "gain": round_score(scores[best] - scores[0]),
    }


def _thin_curve(scores: NDArray[np.float64]) -> list[float | None]:
    """Return (201,) scores at BINS + 1 thresholds."""
    return [round_score(score) for score in scores[:: CONFIDENCE_SCALE // BINS]]
