"""What is known of the classes of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
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


# What the annotations of scenes say of classes.

_SIZES = (5, 50, 95)  # percent


def sides(
    annotations: Sequence[Annotations], pixel_sizes: Sequence[float | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 2) class id and side of every object: in pixels, and in metres where that is known."""
    pixels, metres = [np.empty((0, 2))], [np.empty((0, 2))]
    for objects, pixel_size in zip(annotations, pixel_sizes, strict=True):
        lengths = np.sqrt(shapely.area(objects.geometry))
        found = np.stack([objects.class_id.astype(np.float64), lengths], axis=1)
        pixels.append(found)
        if pixel_size:
            metres.append(found * (1, pixel_size))
    return np.concatenate(pixels), np.concatenate(metres)


def spread(lengths: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """What 5 %, half and 95 % of them do not exceed."""
    if not len(lengths):
        return None
    low, middle, high = np.percentile(lengths, _SIZES).round(2).tolist()
    return low, middle, high


def scenes_of_pairs(annotations: Sequence[Annotations], classes: int) -> NDArray[np.int64]:
    """(classes, classes) how many scenes hold objects of both; of one class on the diagonal."""
    held = np.array([_counts(objects, classes) > 0 for objects in annotations]).reshape(-1, classes)
    together: NDArray[np.int64] = held.T.astype(np.int64) @ held
    return together


def fill(
    outlines: Sequence[Annotations], quads: Sequence[Annotations], classes: int
) -> NDArray[np.float64]:
    """(classes,) area of all outlines by that of their quads; NaN where there is nothing to compare.

    Of the scenes that have as many of a class in both truths.
    """
    true, drawn = np.zeros(classes), np.zeros(classes)
    for outline, quad in zip(outlines, quads, strict=True):
        counts = _counts(outline, classes)
        alike = (counts == _counts(quad, classes)) & (counts > 0)
        true += np.where(alike, _areas(outline, classes), 0)
        drawn += np.where(alike, _areas(quad, classes), 0)
    filled = np.full(classes, np.nan)
    np.divide(true, drawn, out=filled, where=drawn > 0)
    return filled


def _counts(objects: Annotations, classes: int) -> NDArray[np.int64]:
    """(classes,); an area that nobody knows is of none."""
    counts: NDArray[np.int64] = np.bincount(objects.class_id, minlength=classes)[:classes]
    return counts


def _areas(objects: Annotations, classes: int) -> NDArray[np.float64]:
    """(classes,) square pixels"""
    areas = shapely.area(objects.geometry)
    return np.bincount(objects.class_id, areas, classes)[:classes].astype(np.float64)
