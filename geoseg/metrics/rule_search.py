"""Search for the object rules of a model with the best object F1 on annotated scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, burn_ids
from geoseg.legend import IGNORE, Legend
from geoseg.polygons.object_rules import ObjectRule, ObjectRules
from geoseg.polygons.objects import Objects, decode_objects

FLOORS = (20, 60, 100, 150)
REACHES = (2, 3)
PARTS = (40, 150, 1000)
SEEDS = np.array([0, 100, 140, 160, 175])
AREAS = np.array(
    (
        *(1, 4, 8, 12, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 320, 400, 500, 650),
        *(800, 1000, 1300, 1600, 2000, 2500, 3200, 4000),
    )
)
"""Values that are tried for the fields of `ObjectRules` and `ObjectRule`; `AREAS` for ``min_pixels``."""

LARGEST_LOSS = 0.1
"""Largest fraction of the annotated objects of a class that may be smaller than its ``min_pixels``."""

MATCH = 0.5
"""IoU from which on two objects are the same."""

Counts = NDArray[np.int64]
"""(2, classes, areas, seeds) found and matched objects of at least this area and highest energy."""


@dataclass(frozen=True, slots=True)
class RuleChoice:
    """Rules, and the objects that they found on the scenes they were chosen on."""

    rules: ObjectRules

    annotated: NDArray[np.int64]
    """(classes,) annotated objects."""

    found: NDArray[np.int64]
    """(classes,) objects that the rules keep."""

    matched: NDArray[np.int64]
    """(classes,) of them those that match an annotated object."""

    @property
    def f1(self) -> float:
        """F1 of all objects, 0 to 1."""
        total = int(self.annotated.sum() + self.found.sum())
        return 2 * int(self.matched.sum()) / max(1, total)


@dataclass(frozen=True, slots=True)
class _Pick:
    """Rule of one class and what it finds."""

    rule: ObjectRule
    found: int
    matched: int


class RuleSearch:
    """Count the objects of scenes for all rules that are tried, and choose the best.

    Parameters
    ----------
    legend
        Classes.
    areas
        Areas in pixels of annotated objects by class ID, of as many scenes as there are: no ``min_pixels`` exceeds the
        area of more than `LARGEST_LOSS` of them.

    Notes
    -----
    Objects are matched by pixels, which takes a fraction of the time of polygons. A rule of one class is counted with
    the same ``floor`` and ``part`` for all classes.
    """

    def __init__(self, legend: Legend, areas: Mapping[int, NDArray[np.float64]]) -> None:
        self._legend = legend
        self._most = np.ones(len(legend), int)
        for class_id, of_class in areas.items():
            if len(of_class):
                limit = float(np.quantile(of_class, LARGEST_LOSS))
                self._most[class_id] = np.count_nonzero(limit >= AREAS) or 1
        self._annotated = np.zeros(len(legend), np.int64)
        self._counts: dict[tuple[int, int, int], Counts] = {
            tried: np.zeros((2, len(legend), len(AREAS), len(SEEDS)), np.int64)
            for tried in product(FLOORS, REACHES, PARTS)
        }

    def add(
        self, labels: NDArray[np.uint8], energy: NDArray[np.uint8], annotations: Annotations
    ) -> None:
        """Count the objects of a scene, or of a part of one.

        Parameters
        ----------
        labels, energy
            (h, w) class IDs, and interior of objects.
        annotations
            Objects in its pixels; those that reach beyond are clipped. IGNORE is left out.
        """
        annotations = annotations[annotations.class_id != IGNORE]
        height, width = labels.shape
        inside = shapely.area(shapely.clip_by_rect(annotations.geometry, 0, 0, width, height))
        ids = burn_ids(annotations, height, width)
        np.add.at(self._annotated, annotations.class_id[inside > 0], 1)
        classes = len(self._legend)
        for tried in self._counts:
            floor, reach, part = tried
            rule = ObjectRule(floor=floor, seed=0, part=part, min_pixels=1)
            rules = ObjectRules((rule,) * classes, reach=reach)
            objects = decode_objects(
                labels, energy, rules, self._legend.countable, across_classes=True
            )
            matched = match_objects(objects, ids, inside, annotations.class_id)
            self._counts[tried] += _count(objects, matched, energy, classes)

    def choose(self) -> RuleChoice:
        """Return the rules with the best F1 of each class, and the reach with the best F1 of all objects."""
        return max(map(self._choose, REACHES), key=lambda choice: choice.f1)

    def _choose(self, reach: int) -> RuleChoice:
        tables = {
            (floor, part): counts
            for (floor, own_reach, part), counts in self._counts.items()
            if own_reach == reach
        }
        picks = [self._pick(tables, c.id) for c in self._legend.objects]
        rules = ObjectRules((ObjectRule(), *(pick.rule for pick in picks)), reach=reach)
        found = np.array([0, *(pick.found for pick in picks)])
        matched = np.array([0, *(pick.matched for pick in picks)])
        return RuleChoice(rules, self._annotated, found, matched)

    def _pick(self, tables: Mapping[tuple[int, int], Counts], class_id: int) -> _Pick:
        """Return the rule of a class with the best F1; of equal ones the first. Without annotations, the default."""
        if not self._annotated[class_id]:
            return _Pick(ObjectRule(), 0, 0)
        best, most = _Pick(ObjectRule(), 0, 0), -1.0
        for (floor, part), counts in tables.items():
            found, matched = counts[:, class_id, : self._most[class_id]]  # (areas, seeds)
            if not self._legend[class_id].countable:
                found, matched = found[:, :1], matched[:, :1]
            f1 = 2 * matched / np.maximum(1, found + self._annotated[class_id])
            i, j = np.unravel_index(int(f1.argmax()), f1.shape)
            if f1[i, j] > most:
                rule = ObjectRule(floor, int(SEEDS[j]), part, int(AREAS[i]))
                best, most = _Pick(rule, int(found[i, j]), int(matched[i, j])), float(f1[i, j])
        return best


def match_objects(
    objects: Objects,
    ids: NDArray[np.int32],
    area: NDArray[np.float64],
    class_id: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Match objects with annotated ones of their class by their pixels, each at most once.

    Parameters
    ----------
    objects
        Found objects.
    ids
        (h, w) 1 + index of the annotated object; 0 outside.
    area, class_id
        (n,) areas in square pixels and class IDs of the annotated objects.

    Returns
    -------
    (m,) array
        True for found objects with an IoU of at least `MATCH`.
    """
    matched = np.zeros(len(objects.class_id), bool)
    both = (objects.ids > 0) & (ids > 0)
    pairs, common = np.unique(
        objects.ids[both].astype(np.int64) << 32 | ids[both], return_counts=True
    )
    found, annotated = (pairs >> 32) - 1, (pairs & 0xFFFFFFFF) - 1
    iou = common / (objects.pixels[found] + area[annotated] - common)
    possible = (iou >= MATCH) & (objects.class_id[found] == class_id[annotated])
    order = np.flatnonzero(possible)[np.argsort(-iou[possible], kind="stable")]
    used: set[int] = set()
    for i in order.tolist():
        if int(annotated[i]) not in used and not matched[found[i]]:
            used.add(int(annotated[i]))
            matched[found[i]] = True
    return matched


def _count(
    objects: Objects,
    matched: NDArray[np.bool_],
    energy: NDArray[np.uint8],
    classes: int,
) -> Counts:
    """Count found and matched objects by class, smallest area and highest energy."""
    on = objects.ids > 0
    peak = np.zeros(len(objects.class_id), np.uint8)
    np.maximum.at(peak, objects.ids[on] - 1, energy[on])
    counts = np.zeros((2, classes, len(AREAS), len(SEEDS)), np.int64)
    i = np.searchsorted(AREAS, objects.pixels, side="right") - 1
    j = np.searchsorted(SEEDS, peak, side="right") - 1
    np.add.at(counts[0], (objects.class_id, i, j), 1)
    np.add.at(counts[1], (objects.class_id, i, j), matched)
    at_least: Counts = counts[:, :, ::-1, ::-1].cumsum(2).cumsum(3)[:, :, ::-1, ::-1]
    return at_least
