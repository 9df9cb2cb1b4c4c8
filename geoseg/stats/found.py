"""What is known of the classes of a dataset."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.legend import Legend


@dataclass(frozen=True, slots=True)
class ClassStats:
    """One class in one split."""

    name: str
    objects: int

    pixels: int
    """Valid pixels that are labelled so."""

    share: float
    """Of all pixels, 0 to 1."""

    size: tuple[float, float, float] | None
    """Side of a square as large as an object, in pixels: 5 %, half and 95 % of the objects are not larger; None
    without objects."""

    size_m: tuple[float, float, float] | None
    """The same in metres; None without objects of which the scene knows its pixel size."""

    quad_fill: float | None
    """Area of its outlines by the area of their quads, so by 1 / this the quads overstate the class; None where
    a dataset has not both truths."""

    scenes: int
    """That hold objects of it."""

    together: dict[str, int]
    """Other class → scenes that hold objects of both."""

    weights: dict[str, float]
    """By weighting, not capped; 0 for a class without pixels."""

    def times(self, background: ClassStats, weighting: str) -> float:
        """How many times as much as the background it weighs; NaN where one of them does not occur."""
        least = background.weights[weighting]
        weight = self.weights[weighting]
        return weight / least if least and weight else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        together = {
            name: {"scenes": n, "share": n / self.scenes} for name, n in self.together.items() if n
        }
        return {k: v for k, v in asdict(self).items() if k != "name"} | {"together": together}


@dataclass(frozen=True, slots=True)
class Stats:
    """Every class of one split and truth, background first."""

    dataset: Path
    split: str
    layer: str
    legend: Legend
    scenes: int
    classes: tuple[ClassStats, ...]

    def by_pixels(self) -> list[ClassStats]:
        """Classes, most pixels first."""
        return sorted(self.classes, key=lambda c: -c.pixels)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        head = {"dataset": self.dataset.name, "split": self.split, "truth": self.layer}
        return {
            **head,
            "scenes": self.scenes,
            "classes": {c.name: c.to_json() for c in self.classes},
        }
