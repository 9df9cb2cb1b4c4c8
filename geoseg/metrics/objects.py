"""Object scores: predicted polygons matched with annotated ones.

Two polygons can match if they have the same class and their intersection over union (IoU) is at least a
threshold, 0.5 by default. Pairs are accepted in order of falling IoU, and each object is matched at most
once. Predicted polygons do not overlap, so at most one of them has an IoU above 0.5 with an annotation;
greedy matching then finds the largest possible number of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.legend import IGNORE
from geoseg.metrics.bootstrap import sum_resamples
from geoseg.metrics.confusion import divide, round_score
from geoseg.options import Difficult

SIZES = ("small", "medium", "large")
_SIZE_LIMITS = np.array([32.0**2, 96.0**2])
"""Largest area of a small and of a medium object in pixels, as in COCO (Lin et al. 2014, arXiv:1405.0312)."""

REFERENCE, PREDICTED, MATCHED = range(3)
"""Rows of object counts."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """n candidate pairs of an annotated and a predicted polygon."""

    reference: NDArray[np.intp]
    """(n,) indices of annotations."""

    predicted: NDArray[np.intp]
    """(n,) indices of predicted polygons."""

    iou: NDArray[np.float64]
    """(n,) intersection over union."""


class ObjectCounter:
    """Count annotated, predicted and matched objects of one scene; predicted ones are added in batches.

    Parameters
    ----------
    annotations
        Annotated objects in pixels of the scene; they are clipped to it. Predicted polygons with at least
        half of their area on annotations of class 255 (ignore) are not counted.
    classes
        Number of classes, background included.
    width, height
        Size of the scene in pixels.
    match
        IoU from which on two polygons are the same object.
    difficult
        Treatment of difficult annotations: counted like others (keep), neither they nor their matches counted
        (ignore), or removed (drop).
    """

    def __init__(
        self,
        annotations: Annotations,
        classes: int,
        *,
        width: int,
        height: int,
        match: float = 0.5,
        difficult: Difficult = "keep",
    ) -> None:
        if difficult == "drop":
            annotations = annotations[~annotations.difficult]
        geometry = clip_polygons(annotations.geometry, width, height)
        ignored = annotations.class_id == IGNORE
        self._ignored = shapely.STRtree(geometry[ignored])
        objects = (shapely.area(geometry) > 0) & ~ignored
        self._geometry, annotations = geometry[objects], annotations[objects]
        self._class = annotations.class_id
        self._size = size_class(self._geometry)
        self._uncounted = (
            annotations.difficult if difficult == "ignore" else np.zeros(len(annotations), bool)
        )
        self._tree = shapely.STRtree(self._geometry)
        self._match, self._classes = match, classes
        self._predicted = np.zeros((len(SIZES), classes), np.int64)
        self._number = 0
        self._candidates: list[tuple[Pairs, NDArray[np.intp]]] = []  # with sizes of the predicted

    def add(self, geometry: NDArray[np.object_], class_id: NDArray[np.uint8]) -> None:
        """Add (n,) predicted polygons in pixels of the scene, with their class IDs."""
        counted = ~self._is_ignored(geometry)
        geometry, class_id = geometry[counted], class_id[counted]
        size = size_class(geometry)
        np.add.at(self._predicted, (size, class_id), 1)
        pairs = find_pairs(
            self._tree, self._geometry, self._class, geometry, class_id, match=self._match
        )
        numbered = Pairs(pairs.reference, pairs.predicted + self._number, pairs.iou)
        self._candidates.append((numbered, size[pairs.predicted]))
        self._number += len(class_id)

    def _is_ignored(self, geometry: NDArray[np.object_]) -> NDArray[np.bool_]:
        """(n,) True where at least half of a polygon lies on ignored area."""
        p, i = self._ignored.query(geometry)
        common = shapely.area(shapely.intersection(geometry[p], self._ignored.geometries[i]))
        ignored: NDArray[np.bool_] = (
            np.bincount(p, common, len(geometry)) >= shapely.area(geometry) / 2
        )
        return ignored

    def counts(self) -> NDArray[np.int64]:
        """Match all polygons and count objects.

        Returns
        -------
        (3, 3, classes) array
            Annotated, predicted and matched objects, by size and class. A predicted polygon counts at its own
            size, or at that of its annotation if it is matched.
        """
        counts = np.zeros((3, len(SIZES), self._classes), np.int64)
        counted = ~self._uncounted
        np.add.at(counts[REFERENCE], (self._size[counted], self._class[counted]), 1)
        counts[PREDICTED] = self._predicted
        if not self._candidates:
            return counts
        parts = [pairs for pairs, _ in self._candidates]
        pairs = Pairs(
            np.concatenate([part.reference for part in parts]),
            np.concatenate([part.predicted for part in parts]),
            np.concatenate([part.iou for part in parts]),
        )
        matched = match_greedily(pairs)
        own_size = np.concatenate([size for _, size in self._candidates])[matched]
        reference = pairs.reference[matched]
        np.subtract.at(counts[PREDICTED], (own_size, self._class[reference]), 1)
        reference = reference[counted[reference]]
        for kind in (PREDICTED, MATCHED):
            np.add.at(counts[kind], (self._size[reference], self._class[reference]), 1)
        return counts


def clip_polygons(geometry: NDArray[np.object_], width: int, height: int) -> NDArray[np.object_]:
    """Repair polygons and clip them to a scene of `width` x `height` pixels; those outside become empty."""
    clipped: NDArray[np.object_] = geometry.copy()
    invalid = ~shapely.is_valid(clipped)
    clipped[invalid] = shapely.make_valid(
        clipped[invalid], method="structure", keep_collapsed=False
    )
    left, top, right, bottom = shapely.bounds(clipped).T
    beyond = (left < 0) | (top < 0) | (right > width) | (bottom > height)
    clipped[beyond] = shapely.intersection(clipped[beyond], shapely.box(0, 0, width, height))
    return clipped


def size_class(geometry: NDArray[np.object_]) -> NDArray[np.intp]:
    """Return (n,) indices into `SIZES` of polygons in pixels."""
    size: NDArray[np.intp] = np.searchsorted(_SIZE_LIMITS, shapely.area(geometry), side="left")
    return size


def find_pairs(
    tree: shapely.STRtree,
    reference: NDArray[np.object_],
    reference_class: NDArray[np.uint8],
    predicted: NDArray[np.object_],
    predicted_class: NDArray[np.uint8],
    *,
    match: float,
) -> Pairs:
    """Find all pairs of one class whose IoU is at least `match`; `tree` indexes `reference`."""
    p, r = tree.query(predicted)
    same = predicted_class[p] == reference_class[r]
    p, r = p[same], r[same]
    areas = shapely.area(predicted)[p], shapely.area(reference)[r]
    # areas and bounding boxes bound the IoU from above, which rejects most pairs
    common = np.minimum.reduce(
        [_box_overlap(shapely.bounds(predicted)[p], shapely.bounds(reference)[r]), *areas]
    )
    likely = common >= match * (sum(areas) - common)
    p, r = p[likely], r[likely]
    common = shapely.area(shapely.intersection(predicted[p], reference[r]))
    iou = common / (areas[0][likely] + areas[1][likely] - common)
    found = iou >= match
    return Pairs(r[found], p[found], iou[found])


def match_greedily(pairs: Pairs) -> NDArray[np.intp]:
    """Select pairs by falling IoU so that each object occurs at most once.

    Ties go to the lower index of the predicted polygon, then to that of the annotation.

    Returns
    -------
    (m,) array
        Indices into `pairs`.
    """
    order = np.lexsort((pairs.reference, pairs.predicted, -pairs.iou))
    used_reference: set[int] = set()
    used_predicted: set[int] = set()
    selected = []
    for index in order.tolist():
        reference, predicted = int(pairs.reference[index]), int(pairs.predicted[index])
        if reference not in used_reference and predicted not in used_predicted:
            used_reference.add(reference)
            used_predicted.add(predicted)
            selected.append(index)
    return np.array(selected, np.intp)


def object_f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute 2 matched / (annotated + predicted) from (..., 3, classes) counts; NaN where there is neither."""
    reference, predicted, matched = (counts[..., kind, :] for kind in range(3))
    return divide(2 * matched, reference + predicted)


def resample_f1(
    resamples: NDArray[np.float64], objects: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the F1 of resampled scenes.

    Parameters
    ----------
    resamples
        (resamples, scenes) draws, see `draw_resamples`.
    objects
        (scenes, 3, sizes, classes) counts.

    Returns
    -------
    (resamples,) array
        F1 of all objects.
    (resamples, classes) array
        F1 per class; NaN where a class has no annotated object in the scenes of a resample.
    """
    counts = sum_resamples(resamples, objects.sum(axis=2))
    total = object_f1(counts.sum(axis=-1, keepdims=True))[:, 0]
    return total, np.where(counts[:, REFERENCE] > 0, object_f1(counts), np.nan)


def objects_json(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Return (3,) counts and the scores computed from them as JSON data."""
    reference, predicted, matched = counts.tolist()
    return {
        "truth": reference,
        "found": predicted,
        "matched": matched,
        "precision": round_score(float(divide(matched, predicted))),
        "recall": round_score(float(divide(matched, reference))),
        "f1": round_score(float(divide(2 * matched, reference + predicted))),
    }


def _box_overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, 2:], other[:, 2:])
    overlap: NDArray[np.float64] = np.clip(high - low, 0, None).prod(axis=1)
    return overlap
