"""Two label rasters of one place: where they agree, and what became of what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE, Legend
from geoseg.metrics.bootstrap import LEVEL, RESAMPLES, draws, interval
from geoseg.metrics.confusion import Scores, confusion, number, ratio
from geoseg.metrics.evaluation import Evaluation, resampled_ious
from geoseg.metrics.objects import resampled_f1
from geoseg.polygons.attributes import RowArea


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pixels and areas by the class in one raster, A, and in the other, B."""

    legend: Legend

    matrix: NDArray[np.int64]
    """(classes, classes) pixels, rows by A, columns by B"""

    area_m2: NDArray[np.float64]
    """(classes, classes) likewise in square metres; NaN where nobody knows them"""

    only: tuple[int, int]
    """Pixels that have a label in A but not in B, and in B but not in A; they count nowhere else."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; ``docs/evaluation.md`` describes it."""
        scores = Scores(self.matrix)
        same, pixels = int(np.trace(self.matrix)), int(self.matrix.sum())
        known = not np.isnan(self.area_m2).any()
        changed = self.area_m2.sum() - np.trace(self.area_m2)
        return {
            "legend": self.legend.to_json(),
            "pixels": pixels,
            "changed": pixels - same,
            "agreement": number(float(ratio(same, pixels))),
            "changed_m2": round(float(changed), 2) if known else None,
            "only_a": self.only[0],
            "only_b": self.only[1],
            "classes": {
                c.name: {
                    "iou": number(scores.iou[c.id]),
                    "f1": number(scores.f1[c.id]),
                    "pixels_a": int(self.matrix[c.id].sum()),
                    "pixels_b": int(self.matrix[:, c.id].sum()),
                }
                for c in self.legend
            },
            "changes": list(self._changes(known=known)),
            "confusion": self.matrix.tolist(),
        }

    def _changes(self, *, known: bool) -> Iterator[dict[str, Any]]:
        """Pairs of classes, most pixels first."""
        changed = self.matrix - np.diag(np.diag(self.matrix))
        for index in np.argsort(-changed.ravel(), kind="stable"):
            a, b = divmod(int(index), len(changed))
            if not changed[a, b]:
                return
            yield {
                "from": self.legend[a].name,
                "to": self.legend[b].name,
                "pixels": int(changed[a, b]),
                "area_m2": round(float(self.area_m2[a, b]), 2) if known else None,
            }


def agreement(
    strips: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], legend: Legend, areas: RowArea
) -> Agreement:
    """Of labels of A and of B, (rows, columns) each, from top to bottom."""
    classes, row = len(legend), 0
    matrix = np.zeros((classes, classes), np.int64)
    area = np.zeros((classes, classes))
    only_a = only_b = 0
    for a, b in strips:
        only_a += int(np.count_nonzero((b == IGNORE) & (a != IGNORE)))
        only_b += int(np.count_nonzero((a == IGNORE) & (b != IGNORE)))
        # pixels of a row are equally large, those of two rows perhaps not
        for row_a, row_b, size in zip(a, b, areas(row, len(a)), strict=True):
            pairs = confusion(row_a, row_b, classes)
            matrix += pairs
            area += pairs * size
        row += len(a)
    return Agreement(legend, matrix, area, (only_a, only_b))


def differing(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) 1 where labels differ, 0 where they are the same, IGNORE where one has none."""
    differ: NDArray[np.uint8] = (a != b).astype(np.uint8)
    differ[(a == IGNORE) | (b == IGNORE)] = IGNORE
    return differ


# Two evaluations on the same scenes: what differs, and whether by more than the choice of scenes.
#
# Both are resampled together (paired bootstrap): a scene that is hard for one is hard for the other, and what
# they share falls out of the difference.


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations of the same scenes against the same truth."""

    a: Evaluation
    b: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, differences are B - A; ``docs/evaluation.md`` describes it."""
        told_a, told_b = self.a.to_json(), self.b.to_json()
        drawn = draws(len(self.a.scenes))
        mious, ious = _apart(*(resampled_ious(drawn, of.matrices) for of in (self.a, self.b)))
        f1, f1s = _apart(*(resampled_f1(drawn, of.objects) for of in (self.a, self.b)))
        classes: dict[str, Any] = {}
        scenes = len(self.a.scenes)
        for c in self.a.legend:
            a, b = told_a["classes"][c.name], told_b["classes"][c.name]
            occurs = a["scenes"]
            of = {"scenes": occurs, "iou": _told(a["iou"], b["iou"], ious[:, c.id], occurs)}
            if c.id:
                a, b = a["objects"], b["objects"]
                of["objects_f1"] = _told(a["f1"], b["f1"], f1s[:, c.id], occurs)
            classes[c.name] = of
        return {
            "a": told_a["model"],
            "b": told_b["model"],
            **{key: told_a[key] for key in ("dataset", "split", "truth", "scenes", "legend")},
            "level": LEVEL,
            "resamples": RESAMPLES,
            "miou": _told(told_a["miou"], told_b["miou"], mious, scenes),
            "objects_f1": _told(told_a["objects"]["f1"], told_b["objects"]["f1"], f1, scenes),
            "classes": classes,
        }


def _apart(
    a: tuple[NDArray[np.float64], ...], b: tuple[NDArray[np.float64], ...]
) -> list[NDArray[np.float64]]:
    return [of_b - of_a for of_a, of_b in zip(a, b, strict=True)]


def _told(
    a: float | None, b: float | None, differences: NDArray[np.float64], scenes: int
) -> dict[str, Any]:
    """Both scores, and what is between them; it differs if the interval does not hold 0."""
    bounds = interval(differences, scenes=scenes)
    return {
        "a": a,
        "b": b,
        "difference": None if a is None or b is None else number(b - a),
        "interval": None if bounds is None else [number(bound) for bound in bounds],
        "differs": bounds is not None and (bounds[0] > 0 or bounds[1] < 0),
    }
