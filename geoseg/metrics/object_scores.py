"""Counts of the objects of scenes, and all object scores computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend
from geoseg.metrics.average_precision import (
    AREAS,
    COCO_RECALLS,
    THRESHOLDS,
    VOC_RECALLS,
    Detections,
    average_precision,
    match_coco,
    match_dota,
)
from geoseg.metrics.confusion import divide, round_score
from geoseg.metrics.object_errors import (
    PREDICTED_KINDS,
    REFERENCE_KINDS,
    classify_errors,
    count_error,
    group_classes,
)
from geoseg.metrics.objects import (
    PREDICTED,
    REFERENCE,
    SIZES,
    SceneObjects,
    count_objects,
    mean_over_classes,
    objects_json,
    panoptic_scores,
    sum_panoptic,
)

AP_NAMES = ("ap", "ap50", "ap75", *SIZES)
"""Average precision over all thresholds, at 0.5, at 0.75, and over all thresholds by size."""


@dataclass(frozen=True)
class ObjectCounts:
    """Counts of the objects of one or more scenes against one reference."""

    counts: NDArray[np.int64]
    """(scenes, 3, sizes, classes) annotated, predicted and matched objects."""

    panoptic: NDArray[np.float64]
    """(scenes, 4, classes) annotated, predicted and matched objects, and sum of their IoUs, at an IoU above 0.5."""

    reference_kinds: NDArray[np.int64]
    """(kinds, classes) annotated objects by `REFERENCE_KINDS`."""

    predicted_kinds: NDArray[np.int64]
    """(kinds, classes) predicted objects by `PREDICTED_KINDS`."""

    detections: Detections
    """Outcomes in COCO's protocol."""

    boxes: Detections | None
    """Outcomes in DOTA's protocol; None if the reference is not of quads."""

    @staticmethod
    def of_scene(scene: SceneObjects, boxes: SceneObjects | None, match: float) -> ObjectCounts:
        """Count the objects of one scene; `boxes` are its predicted oriented boxes and its quads."""
        reference_kinds, predicted_kinds = classify_errors(scene, match).count(scene)
        return ObjectCounts(
            count_objects(scene, match)[None],
            sum_panoptic(scene)[None],
            reference_kinds,
            predicted_kinds,
            match_coco(scene),
            None if boxes is None else match_dota(boxes),
        )

    @staticmethod
    def concatenate(parts: Sequence[ObjectCounts]) -> ObjectCounts:
        """Join the counts of one or more scenes."""
        boxes = [part.boxes for part in parts if part.boxes is not None]
        return ObjectCounts(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.panoptic for part in parts]),
            np.sum([part.reference_kinds for part in parts], axis=0),
            np.sum([part.predicted_kinds for part in parts], axis=0),
            Detections.concatenate([part.detections for part in parts]),
            Detections.concatenate(boxes) if boxes else None,
        )

    @cached_property
    def precisions(self) -> NDArray[np.float64]:
        """(6, classes) average precision by `AP_NAMES`; NaN where it is undefined."""
        scores = average_precision(self.detections, COCO_RECALLS)
        means = scores.mean(axis=1)
        at_50, at_75 = (
            scores[0, np.searchsorted(THRESHOLDS, least - 1e-9)] for least in (0.5, 0.75)
        )
        return np.stack([means[0], at_50, at_75, *means[1 : len(AREAS)]])

    @cached_property
    def box_precision(self) -> NDArray[np.float64] | None:
        """(classes,) average precision of oriented boxes; None if the reference is not of quads."""
        return None if self.boxes is None else average_precision(self.boxes, VOC_RECALLS)[0, 0]

    def class_json(self, class_id: int, *, countable: bool) -> dict[str, Any]:
        """Return the scores of one class as JSON data, without intervals."""
        counts = self.counts[..., class_id].sum(axis=0)
        totals = self.counts[..., class_id].sum(axis=2)
        scores = {
            **objects_json(counts.sum(axis=1)),
            "by_size": _sizes_json(counts),
            "ap": _named_json(AP_NAMES, self.precisions[:, class_id]),
            "panoptic": _panoptic_json(self.panoptic.sum(axis=0)[:, [class_id]])
            if countable
            else None,
            "kinds": _kinds_json(
                self.reference_kinds[:, class_id], self.predicted_kinds[:, class_id]
            ),
            "count_error": count_error(totals[:, REFERENCE], totals[:, PREDICTED]),
        }
        if self.box_precision is not None:
            scores["box_ap50"] = round_score(self.box_precision[class_id])
        return scores

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """Return the scores of all classes together as JSON data."""
        counts = self.counts.sum(axis=0)
        countable = np.array(legend.countable)
        scores = {
            **objects_json(counts.sum(axis=(1, 2))),
            "by_size": _sizes_json(counts.sum(axis=2)),
            "ap": _named_json(AP_NAMES, mean_over_classes(self.precisions)),
            "panoptic": _panoptic_json(self.panoptic.sum(axis=0)[:, countable]),
            "kinds": _kinds_json(
                self.reference_kinds.sum(axis=1), self.predicted_kinds.sum(axis=1)
            ),
            "count_error": self._group_errors(legend),
        }
        if self.box_precision is not None:
            scores["box_ap50"] = round_score(float(mean_over_classes(self.box_precision)))
        return scores

    def scene_json(self, scene: int, legend: Legend) -> dict[str, Any]:
        """Return the numbers of objects of one scene by class, of the classes that occur in it."""
        counts = self.counts[scene].sum(axis=1)
        errors = divide(counts[PREDICTED] - counts[REFERENCE], counts[REFERENCE])
        return {
            c.name: {
                "truth": int(counts[REFERENCE, c.id]),
                "found": int(counts[PREDICTED, c.id]),
                "error": round_score(errors[c.id]),
            }
            for c in legend.objects
            if counts[:, c.id].any()
        }

    def _group_errors(self, legend: Legend) -> dict[str, Any]:
        totals = self.counts.sum(axis=2)
        return {
            group: count_error(*totals[:, :2, ids].sum(axis=2).T)
            for group, ids in group_classes(legend).items()
        }


def _sizes_json(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Return (3, sizes) counts and their scores as JSON data."""
    return {name: objects_json(counts[:, size]) for size, name in enumerate(SIZES)}


def _panoptic_json(sums: NDArray[np.float64]) -> dict[str, float | None]:
    """Return panoptic, segmentation and recognition quality of (4, classes) sums, averaged, as JSON data."""
    scores = mean_over_classes(panoptic_scores(sums))
    return _named_json(("pq", "sq", "rq"), scores)


def _named_json(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return dict(zip(names, map(round_score, values.tolist()), strict=True))


def _kinds_json(reference: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "truth": dict(zip(REFERENCE_KINDS, reference.tolist(), strict=True)),
        "found": dict(zip(PREDICTED_KINDS, predicted.tolist(), strict=True)),
    }
