"""Average precision of predicted objects, which are ordered by confidence: COCO's protocol and DOTA's.

Objects of a scene are matched when it is counted; what remains is the outcome of every predicted object. Average
precision is computed from the outcomes of all scenes, ordered by score.

Notes
-----
COCO: Lin et al. (2014), arXiv:1405.0312, and the code of pycocotools. DOTA: Xia et al. (2018), arXiv:1711.10398, and
``dota_evaluation_task1.py`` of its development kit, which has the protocol of Pascal VOC 2007 (Everingham et al. 2010,
doi:10.1007/s11263-009-0275-4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoseg.metrics.bootstrap import sum_resamples
from geoseg.metrics.objects import (
    ABOVE_HALF,
    SIZE_LIMITS,
    Pairs,
    SceneObjects,
    mean_over_classes,
)

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoUs over which AP is averaged."""

AREAS = (
    (0.0, np.inf),
    (0.0, SIZE_LIMITS[0]),
    (SIZE_LIMITS[0], SIZE_LIMITS[1]),
    (SIZE_LIMITS[1], np.inf),
)
"""Smallest and largest area in pixels: all, small, medium and large objects. Both bounds are included."""

COCO_RECALLS = np.linspace(0, 1, 101)
VOC_RECALLS = np.linspace(0, 1, 11)
"""Recalls at which precision is read."""

FALSE, TRUE, UNCOUNTED = range(3)
"""Outcome of a predicted object: false positive, true positive, or not counted."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Outcomes of n predicted objects of one or more scenes, for a areas and t thresholds."""

    scene: NDArray[np.int32]
    """(n,) indices of scenes."""

    class_id: NDArray[np.uint8]
    """(n,) class IDs."""

    score: NDArray[np.float32]
    """(n,) confidences; NaN if unknown."""

    outcome: NDArray[np.uint8]
    """(n, a, t) `FALSE`, `TRUE` or `UNCOUNTED`."""

    annotated: NDArray[np.int64]
    """(scenes, a, classes) annotated objects that count."""

    @staticmethod
    def concatenate(parts: Sequence[Detections]) -> Detections:
        """Join the detections of one or more scenes."""
        first = np.cumsum([0, *(len(part.annotated) for part in parts)])
        return Detections(
            np.concatenate(
                [part.scene + np.int32(n) for n, part in zip(first[:-1], parts, strict=True)]
            ),
            np.concatenate([part.class_id for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.outcome for part in parts]),
            np.concatenate([part.annotated for part in parts]),
        )


def match_coco(scene: SceneObjects) -> Detections:
    """Match the objects of a scene as pycocotools does, without a limit on their number.

    Predicted objects choose in order of falling score, and take the free annotation of their class with the highest
    IoU of at least the threshold. Annotations that do not count, or are of another size, are taken last, and then the
    predicted object does not count. Neither do unmatched predicted objects of another size.
    """
    sizes = np.array(AREAS)
    reference_out = _is_outside(scene.reference_area, sizes) | scene.uncounted[:, None]
    predicted_out = _is_outside(scene.predicted_area, sizes)
    outcome = np.where(predicted_out, UNCOUNTED, FALSE).astype(np.uint8)
    outcome = outcome[:, :, None].repeat(len(THRESHOLDS), axis=2)
    taken = np.zeros((len(reference_out), len(sizes), len(THRESHOLDS)), bool)
    for predicted, pairs in _by_score(scene, THRESHOLDS[0]):
        reference = pairs.reference
        free = (pairs.iou[:, None, None] >= THRESHOLDS) & ~taken[reference]
        # counted annotations first, then by IoU; of equal ones the last
        rank = np.where(
            free, pairs.iou[:, None, None] - 2.0 * reference_out[reference, :, None], -9
        )
        best = len(reference) - 1 - rank[::-1].argmax(axis=0)
        area, threshold = np.nonzero(free.any(axis=0))
        chosen = reference[best[area, threshold]]
        taken[chosen, area, threshold] = True
        outcome[predicted, area, threshold] = np.where(reference_out[chosen, area], UNCOUNTED, TRUE)
    return Detections(
        np.zeros(len(outcome), np.int32),
        scene.predicted_class,
        scene.score,
        outcome,
        _count_by_class(scene.reference_class, ~reference_out, scene.classes),
    )


def match_dota(boxes: SceneObjects) -> Detections:
    """Match the oriented boxes of a scene with its quads at an IoU above 0.5.

    Each predicted box is compared with the quad of its class that has the highest IoU with it. If that is taken, the
    box is false; if it does not count, neither does the box.
    """
    outcome = np.full(len(boxes.predicted_class), FALSE, np.uint8)
    taken = np.zeros(len(boxes.reference_class), bool)
    for predicted, pairs in _by_score(boxes, ABOVE_HALF):
        best = pairs.reference[pairs.iou.argmax()]
        if boxes.uncounted[best]:
            outcome[predicted] = UNCOUNTED
        elif not taken[best]:
            outcome[predicted] = TRUE
            taken[best] = True
    counted = ~boxes.uncounted[:, None]
    return Detections(
        np.zeros(len(outcome), np.int32),
        boxes.predicted_class,
        boxes.score,
        outcome[:, None, None],
        _count_by_class(boxes.reference_class, counted, boxes.classes),
    )


def average_precision(detections: Detections, recalls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute average precision: the mean of the precision at given recalls.

    Parameters
    ----------
    detections
        Outcomes of all scenes.
    recalls
        Recalls at which precision is read; the precision at a recall is the highest at any recall from there on.

    Returns
    -------
    (a, t, classes) array
        0 to 1; NaN for classes without counted annotations, and if a score is unknown.
    """
    _, areas, thresholds = detections.outcome.shape
    annotated = detections.annotated.sum(axis=0)
    scores = np.full((areas, thresholds, annotated.shape[1]), np.nan)
    if np.isnan(detections.score).any():
        return scores
    for class_id, rows in _by_class(detections):
        outcome = detections.outcome[rows]
        for area in np.flatnonzero(annotated[:, class_id]):
            for threshold in range(thresholds):
                true, counted = _cumulate(outcome[:, area, threshold])
                scores[area, threshold, class_id] = _mean_precision(
                    true, counted, annotated[area, class_id], recalls
                )
    return scores


def resample_ap50(
    resamples: NDArray[np.float64], detections: Detections
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute COCO's average precision at an IoU of 0.5 of resampled scenes.

    Parameters
    ----------
    resamples
        (resamples, scenes) draws, see `draw_resamples`.
    detections
        Outcomes in COCO's protocol.

    Returns
    -------
    (resamples,) array
        Mean over the classes.
    (resamples, classes) array
        Average precision per class; NaN for classes without annotated objects, and if a score is unknown.
    """
    annotated = sum_resamples(resamples, detections.annotated[:, 0])
    scores = np.full(annotated.shape, np.nan)
    if not np.isnan(detections.score).any():
        for class_id, rows in _by_class(detections):
            outcome, scene = detections.outcome[rows, 0, 0], detections.scene[rows]
            for row, drawn in enumerate(resamples):
                if annotated[row, class_id]:
                    scores[row, class_id] = _mean_precision(
                        *_cumulate(outcome, drawn[scene]), annotated[row, class_id], COCO_RECALLS
                    )
    return mean_over_classes(scores), scores


def _by_class(detections: Detections) -> list[tuple[int, NDArray[np.intp]]]:
    """List the classes, each with the indices of its predicted objects by falling score."""
    order = np.argsort(-detections.score, kind="stable")
    ordered = detections.class_id[order]
    return [(c, order[ordered == c]) for c in range(detections.annotated.shape[2])]


def _cumulate(
    outcome: NDArray[np.uint8], times: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cumulate true and counted ones of (n,) outcomes, each of which occurs (n,) times."""
    times = np.ones(len(outcome)) if times is None else times
    return np.cumsum(times * (outcome == TRUE)), np.cumsum(times * (outcome != UNCOUNTED))


def _mean_precision(
    true: NDArray[np.float64],
    counted: NDArray[np.float64],
    annotated: float,
    recalls: NDArray[np.float64],
) -> float:
    """Average over the recalls the highest precision from each recall on; both are given as cumulated counts."""
    precision = true / np.maximum(counted, 1)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(highest[np.searchsorted(true / annotated, recalls)].mean())


def _by_score(scene: SceneObjects, least: float) -> list[tuple[int, Pairs]]:
    """List predicted objects by falling score, each with its pairs of one class and an IoU of at least `least`."""
    pairs = scene.pairs[scene.same_class & (scene.pairs.iou >= least)]
    pairs = pairs[np.lexsort((pairs.reference, pairs.predicted, -scene.score[pairs.predicted]))]
    if not len(pairs.predicted):
        return []
    starts = np.flatnonzero(np.diff(pairs.predicted, prepend=-1))
    bounds = [*starts.tolist(), len(pairs.predicted)]
    parts = (np.arange(*ends) for ends in pairwise(bounds))
    return [(int(pairs.predicted[part[0]]), pairs[part]) for part in parts]


def _is_outside(area: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, a) True where an area is outside of the bounds."""
    outside: NDArray[np.bool_] = (area[:, None] < sizes[:, 0]) | (area[:, None] > sizes[:, 1])
    return outside


def _count_by_class(
    class_id: NDArray[np.uint8], counted: NDArray[np.bool_], classes: int
) -> NDArray[np.int64]:
    """Count (n,) objects of a scene as (1, a, classes) from (n, a) flags."""
    return np.stack([np.bincount(class_id[of], minlength=classes) for of in counted.T])[None]
