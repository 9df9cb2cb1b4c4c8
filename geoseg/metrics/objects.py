"""Objects: polygons that were found, matched with those that were annotated.

A pair fits if both are of one class and their intersection over union is at least a threshold, 0.5 unless
another is asked for. Of the pairs that fit the best is taken first, and each object at most once. What is
found does not overlap, so of two objects found only one can have an IoU above 0.5 with the same annotation;
taking the best first then finds as many pairs as can be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, Difficult
from geoseg.legend import IGNORE
from geoseg.metrics.bootstrap import resampled
from geoseg.metrics.confusion import number, ratio

MATCH = 0.5
"""IoU from which on two polygons are one object, unless another is asked for."""

SIZES = ("small", "medium", "large")
_LIMITS = np.array([32.0**2, 96.0**2])
"""Areas in pixels up to which an object is small, or medium, as in COCO (Lin et al. 2014, arXiv 1405.0312)."""

TRUTH, FOUND, MATCHED = range(3)


@dataclass(frozen=True, slots=True)
class Pairs:
    """n pairs of polygons."""

    truth: NDArray[np.intp]
    """(n,) number of the annotation"""

    found: NDArray[np.intp]
    """(n,) number of the polygon that was found"""

    iou: NDArray[np.float64]
    """(n,)"""


class Objects:
    """The annotated objects of one scene, of `width` x `height` pixels, and what was found, batch by batch.

    Annotations are clipped to the scene. Difficult ones may be left out (drop), or what is found may do
    with them as it likes (ignore): neither they nor their matches count. Areas of which nobody knows what is
    there are no objects, and what is found with at least half of its area on them counts nowhere.
    """

    def __init__(
        self,
        annotations: Annotations,
        classes: int,
        *,
        width: int,
        height: int,
        match: float = MATCH,
        difficult: Difficult = "keep",
    ) -> None:
        if difficult == "drop":
            annotations = annotations[~annotations.difficult]
        geometry = clipped(annotations.geometry, width, height)
        unknown = annotations.class_id == IGNORE
        self._unknown = shapely.STRtree(geometry[unknown])
        objects = (shapely.area(geometry) > 0) & ~unknown
        self._geometry, annotations = geometry[objects], annotations[objects]
        self._class = annotations.class_id
        self._size = sizes(self._geometry)
        self._idle = (
            annotations.difficult if difficult == "ignore" else np.zeros(len(annotations), bool)
        )
        self._tree = shapely.STRtree(self._geometry)
        self._match, self._classes = match, classes
        self._found = np.zeros((len(SIZES), classes), np.int64)
        self._number = 0
        self._fitting: list[tuple[Pairs, NDArray[np.intp]]] = []

    def add(self, geometry: NDArray[np.object_], class_id: NDArray[np.uint8]) -> None:
        """Take more polygons (n,) that were found, in pixels of the scene, with their classes."""
        known = ~self._on_unknown(geometry)
        geometry, class_id = geometry[known], class_id[known]
        size = sizes(geometry)
        np.add.at(self._found, (size, class_id), 1)
        pairs = fitting(
            self._tree, self._geometry, self._class, geometry, class_id, match=self._match
        )
        numbered = Pairs(pairs.truth, pairs.found + self._number, pairs.iou)
        self._fitting.append((numbered, size[pairs.found]))
        self._number += len(class_id)

    def _on_unknown(self, geometry: NDArray[np.object_]) -> NDArray[np.bool_]:
        """(n,) True where nobody knows what is there."""
        f, u = self._unknown.query(geometry)
        common = shapely.area(shapely.intersection(geometry[f], self._unknown.geometries[u]))
        on: NDArray[np.bool_] = np.bincount(f, common, len(geometry)) >= shapely.area(geometry) / 2
        return on

    def counts(self) -> NDArray[np.int64]:
        """(3, 3, classes) annotated, found and matched objects by size and class.

        What was found counts at its own size, or if it is matched at that of its annotation.
        """
        counts = np.zeros((3, len(SIZES), self._classes), np.int64)
        np.add.at(counts[TRUTH], (self._size[~self._idle], self._class[~self._idle]), 1)
        counts[FOUND] = self._found
        if not self._fitting:
            return counts
        parts = [pairs for pairs, _ in self._fitting]
        pairs = Pairs(
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.found for part in parts]),
            np.concatenate([part.iou for part in parts]),
        )
        taken = best_first(pairs)
        own = np.concatenate([size for _, size in self._fitting])[taken]
        truth = pairs.truth[taken]
        np.subtract.at(counts[FOUND], (own, self._class[truth]), 1)
        truth = truth[~self._idle[truth]]
        for kind in (FOUND, MATCHED):
            np.add.at(counts[kind], (self._size[truth], self._class[truth]), 1)
        return counts


def clipped(geometry: NDArray[np.object_], width: int, height: int) -> NDArray[np.object_]:
    """Valid polygons inside a scene of `width` x `height` pixels; empty ones for those outside."""
    made: NDArray[np.object_] = geometry.copy()
    wrong = ~shapely.is_valid(made)
    made[wrong] = shapely.make_valid(made[wrong], method="structure", keep_collapsed=False)
    left, top, right, bottom = shapely.bounds(made).T
    beyond = (left < 0) | (top < 0) | (right > width) | (bottom > height)
    made[beyond] = shapely.intersection(made[beyond], shapely.box(0, 0, width, height))
    return made


def sizes(geometry: NDArray[np.object_]) -> NDArray[np.intp]:
    """(n,) index into SIZES of polygons in pixels."""
    size: NDArray[np.intp] = np.searchsorted(_LIMITS, shapely.area(geometry), side="left")
    return size


def fitting(
    tree: shapely.STRtree,
    truth: NDArray[np.object_],
    truth_class: NDArray[np.uint8],
    found: NDArray[np.object_],
    found_class: NDArray[np.uint8],
    *,
    match: float,
) -> Pairs:
    """All pairs of one class whose IoU is at least `match`; `tree` is that of `truth`."""
    f, t = tree.query(found)
    same = found_class[f] == truth_class[t]
    f, t = f[same], t[same]
    areas = shapely.area(found)[f], shapely.area(truth)[t]
    # most pairs are told apart by their areas and boxes alone
    common = np.minimum.reduce(
        [_box_overlap(shapely.bounds(found)[f], shapely.bounds(truth)[t]), *areas]
    )
    likely = common >= match * (sum(areas) - common)
    f, t = f[likely], t[likely]
    common = shapely.area(shapely.intersection(found[f], truth[t]))
    iou = common / (areas[0][likely] + areas[1][likely] - common)
    fits = iou >= match
    return Pairs(t[fits], f[fits], iou[fits])


def best_first(pairs: Pairs) -> NDArray[np.intp]:
    """Indices of the pairs that are taken: by falling IoU, each object at most once; of equal ones the first
    found, then the first annotated."""
    order = np.lexsort((pairs.truth, pairs.found, -pairs.iou))
    seen_truth: set[int] = set()
    seen_found: set[int] = set()
    taken = []
    for index in order.tolist():
        truth, found = int(pairs.truth[index]), int(pairs.found[index])
        if truth not in seen_truth and found not in seen_found:
            seen_truth.add(truth)
            seen_found.add(found)
            taken.append(index)
    return np.array(taken, np.intp)


def object_f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """2 matched / (annotated + found), NaN where there is neither; counts are (..., 3, classes)."""
    truth, found, matched = (counts[..., kind, :] for kind in range(3))
    return ratio(2 * matched, truth + found)


def resampled_f1(
    drawn: NDArray[np.float64], objects: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(resamples,) F1 of all objects and (resamples, classes) F1, of objects (scenes, 3, sizes, classes); NaN
    where a class does not occur in the truth of those scenes that were drawn."""
    counts = resampled(drawn, objects.sum(axis=2))
    whole = object_f1(counts.sum(axis=-1, keepdims=True))[:, 0]
    return whole, np.where(counts[:, TRUTH] > 0, object_f1(counts), np.nan)


def objects_json(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Plain data of (3,) counts."""
    truth, found, matched = counts.tolist()
    return {
        "truth": truth,
        "found": found,
        "matched": matched,
        "precision": number(float(ratio(matched, found))),
        "recall": number(float(ratio(matched, truth))),
        "f1": number(float(ratio(2 * matched, truth + found))),
    }


def _box_overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, 2:], other[:, 2:])
    overlap: NDArray[np.float64] = np.clip(high - low, 0, None).prod(axis=1)
    return overlap
