"""Class statistics of a dataset: object sizes, co-occurrence, and how much of their quads outlines fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.dataset.folder import Dataset
from geoseg.legend import Legend


@dataclass(frozen=True, slots=True)
class ClassStats:
    """Statistics of one class in one split."""

    name: str
    objects: int

    pixels: int
    """Valid pixels of the class."""

    share: float
    """Share of all valid pixels, 0 to 1."""

    size: tuple[float, float, float] | None
    """5th, 50th and 95th percentile of the object size in pixels; None without objects. The size of an object is the
    side of a square of the same area."""

    size_m: tuple[float, float, float] | None
    """The same in metres; None without objects in scenes of known pixel size."""

    quad_fill: float | None
    """Area of the outlines divided by the area of their quads; None unless the dataset has both layers."""

    scenes: int
    """Scenes with objects of the class."""

    together: dict[str, int]
    """Scenes with objects of both classes, by the name of the other class."""

    weights: dict[str, float]
    """Class weight by weighting, without a cap; 0 for a class without pixels."""

    def times(self, background: ClassStats, weighting: str) -> float:
        """Return the weight relative to that of the background; NaN if one of them does not occur."""
        least = background.weights[weighting]
        weight = self.weights[weighting]
        return weight / least if least and weight else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON data."""
        together = {
            name: {"scenes": n, "share": n / self.scenes} for name, n in self.together.items() if n
        }
        return {k: v for k, v in asdict(self).items() if k != "name"} | {"together": together}


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of the classes of one split and annotation layer, background first."""

    dataset: Path
    split: str
    layer: str
    legend: Legend
    scenes: int
    classes: tuple[ClassStats, ...]

    bands: dict[str, dict[str, float]]
    """Statistics of each band over split ``train``, by its number and name."""

    def by_pixels(self) -> list[ClassStats]:
        """Return the classes, most pixels first."""
        return sorted(self.classes, key=lambda c: -c.pixels)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON data."""
        head = {"dataset": self.dataset.name, "split": self.split, "truth": self.layer}
        return {
            **head,
            "scenes": self.scenes,
            "bands": self.bands,
            "classes": {c.name: c.to_json() for c in self.classes},
        }


def name_statistics(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Return the statistics of the bands of a dataset by number and name, such as ``1 red``; empty without any."""
    numbered = enumerate(zip(dataset.band_names, dataset.statistics, strict=False), start=1)
    return {f"{n} {name}".rstrip(): band.to_json() for n, (name, band) in numbered}


_PERCENTILES = (5, 50, 95)


def measure_objects(
    annotations: Sequence[Annotations], pixel_sizes: Sequence[float | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the side of a square of the same area for every object.

    Parameters
    ----------
    annotations
        Annotations of each scene.
    pixel_sizes
        Metres per pixel of each scene; None if unknown.

    Returns
    -------
    two (n, 2) arrays
        Class ID and side: in pixels, and in metres for scenes of known pixel size.
    """
    pixels, metres = [np.empty((0, 2))], [np.empty((0, 2))]
    for objects, pixel_size in zip(annotations, pixel_sizes, strict=True):
        lengths = np.sqrt(shapely.area(objects.geometry))
        sizes = np.stack([objects.class_id.astype(np.float64), lengths], axis=1)
        pixels.append(sizes)
        if pixel_size:
            metres.append(sizes * (1, pixel_size))
    return np.concatenate(pixels), np.concatenate(metres)


def compute_percentiles(lengths: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return the 5th, 50th and 95th percentile, or None without lengths."""
    if not len(lengths):
        return None
    low, middle, high = np.percentile(lengths, _PERCENTILES).round(2).tolist()
    return low, middle, high


def count_co_occurrences(annotations: Sequence[Annotations], classes: int) -> NDArray[np.int64]:
    """Count the scenes with objects of two classes.

    Returns
    -------
    (classes, classes) array of int
        The diagonal has the scenes with objects of one class.
    """
    occurs = np.array([_count_objects(o, classes) > 0 for o in annotations]).reshape(-1, classes)
    together: NDArray[np.int64] = occurs.T.astype(np.int64) @ occurs
    return together


def compute_quad_fill(
    outlines: Sequence[Annotations], quads: Sequence[Annotations], classes: int
) -> NDArray[np.float64]:
    """Divide the area of all outlines by the area of their quads.

    Parameters
    ----------
    outlines, quads
        Annotations of each scene. Classes with different numbers of objects in both are skipped in that scene.
    classes
        Number of classes.

    Returns
    -------
    (classes,) array
        NaN for a class that cannot be compared.
    """
    outline_area, quad_area = np.zeros(classes), np.zeros(classes)
    for outline, quad in zip(outlines, quads, strict=True):
        counts = _count_objects(outline, classes)
        same = (counts == _count_objects(quad, classes)) & (counts > 0)
        outline_area += np.where(same, _sum_areas(outline, classes), 0)
        quad_area += np.where(same, _sum_areas(quad, classes), 0)
    fill = np.full(classes, np.nan)
    np.divide(outline_area, quad_area, out=fill, where=quad_area > 0)
    return fill


def _count_objects(objects: Annotations, classes: int) -> NDArray[np.int64]:
    """Return the (classes,) number of objects, without ignored areas."""
    counts: NDArray[np.int64] = np.bincount(objects.class_id, minlength=classes)[:classes]
    return counts


def _sum_areas(objects: Annotations, classes: int) -> NDArray[np.float64]:
    """Return the (classes,) area in square pixels."""
    areas = shapely.area(objects.geometry)
    return np.bincount(objects.class_id, areas, classes)[:classes].astype(np.float64)
