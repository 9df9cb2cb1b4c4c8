"""Annotated and predicted objects of a scene, the pairs of them that overlap, and scores of one-to-one matches.

Areas and intersections are those of the polygons. For polygons along pixel edges they equal those of masks; for others
they do not depend on how masks are burned.

Two polygons can match if they have the same class and their intersection over union (IoU) is at least a threshold, 0.5
by default. Pairs are accepted in order of falling IoU, and each object is matched at most once. Predicted polygons do
not overlap, so at most one of them has an IoU above 0.5 with an annotation; greedy matching then finds the largest
possible number of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
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
SIZE_LIMITS = (32.0**2, 96.0**2)
"""Largest area of a small and of a medium object in pixels, as in COCO (Lin et al. 2014, arXiv:1405.0312)."""

REFERENCE, PREDICTED, MATCHED, IOU_SUM = range(4)
"""Rows of object counts, and of the panoptic sums, which have the last one too."""

COVER = 0.5
"""Fraction of an object from which on another one covers it."""

LEAST_IOU = 0.1
"""IoU of a pair of one class below which they have nothing in common (Bolya et al. 2020, arXiv:2008.08115)."""

SLIVER = 16
"""Pixels below which a part of an object that the border of a block cuts does not count, as a speckle."""

_ROUNDING = 1e-3  # square pixels
_MAX_POINTS = 256  # of a polygon that is intersected as a whole

ABOVE_HALF = float(np.nextafter(0.5, 1))


@dataclass(frozen=True, slots=True)
class Pairs:
    """n pairs of an annotated and a predicted polygon that overlap."""

    reference: NDArray[np.intp]
    """(n,) indices of annotations."""

    predicted: NDArray[np.intp]
    """(n,) indices of predicted polygons."""

    common: NDArray[np.float64]
    """(n,) areas of the intersections in pixels."""

    iou: NDArray[np.float64]
    """(n,) intersection over union."""

    def __getitem__(self, selected: NDArray[Any]) -> Pairs:
        """Return some of the pairs, by index or mask."""
        return Pairs(
            self.reference[selected],
            self.predicted[selected],
            self.common[selected],
            self.iou[selected],
        )


@dataclass(frozen=True, slots=True)
class SceneObjects:
    """r annotated and p predicted objects of a scene, and the pairs of them that overlap."""

    classes: int
    """Number of classes, background included."""

    reference_class: NDArray[np.uint8]
    """(r,) class IDs of the annotations."""

    reference_area: NDArray[np.float64]
    """(r,) areas of the annotations in pixels."""

    uncounted: NDArray[np.bool_]
    """(r,) annotations that do not count: neither if they are missed, nor the predictions that match them."""

    predicted_class: NDArray[np.uint8]
    """(p,) class IDs of the predicted polygons."""

    predicted_area: NDArray[np.float64]
    """(p,) areas of the predicted polygons in pixels."""

    score: NDArray[np.float32]
    """(p,) confidence, 0 to 1; NaN if unknown."""

    pairs: Pairs
    """Pairs of one class with an IoU of at least `LEAST_IOU` or the matching threshold, and pairs of any classes of
    which one covers the other."""

    @property
    def same_class(self) -> NDArray[np.bool_]:
        """(pairs,) True for pairs of one class."""
        same: NDArray[np.bool_] = (
            self.reference_class[self.pairs.reference] == self.predicted_class[self.pairs.predicted]
        )
        return same

    def select_reference(self, indices: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(r,) True for the annotations of these indices."""
        return np.bincount(indices, minlength=len(self.reference_class)) > 0

    def select_predicted(self, indices: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(p,) True for the predicted objects of these indices."""
        return np.bincount(indices, minlength=len(self.predicted_class)) > 0

    def match(self, least: float) -> Pairs:
        """Match objects of one class with an IoU of at least `least`, each at most once, by falling IoU."""
        candidates = self.pairs[self.same_class & (self.pairs.iou >= least)]
        return candidates[match_greedily(candidates)]


class ObjectCollector:
    """Collect the objects of a scene; predicted ones are added in batches.

    Parameters
    ----------
    annotations
        Annotated objects in pixels of the scene. Predicted polygons with at least half of their area on annotations
        of class 255 (ignore) are left out.
    classes
        Number of classes, background included.
    width, height
        Size of the scene in pixels.
    match
        Smallest IoU for which pairs are needed.
    difficult
        Treatment of difficult annotations: counted like others (keep), neither they nor their matches counted
        (ignore), or removed (drop).
    clip
        Clip annotations to the scene. Those outside are left out in any case.
    block
        The scene is a block of a larger one. Objects that its border cuts, annotated and predicted alike, are replaced
        by their connected parts inside; parts below `SLIVER` do not count.
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
        clip: bool = True,
        block: bool = False,
    ) -> None:
        if difficult == "drop":
            annotations = annotations[~annotations.difficult]
        self._block = (width, height) if block else None
        whole = repair_polygons(annotations.geometry)
        clipped = clip_polygons(whole, width, height)
        ignored = annotations.class_id == IGNORE
        if block:
            clipped, index, sliver = cut_polygons(whole, width, height)
            whole, annotations, ignored = whole[index], annotations[index], ignored[index] | sliver
        self._ignored = shapely.STRtree(clipped[ignored])
        objects = (shapely.area(clipped) > 0) & ~ignored
        annotations = annotations[objects]
        self._reference = _Shapes.of((clipped if clip else whole)[objects], annotations.class_id)
        self._tree = shapely.STRtree(self._reference.geometry)
        self._uncounted = (
            annotations.difficult if difficult == "ignore" else np.zeros(len(annotations), bool)
        )
        self._area = annotations.area
        if self._area is not None:
            outside = shapely.area(shapely.difference(self._reference.geometry, self._area))
            self._uncounted = self._uncounted | (outside > _ROUNDING)
        self._least, self._classes = min(match, LEAST_IOU), classes
        self._predicted_class = [np.zeros(0, np.uint8)]
        self._predicted_area = [np.zeros(0)]
        self._scores = [np.zeros(0, np.float32)]
        self._pairs = [Pairs(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0), np.zeros(0))]
        self._number = 0

    def add(
        self,
        geometry: NDArray[np.object_],
        class_id: NDArray[np.uint8],
        score: NDArray[np.float32] | None = None,
    ) -> None:
        """Add (n,) predicted polygons in pixels of the scene, with their class IDs and confidences."""
        if self._block:
            geometry, index, sliver = cut_polygons(geometry, *self._block)
            geometry, index = geometry[~sliver], index[~sliver]
            class_id, score = class_id[index], None if score is None else score[index]
        counted = ~self._is_ignored(geometry)
        found = _Shapes.of(geometry[counted], class_id[counted])
        pairs = _find_pairs(self._tree, self._reference, found, self._least)
        self._pairs.append(
            Pairs(pairs.reference, pairs.predicted + self._number, pairs.common, pairs.iou)
        )
        self._predicted_class.append(found.class_id)
        self._predicted_area.append(found.area)
        unknown = np.full(len(geometry), np.nan, np.float32)
        self._scores.append((unknown if score is None else score)[counted])
        self._number += len(found.class_id)

    def _is_ignored(self, geometry: NDArray[np.object_]) -> NDArray[np.bool_]:
        """(n,) True where at least half of a polygon lies on ignored area, or outside of the annotated area."""
        p, i = self._ignored.query(geometry)
        common = shapely.area(shapely.intersection(geometry[p], self._ignored.geometries[i]))
        area = np.bincount(p, common, len(geometry)).astype(np.float64)
        if self._area is not None:
            area += shapely.area(shapely.difference(geometry, self._area))
        ignored: NDArray[np.bool_] = area >= shapely.area(geometry) / 2
        return ignored

    def finish(self) -> SceneObjects:
        """Return all objects."""
        parts = self._pairs
        return SceneObjects(
            self._classes,
            self._reference.class_id,
            self._reference.area,
            self._uncounted,
            np.concatenate(self._predicted_class),
            np.concatenate(self._predicted_area),
            np.concatenate(self._scores),
            Pairs(
                np.concatenate([part.reference for part in parts]),
                np.concatenate([part.predicted for part in parts]),
                np.concatenate([part.common for part in parts]),
                np.concatenate([part.iou for part in parts]),
            ),
        )


@dataclass(frozen=True, slots=True)
class _Shapes:
    """n polygons with their class IDs and areas."""

    geometry: NDArray[np.object_]
    class_id: NDArray[np.uint8]
    area: NDArray[np.float64]

    @classmethod
    def of(cls, geometry: NDArray[np.object_], class_id: NDArray[np.uint8]) -> _Shapes:
        return cls(geometry, class_id, shapely.area(geometry))


def repair_polygons(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return polygons of which invalid ones are made valid."""
    repaired: NDArray[np.object_] = geometry.copy()
    invalid = ~shapely.is_valid(repaired)
    repaired[invalid] = shapely.make_valid(
        repaired[invalid], method="structure", keep_collapsed=False
    )
    return repaired


def clip_polygons(geometry: NDArray[np.object_], width: int, height: int) -> NDArray[np.object_]:
    """Clip valid polygons to a scene of `width` x `height` pixels; those outside become empty."""
    clipped: NDArray[np.object_] = geometry.copy()
    left, top, right, bottom = shapely.bounds(clipped).T
    beyond = (left < 0) | (top < 0) | (right > width) | (bottom > height)
    clipped[beyond] = shapely.intersection(clipped[beyond], shapely.box(0, 0, width, height))
    return clipped


def cut_polygons(
    geometry: NDArray[np.object_], width: int, height: int
) -> tuple[NDArray[np.object_], NDArray[np.intp], NDArray[np.bool_]]:
    """Cut valid polygons at the border of a block of `width` x `height` pixels.

    Returns
    -------
    (n,) array
        Polygons inside, and the connected parts of those that the border cuts.
    (n,) array
        Index of the polygon of each part.
    (n,) array of bool
        True for parts below `SLIVER`.
    """
    left, top, right, bottom = shapely.bounds(geometry).reshape(-1, 4).T
    inside = (left >= 0) & (top >= 0) & (right <= width) & (bottom <= height)
    across = np.flatnonzero(~inside & (right > 0) & (bottom > 0) & (left < width) & (top < height))
    common = shapely.intersection(geometry[across], shapely.box(0, 0, width, height))
    parts, of = shapely.get_parts(common, return_index=True)
    parts, of = parts[shapely.area(parts) > 0], of[shapely.area(parts) > 0]
    whole = np.flatnonzero(inside)
    index = np.concatenate([whole, across[of]])
    order = np.argsort(index, kind="stable")
    small = np.concatenate([np.zeros(len(whole), bool), shapely.area(parts) < SLIVER])
    return np.concatenate([geometry[whole], parts])[order], index[order], small[order]


def _find_pairs(
    tree: shapely.STRtree, reference: _Shapes, predicted: _Shapes, least: float
) -> Pairs:
    """Find the pairs of `SceneObjects.pairs`; `tree` indexes the reference."""
    p, r = tree.query(predicted.geometry)
    area_p, area_r = predicted.area[p], reference.area[r]
    same = predicted.class_id[p] == reference.class_id[r]

    def is_related(common: NDArray[np.float64]) -> NDArray[np.bool_]:
        covers = common >= COVER * np.minimum(area_p, area_r)
        overlaps = common >= least * (area_p + area_r - common)
        related: NDArray[np.bool_] = (common > 0) & (covers | (same & overlaps))
        return related

    # areas and bounding boxes bound the common area from above, which rejects most pairs
    boxes = _box_overlap(
        shapely.bounds(predicted.geometry)[p], shapely.bounds(reference.geometry)[r]
    )
    common = np.minimum.reduce([boxes, area_p, area_r])
    likely = np.flatnonzero(is_related(common))
    common = np.zeros(len(p))
    common[likely] = _common_areas(
        predicted.geometry[p[likely]], p[likely], reference.geometry[r[likely]]
    )
    found = is_related(common)
    iou = common[found] / (area_p + area_r - common)[found]
    return Pairs(r[found], p[found], common[found], iou)


def _common_areas(
    one: NDArray[np.object_], index: NDArray[np.intp], other: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Compute the (n,) areas of intersections; pairs of one `index` have the same first polygon.

    First polygons with many points are divided, as an intersection reads all of them.
    """
    large = shapely.get_num_coordinates(one) > _MAX_POINTS
    areas = np.zeros(len(one))
    areas[~large] = shapely.area(shapely.intersection(one[~large], other[~large]))
    order = np.flatnonzero(large)[np.argsort(index[large], kind="stable")]
    for pairs in np.split(order, np.flatnonzero(np.diff(index[order])) + 1):
        if len(pairs):
            tree = shapely.STRtree(_divide(one[pairs[0]]))
            i, part = tree.query(other[pairs])
            common = shapely.intersection(other[pairs][i], tree.geometries[part])
            areas[pairs] = np.bincount(i, shapely.area(common), len(pairs))
    return areas


def _divide(polygon: shapely.Polygon) -> list[shapely.Geometry]:
    """Cut a polygon into parts of at most `_MAX_POINTS` points, or of one pixel."""
    pending, parts = [polygon], []
    while pending:
        part = pending.pop()
        left, top, right, bottom = part.bounds
        if shapely.get_num_coordinates(part) <= _MAX_POINTS or max(right - left, bottom - top) <= 1:
            parts.append(part)
            continue
        x, y = (left + right) / 2, (top + bottom) / 2
        lefts, rights = [left, x, left, x], [x, right, x, right]
        quadrants = shapely.box(lefts, [top, top, y, y], rights, [y, y, bottom, bottom])
        pending.extend(shapely.intersection(part, quadrants))
    return parts


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


def count_objects(scene: SceneObjects, match: float) -> NDArray[np.int64]:
    """Match objects and count them.

    Returns
    -------
    (3, 3, classes) array
        Annotated, predicted and matched objects, by size and class. A predicted polygon counts at its own
        size, or at that of its annotation if it is matched.
    """
    counts = np.zeros((3, len(SIZES), scene.classes), np.int64)
    size, counted = size_class(scene.reference_area), ~scene.uncounted
    np.add.at(counts[REFERENCE], (size[counted], scene.reference_class[counted]), 1)
    own_size = size_class(scene.predicted_area)
    np.add.at(counts[PREDICTED], (own_size, scene.predicted_class), 1)
    matched = scene.match(match)
    reference = matched.reference
    np.subtract.at(
        counts[PREDICTED], (own_size[matched.predicted], scene.reference_class[reference]), 1
    )
    reference = reference[counted[reference]]
    for kind in (PREDICTED, MATCHED):
        np.add.at(counts[kind], (size[reference], scene.reference_class[reference]), 1)
    return counts


def size_class(area: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return (n,) indices into `SIZES` of areas in pixels."""
    size: NDArray[np.intp] = np.searchsorted(SIZE_LIMITS, area, side="left")
    return size


def sum_panoptic(scene: SceneObjects) -> NDArray[np.float64]:
    """Match objects at an IoU above 0.5 and sum what panoptic quality needs.

    Returns
    -------
    (4, classes) array
        Annotated, predicted and matched objects, and the sum of the IoUs of the matches, by class.

    Notes
    -----
    Panoptic quality of Kirillov et al. (2019), arXiv:1801.00868, with polygons in place of masks.
    """
    sums = np.zeros((4, scene.classes))
    matched = scene.match(ABOVE_HALF)
    uncounted = scene.uncounted[matched.reference]
    excluded = scene.predicted_class[matched.predicted[uncounted]]
    matched = matched[~uncounted]
    class_id = scene.reference_class[matched.reference]
    np.add.at(sums[REFERENCE], scene.reference_class[~scene.uncounted], 1)
    np.add.at(sums[PREDICTED], scene.predicted_class, 1)
    np.subtract.at(sums[PREDICTED], excluded, 1)
    np.add.at(sums[MATCHED], class_id, 1)
    np.add.at(sums[IOU_SUM], class_id, matched.iou)
    return sums


def object_f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Compute 2 matched / (annotated + predicted) from (..., 3, classes) counts; NaN where there is neither."""
    reference, predicted, matched = (counts[..., kind, :] for kind in range(3))
    return divide(2 * matched, reference + predicted)


def panoptic_scores(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute panoptic quality and its two factors.

    Parameters
    ----------
    sums
        (..., 4, classes) sums of `sum_panoptic`.

    Returns
    -------
    (..., 3, classes) array
        Panoptic, segmentation and recognition quality, 0 to 1; NaN where there are no objects. As in panopticapi,
        the segmentation quality of a class without matches is 0.
    """
    reference, predicted, matched, iou = (sums[..., kind, :] for kind in range(4))
    objects = reference + predicted
    mean_iou = np.where(objects > 0, iou / np.maximum(matched, 1), np.nan)
    return np.stack([divide(2 * iou, objects), mean_iou, divide(2 * matched, objects)], axis=-2)


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


def resample_pq(
    resamples: NDArray[np.float64], sums: NDArray[np.float64], countable: Sequence[bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the panoptic quality of resampled scenes.

    Parameters
    ----------
    resamples
        (resamples, scenes) draws, see `draw_resamples`.
    sums
        (scenes, 4, classes) sums of `sum_panoptic`.
    countable
        (classes,) classes over which the mean is computed.

    Returns
    -------
    (resamples,) array
        Mean over the countable classes; NaN where none occurs.
    (resamples, classes) array
        Panoptic quality per class; NaN where a class does not occur.
    """
    scores = panoptic_scores(sum_resamples(resamples, sums))[:, 0]
    return mean_over_classes(scores[:, np.array(countable)]), scores


def mean_over_classes(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average (..., classes) scores over the classes for which they are defined; NaN if there are none."""
    defined = ~np.isnan(scores)
    return divide(np.where(defined, scores, 0).sum(axis=-1), defined.sum(axis=-1))


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
