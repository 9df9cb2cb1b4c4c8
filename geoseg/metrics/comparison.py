"""Comparison of two label rasters of one place, and of two evaluations of the same scenes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE, Legend
from geoseg.metrics.average_precision import resample_ap50
from geoseg.metrics.bootstrap import LEVEL, RESAMPLES, draw_resamples, percentile_interval
from geoseg.metrics.confusion import Scores, confusion_matrix, divide, round_score
from geoseg.metrics.evaluation import Evaluation, resample_ious
from geoseg.metrics.objects import resample_f1, resample_pq
from geoseg.polygons.attributes import RowArea

OBJECT_SCORES = {
    "objects_f1": ("", "f1"),
    "objects_ap50": ("ap", "ap50"),
    "objects_pq": ("panoptic", "pq"),
}
"""Compared object scores: where they are in the JSON of an evaluation."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pixels and areas by the class in one label raster, A, and in another, B."""

    legend: Legend

    matrix: NDArray[np.int64]
    """(classes, classes) pixels, rows by A, columns by B."""

    area_m2: NDArray[np.float64]
    """(classes, classes) square metres, rows by A, columns by B; NaN where unknown."""

    only: tuple[int, int]
    """Pixels that are labelled in A only and in B only; they count nowhere else."""

    def to_json(self) -> dict[str, Any]:
        """Return the counts and scores as JSON data; ``docs/evaluation.md`` describes it."""
        scores = Scores(self.matrix)
        same, pixels = int(np.trace(self.matrix)), int(self.matrix.sum())
        known = not np.isnan(self.area_m2).any()
        changed = self.area_m2.sum() - np.trace(self.area_m2)
        return {
            "legend": self.legend.to_json(),
            "pixels": pixels,
            "changed": pixels - same,
            "agreement": round_score(float(divide(same, pixels))),
            "changed_m2": round(float(changed), 2) if known else None,
            "only_a": self.only[0],
            "only_b": self.only[1],
            "classes": {
                c.name: {
                    "iou": round_score(scores.iou[c.id]),
                    "f1": round_score(scores.f1[c.id]),
                    "pixels_a": int(self.matrix[c.id].sum()),
                    "pixels_b": int(self.matrix[:, c.id].sum()),
                }
                for c in self.legend
            },
            "changes": list(self._changes(known=known)),
            "confusion": self.matrix.tolist(),
        }

    def _changes(self, *, known: bool) -> Iterator[dict[str, Any]]:
        """Yield pairs of different classes, most pixels first."""
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


def count_agreement(
    strips: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], legend: Legend, areas: RowArea
) -> Agreement:
    """Count pixels and areas by the class in A and in B.

    Parameters
    ----------
    strips
        Labels of A and of B, (rows, columns) each, from top to bottom.
    legend
        Classes of both rasters.
    areas
        Area of a pixel by row.
    """
    classes, row = len(legend), 0
    matrix = np.zeros((classes, classes), np.int64)
    area = np.zeros((classes, classes))
    only_a = only_b = 0
    for a, b in strips:
        only_a += int(np.count_nonzero((b == IGNORE) & (a != IGNORE)))
        only_b += int(np.count_nonzero((a == IGNORE) & (b != IGNORE)))
        # pixel areas are equal within a row, not between rows
        for row_a, row_b, size in zip(a, b, areas(row, len(a)), strict=True):
            pairs = confusion_matrix(row_a, row_b, classes)
            matrix += pairs
            area += pairs * size
        row += len(a)
    return Agreement(legend, matrix, area, (only_a, only_b))


def mark_changes(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark pixels by 1 where labels differ, 0 where they are equal, 255 where one raster has none."""
    changed: NDArray[np.uint8] = (a != b).astype(np.uint8)
    changed[(a == IGNORE) | (b == IGNORE)] = IGNORE
    return changed


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations of the same scenes against the same reference.

    Notes
    -----
    Both are resampled together (paired bootstrap). A scene that is difficult for one model is difficult for the
    other, so the variation that they share cancels in the difference.
    """

    a: Evaluation
    b: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Return the scores and the differences B - A as JSON data; ``docs/evaluation.md`` describes it."""
        json_a, json_b = self.a.to_json(), self.b.to_json()
        scenes = len(self.a.scenes)
        resamples = draw_resamples(scenes)
        miou, ious = _subtract(
            *(resample_ious(resamples, side.matrices) for side in (self.a, self.b))
        )
        objects = self._resample_objects(resamples)
        classes: dict[str, Any] = {}
        for c in self.a.legend:
            a, b = json_a["classes"][c.name], json_b["classes"][c.name]
            present = a["scenes"]
            scores = {
                "scenes": present,
                "iou": _compare_score(a["iou"], b["iou"], ious[:, c.id], present),
            }
            if c.id:
                drawn = {name: of_classes[:, c.id] for name, (_, of_classes) in objects.items()}
                scores |= _compare_objects(a["objects"], b["objects"], drawn, present)
            classes[c.name] = scores
        means = {name: mean for name, (mean, _) in objects.items()}
        return {
            "a": json_a["model"],
            "b": json_b["model"],
            **{key: json_a[key] for key in ("dataset", "split", "truth", "scenes", "legend")},
            "level": LEVEL,
            "resamples": RESAMPLES,
            "miou": _compare_score(json_a["miou"], json_b["miou"], miou, scenes),
            **_compare_objects(json_a["objects"], json_b["objects"], means, scenes),
            "classes": classes,
        }

    def _resample_objects(
        self, resamples: NDArray[np.float64]
    ) -> dict[str, list[NDArray[np.float64]]]:
        """Return the differences by name: (resamples,) of the mean, and (resamples, classes)."""
        scores: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {
            name: [] for name in OBJECT_SCORES
        }
        for side in (self.a, self.b):
            objects, countable = side.objects, side.legend.countable
            scores["objects_f1"].append(resample_f1(resamples, objects.counts))
            scores["objects_ap50"].append(resample_ap50(resamples, objects.detections))
            scores["objects_pq"].append(resample_pq(resamples, objects.panoptic, countable))
        return {name: _subtract(*of) for name, of in scores.items()}


def _compare_objects(
    a: dict[str, Any],
    b: dict[str, Any],
    differences: Mapping[str, NDArray[np.float64]],
    scenes: int,
) -> dict[str, Any]:
    """Compare the object scores of one class, or of all; classes that are not countable have no panoptic quality."""
    scores = {}
    for name, (group, key) in OBJECT_SCORES.items():
        of_a, of_b = (side.get(group) if group else side for side in (a, b))
        if of_a and of_b:
            scores[name] = _compare_score(of_a[key], of_b[key], differences[name], scenes)
    return scores


def _subtract(
    a: tuple[NDArray[np.float64], ...], b: tuple[NDArray[np.float64], ...]
) -> list[NDArray[np.float64]]:
    return [score_b - score_a for score_a, score_b in zip(a, b, strict=True)]


def _compare_score(
    a: float | None, b: float | None, differences: NDArray[np.float64], scenes: int
) -> dict[str, Any]:
    """Return both scores and their difference; it is significant if its interval excludes 0."""
    bounds = percentile_interval(differences, scenes=scenes)
    return {
        "a": a,
        "b": b,
        "difference": None if a is None or b is None else round_score(b - a),
        "interval": None if bounds is None else [round_score(bound) for bound in bounds],
        "differs": bounds is not None and (bounds[0] > 0 or bounds[1] < 0),
    }
