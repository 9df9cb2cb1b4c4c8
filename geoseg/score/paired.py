"""Two evaluations on the same scenes: what differs, and whether by more than the choice of scenes.

Both are resampled together (paired bootstrap): a scene that is hard for one is hard for the other, and what
they share falls out of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.score.bootstrap import LEVEL, RESAMPLES, draws, interval
from geoseg.score.evaluation import Evaluation, resampled_ious
from geoseg.score.metrics import number
from geoseg.score.objects import resampled_f1


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
