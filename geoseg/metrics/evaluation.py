"""All that is known of how good labels are on a split, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend
from geoseg.metrics.bootstrap import LEVEL, RESAMPLES, draws, interval, resampled
from geoseg.metrics.boundary import boundary_iou
from geoseg.metrics.calibration import reliability, thresholds
from geoseg.metrics.confusion import Scores, mean_over, number, ratio
from geoseg.metrics.objects import SIZES, objects_json, resampled_f1
from geoseg.metrics.tally import Rules, Tally

Interval = list[float | None] | None


@dataclass(frozen=True)
class Evaluation:
    """Counts of one split against one truth, and the scores they make."""

    model: Path
    """The model, or the folder of the labels."""

    dataset: Path
    split: str

    layer: str
    """The truth: outlines or quads."""

    legend: Legend
    rules: Rules

    scenes: tuple[str, ...]

    matrices: NDArray[np.int64]
    """(scenes, classes, classes) pixels by truth and label, scene by scene"""

    boundaries: NDArray[np.int64]
    """(scenes, 3, classes) pixels near contours: of both, of the truth, of the labels"""

    objects: NDArray[np.int64]
    """(scenes, 3, sizes, classes) objects annotated, found and matched"""

    confidences: NDArray[np.int64]
    """(classes, classes, LEVELS) pixels of all scenes by truth, label and confidence"""

    @cached_property
    def scores(self) -> Scores:
        """Of the pixels of all scenes together."""
        return Scores(self.matrices.sum(axis=0))

    @cached_property
    def occurs(self) -> NDArray[np.int64]:
        """(classes,) scenes in whose truth a class occurs"""
        occurs: NDArray[np.int64] = (self.matrices.sum(axis=2) > 0).sum(axis=0)
        return occurs

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; ``docs/evaluation.md`` describes it."""
        boundary = boundary_iou(self.boundaries.sum(axis=0))
        scores = self.scores.to_json(self.legend)
        classes = scores.pop("classes")
        intervals, of_classes, of_objects = self._intervals()
        objects = self.objects.sum(axis=0)
        for c in self.legend:
            classes[c.name] |= {
                "scenes": int(self.occurs[c.id]),
                "boundary_iou": number(boundary[c.id]),
                "interval": of_classes[c.id],
            }
        for c in self.legend.objects:
            classes[c.name]["objects"] = {
                **objects_json(objects[:, :, c.id].sum(axis=1)),
                "interval": of_objects[c.id],
                "by_size": _by_size(objects[:, :, c.id]),
            }
        truth = self.scores.matrix.sum(axis=1)
        return {
            "model": self.model.name,
            "dataset": self.dataset.resolve().name,
            "split": self.split,
            "truth": self.layer,
            "scenes": len(self.scenes),
            "legend": self.legend.to_json(),
            "rules": asdict(self.rules),
            **scores,
            "boundary_miou": number(mean_over(truth, boundary)),
            "boundary_px": self.rules.boundary,
            "intervals": intervals,
            "classes": classes,
            "objects": {
                **objects_json(objects.sum(axis=(1, 2))),
                "iou": self.rules.match,
                "by_size": _by_size(objects.sum(axis=2)),
            },
            **self._of_confidence(),
            "by_scene": {
                name: _of_scene(Scores(matrix), self.legend)
                for name, matrix in zip(self.scenes, self.matrices, strict=True)
            },
            "confusion": self.scores.matrix.tolist(),
        }

    def for_card(self) -> dict[str, Any]:
        """The scores that a model's card keeps, 0 to 1."""
        scores = self.scores.to_json(self.legend)
        told = {"dataset": self.dataset.resolve().name, "scenes": len(self.scenes)}
        if self.rules.difficult != "keep":
            told["difficult"] = self.rules.difficult
        return {
            **told,
            "miou": scores["miou"],
            "miou_with_background": scores["miou_with_background"],
            "iou": {name: of["iou"] for name, of in scores["classes"].items()},
        }

    def _intervals(self) -> tuple[dict[str, Any], list[Interval], list[Interval]]:
        """Of the means, of each class's IoU, of each class's objects."""
        drawn = draws(len(self.scenes))
        mious, ious = resampled_ious(drawn, self.matrices)
        f1, f1s = resampled_f1(drawn, self.objects)
        means = {
            "miou": _told(mious, len(self.scenes)),
            "objects_f1": _told(f1, len(self.scenes)),
            "level": LEVEL,
            "resamples": RESAMPLES,
        }
        of_classes, of_objects = (
            [_told(of, int(scenes)) for of, scenes in zip(scores.T, self.occurs, strict=True)]
            for scores in (ious, f1s)
        )
        return means, of_classes, of_objects

    def _of_confidence(self) -> dict[str, Any]:
        """Nothing where the confidence of some labels is not known."""
        if self.confidences[..., -1].any() or not self.confidences.any():
            return {"calibration": None, "threshold": None}
        return {
            "calibration": {
                **reliability(self.confidences).to_json(),
                "objects": reliability(self.confidences, background=False).to_json(),
            },
            "threshold": thresholds(self.confidences).to_json(self.legend),
        }


class Counts:
    """Counts against one truth, collected scene by scene; of the large histograms only their sum is kept."""

    def __init__(self) -> None:
        self._scenes: list[str] = []
        self._tallies: list[tuple[NDArray[np.int64], ...]] = []
        self._confidences: NDArray[np.int64] | None = None

    def add(self, scene: str, tally: Tally) -> None:
        """Add what was counted in a scene."""
        self._scenes.append(scene)
        self._tallies.append((tally.matrix, tally.boundary, tally.objects))
        if self._confidences is None:
            self._confidences = np.zeros_like(tally.confidences)
        self._confidences += tally.confidences

    def evaluation(self, **about: Any) -> Evaluation:
        """All of at least one scene; `about` are the other fields of an Evaluation."""
        assert self._confidences is not None
        matrices, boundaries, objects = map(np.stack, zip(*self._tallies, strict=True))
        return Evaluation(
            scenes=tuple(self._scenes),
            matrices=matrices,
            boundaries=boundaries,
            objects=objects,
            confidences=self._confidences,
            **about,
        )


def resampled_ious(
    drawn: NDArray[np.float64], matrices: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(resamples,) mean IoU and (resamples, classes) IoU, of matrices (scenes, classes, classes); NaN where
    a class does not occur in the truth of those scenes that were drawn."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    counts = np.stack([hits, matrices.sum(axis=2), matrices.sum(axis=1)], axis=1)
    sums = resampled(drawn, counts)
    ious = np.where(sums[:, 1] > 0, boundary_iou(sums), np.nan)
    occurring = (~np.isnan(ious[:, 1:])).sum(axis=1)
    return ratio(np.nansum(ious[:, 1:], axis=1), occurring), ious


def _by_size(counts: NDArray[np.int64]) -> dict[str, Any]:
    return {name: objects_json(counts[:, number]) for number, name in enumerate(SIZES)}


def _of_scene(scores: Scores, legend: Legend) -> dict[str, Any]:
    """The scores of one scene, of the classes that occur there in truth or labels."""
    told = scores.to_json(legend)
    return {
        "miou": told["miou"],
        "pixels": told["pixels"],
        "classes": {
            name: of["iou"] for name, of in told["classes"].items() if of["iou"] is not None
        },
    }


def _told(values: NDArray[np.float64], scenes: int) -> Interval:
    bounds = interval(values, scenes=scenes)
    return None if bounds is None else [number(bound) for bound in bounds]
