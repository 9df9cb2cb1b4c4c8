"""What confidences are worth: calibration, and the threshold below which a label is better background.

All of it comes from one histogram: pixels by truth, label and confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.metrics.confusion import mean_over, number, ratio
from geoseg.polygons.trace import CONFIDENCE_SCALE

LEVELS = CONFIDENCE_SCALE + 2
"""Of a histogram: 0 to 200, and one for pixels whose confidence nobody knows."""

BINS = 20
"""Of a reliability curve, equally wide: 10 levels each."""


def confidences(
    truth: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    classes: int,
) -> NDArray[np.int64]:
    """(classes, classes, LEVELS) counts of pixels by truth, label and confidence; pixels that are IGNORE in
    truth or labels count nowhere. The sum over confidences is the confusion matrix."""
    counted = (truth != IGNORE) & (labels != IGNORE)
    cells = truth[counted].astype(np.int64) * classes + labels[counted]
    cells *= LEVELS
    cells += (
        LEVELS - 1 if confidence is None else np.minimum(confidence[counted], np.uint8(LEVELS - 1))
    )
    shape = (classes, classes, LEVELS)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often labels are true, by how sure the network was (Guo et al. 2017, arXiv 1706.04599)."""

    pixels: NDArray[np.int64]
    """(BINS,); a bin holds confidences above its lower and up to its upper end, the first also 0"""

    confidence: NDArray[np.float64]
    """(BINS,) mean; NaN where a bin is empty"""

    accuracy: NDArray[np.float64]
    """(BINS,) share of labels that are true; NaN likewise"""

    @property
    def ece(self) -> float:
        """Expected calibration error: the gap between confidence and accuracy, over all pixels."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(ratio(np.nansum(self.pixels * gaps), self.pixels.sum()))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "bins": [
                {
                    "from": round(index / BINS, 4),
                    "to": round((index + 1) / BINS, 4),
                    "confidence": number(self.confidence[index]),
                    "accuracy": number(self.accuracy[index]),
                    "pixels": int(self.pixels[index]),
                }
                for index in range(BINS)
            ],
            "ece": number(self.ece),
        }


def reliability(counts: NDArray[np.int64], *, background: bool = True) -> Reliability:
    """Of a histogram (classes, classes, LEVELS); without `background` only of pixels labelled as an object."""
    known = counts[:, 0 if background else 1 :, :-1]
    levels = np.arange(CONFIDENCE_SCALE + 1)
    starts = np.arange(BINS) * CONFIDENCE_SCALE // BINS + (np.arange(BINS) > 0)

    def binned(by_level: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.add.reduceat(by_level, starts)

    pixels = known.sum(axis=(0, 1))
    right = np.trace(counts[:, :, :-1]) - (0 if background else counts[BACKGROUND, BACKGROUND, :-1])
    whole = binned(pixels)
    return Reliability(
        pixels=whole,
        confidence=ratio(binned(pixels * levels), whole * CONFIDENCE_SCALE),
        accuracy=ratio(binned(right), whole),
    )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What scores become when labels of a lower confidence turn into background.

    What becomes of an object class depends on its own threshold alone.
    """

    hits: NDArray[np.int64]
    """(201, classes) pixels that are of the class in truth and labels, by threshold in steps of 1/200"""

    labels: NDArray[np.int64]
    """(201, classes) pixels labelled as the class, likewise"""

    truth: NDArray[np.int64]
    """(classes,) true pixels"""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(201, classes) NaN where a class has neither truth nor label"""
        return ratio(self.hits, self.labels + self.truth - self.hits)

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """The best threshold for all classes, by mean IoU, and for each, by its IoU, and so by its F1 too; and
        curves. Plain data."""
        iou, precision = self.iou, ratio(self.hits, self.labels)
        recall = ratio(self.hits, np.broadcast_to(self.truth, self.hits.shape))
        mious = np.array([mean_over(self.truth, of) for of in iou])
        steps = slice(None, None, CONFIDENCE_SCALE // BINS)

        def curve(scores: NDArray[np.float64]) -> list[float | None]:
            return [number(score) for score in scores[steps]]

        return {
            "overall": _best(mious, "miou"),
            "classes": {c.name: _best(iou[:, c.id], "iou") for c in legend.objects},
            "curves": {
                "confidence": [step / BINS for step in range(BINS + 1)],
                "miou": curve(mious),
                "classes": {
                    c.name: {
                        "iou": curve(iou[:, c.id]),
                        "precision": curve(precision[:, c.id]),
                        "recall": curve(recall[:, c.id]),
                    }
                    for c in legend.objects
                },
            },
        }


def thresholds(counts: NDArray[np.int64]) -> Thresholds:
    """Of a histogram (classes, classes, LEVELS), every pixel of which has a confidence."""
    kept = np.flip(np.flip(counts[:, :, :-1], axis=2).cumsum(axis=2), axis=2)  # at least this sure
    objects = kept[:, 1:]
    hits, labels = np.einsum("cct->tc", kept).copy(), kept.sum(axis=0).T.copy()
    gone = objects[:, :, 0].sum(axis=1)[:, None] - objects.sum(
        axis=1
    )  # (truth, level) → background
    hits[:, BACKGROUND] = kept[BACKGROUND, BACKGROUND, 0] + gone[BACKGROUND]
    labels[:, BACKGROUND] = kept[:, BACKGROUND, 0].sum() + gone.sum(axis=0)
    return Thresholds(hits, labels, counts.sum(axis=(1, 2)))


def _best(scores: NDArray[np.float64], name: str) -> dict[str, float | None]:
    """The lowest threshold with the best of (201,) scores, and what it gains over none."""
    if np.isnan(scores).all():
        return {"confidence": None, name: None, "gain": None}
    best = int(np.nanargmax(scores))
    return {
        "confidence": best / CONFIDENCE_SCALE,
        name: number(scores[best]),
        "gain": number(scores[best] - scores[0]),
    }
