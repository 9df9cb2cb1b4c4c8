"""Errors of predicted objects: the kind of error of every object, and the error of their number per scene.

Kinds of annotated objects, of which each has the first that applies:

========== ==============================================================================================
matched    matched at the threshold of the F1
merged     covered by a predicted object of its class that covers two or more annotated ones
split      covered by two or more predicted objects of its class together, each of which lies on it
loose      paired with a predicted object of its class at a lower IoU, from 0.1
confused   covered by a predicted object of another class
missed     all others
========== ==============================================================================================

Kinds of predicted objects:

========== ==============================================================================================
matched    matched at the threshold of the F1
merged     covers two or more annotated objects of its class
loose      paired with an annotated object of its class at a lower IoU, from 0.1
fragment   lies on an annotated object of its class
confused   lies on an annotated object of another class
speckle    on none, and has at most 16 pixels
invented   on none, and is larger
========== ==============================================================================================

An object is *covered* by objects if they have at least half of its area, and *lies on* an object that has at least
half of its own area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend
from geoseg.metrics.confusion import divide, round_score
from geoseg.metrics.objects import COVER, LEAST_IOU, SceneObjects, match_greedily

REFERENCE_KINDS = ("matched", "merged", "split", "loose", "confused", "missed")
PREDICTED_KINDS = ("matched", "merged", "loose", "fragment", "confused", "speckle", "invented")

SPECKLE = 16.0
"""Largest area of speckle in pixels."""

MANY = 10
"""Annotated objects from which on a scene counts in the second of the two count errors."""

GROUPS = {
    "vehicles": ("small-vehicle", "large-vehicle"),
    "ships": ("ship",),
    "planes": ("plane",),
}
"""Classes that are counted together."""


@dataclass(frozen=True, slots=True)
class ErrorKinds:
    """Kind of every object of a scene."""

    reference: NDArray[np.intp]
    """(r,) indices into `REFERENCE_KINDS`."""

    predicted: NDArray[np.intp]
    """(p,) indices into `PREDICTED_KINDS`."""

    counted: NDArray[np.bool_]
    """(p,) False for predicted objects that match an annotation that does not count."""

    def count(self, scene: SceneObjects) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count the objects of a scene, as (kinds, classes) for the annotated and for the predicted ones."""
        reference = np.zeros((len(REFERENCE_KINDS), scene.classes), np.int64)
        predicted = np.zeros((len(PREDICTED_KINDS), scene.classes), np.int64)
        for counts, kind, class_id, counted in (
            (reference, self.reference, scene.reference_class, ~scene.uncounted),
            (predicted, self.predicted, scene.predicted_class, self.counted),
        ):
            np.add.at(counts, (kind[counted], class_id[counted]), 1)
        return reference, predicted


def classify_errors(scene: SceneObjects, match: float) -> ErrorKinds:
    """Find the kind of every object of a scene; `match` is the threshold of the F1."""
    pairs, same = scene.pairs, scene.same_class
    r, p = pairs.reference, pairs.predicted
    covers = pairs.common >= COVER * scene.reference_area[r]
    lies = pairs.common >= COVER * scene.predicted_area[p]
    matched = scene.match(match)
    matched_r, matched_p = (
        scene.select_reference(matched.reference),
        scene.select_predicted(matched.predicted),
    )

    merging = np.bincount(p[same & covers], minlength=len(matched_p)) >= 2
    merged_r = scene.select_reference(r[same & covers & merging[p]])
    done_r, done_p = matched_r | merged_r, matched_p | merging

    part = same & lies & ~done_r[r] & ~done_p[p]
    area = np.bincount(r[part], pairs.common[part], len(matched_r))
    number = np.bincount(r[part], minlength=len(matched_r))
    split = (number >= 2) & (area >= COVER * scene.reference_area)
    done_r = done_r | split
    done_p = done_p | scene.select_predicted(p[part & split[r]])

    rest = pairs[same & (pairs.iou >= LEAST_IOU) & ~done_r[r] & ~done_p[p]]
    loose = rest[match_greedily(rest)]
    reference = _first_kind(
        REFERENCE_KINDS,
        matched=matched_r,
        merged=merged_r,
        split=split,
        loose=scene.select_reference(loose.reference),
        confused=scene.select_reference(r[~same & covers]),
    )
    predicted = _first_kind(
        PREDICTED_KINDS,
        matched=matched_p,
        merged=merging,
        loose=scene.select_predicted(loose.predicted),
        fragment=scene.select_predicted(p[same & lies]),
        confused=scene.select_predicted(p[~same & lies]),
        speckle=scene.predicted_area <= SPECKLE,
    )
    counted = ~scene.select_predicted(matched.predicted[scene.uncounted[matched.reference]])
    return ErrorKinds(reference, predicted, counted)


def _first_kind(kinds: tuple[str, ...], **flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return (n,) indices of the first kind whose flag is set, else of the last."""
    indices = [kinds.index(name) for name in flags]
    kind: NDArray[np.intp] = np.select(list(flags.values()), indices, len(kinds) - 1)
    return kind


def count_error(annotated: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, Any]:
    """Compute the error of the number of objects as JSON data.

    Parameters
    ----------
    annotated, predicted
        (scenes,) numbers of objects.

    Returns
    -------
    dict
        ``truth`` and ``found``: all objects. ``from_1`` and ``from_10``: number of ``scenes`` with at least 1 and 10
        annotated objects, and ``median`` and ``mean`` over them of |predicted - annotated| / annotated.
    """
    error = divide(np.abs(predicted - annotated), annotated)

    def over(least: int) -> dict[str, Any]:
        errors = error[annotated >= least]
        median, mean = (np.median(errors), errors.mean()) if len(errors) else (np.nan, np.nan)
        return {"scenes": len(errors), "median": round_score(median), "mean": round_score(mean)}

    totals = {"truth": int(annotated.sum()), "found": int(predicted.sum())}
    return {**totals, "from_1": over(1), f"from_{MANY}": over(MANY)}


def group_classes(legend: Legend) -> dict[str, list[int]]:
    """Return the class IDs of each of `GROUPS` that the legend has."""
    groups = {
        group: [c.id for c in legend.objects if c.name in names] for group, names in GROUPS.items()
    }
    return {group: ids for group, ids in groups.items() if ids}
