"""How unevenly the classes of a dataset occur, and what each class weighting would make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations import Annotations
from geoseg.dataset import Dataset
from geoseg.errors import ConfigError, DatasetError
from geoseg.files import check_output
from geoseg.learn.weights import WEIGHTINGS, class_weights
from geoseg.legend import Legend
from geoseg.report.plots import Bar, plot_imbalance

_SIZES = (5, 50, 95)  # percent


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

    weights: dict[str, float]
    """By weighting, not capped; 0 for a class without pixels."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Every class of one split and truth, background first."""

    dataset: Path
    split: str
    layer: str
    legend: Legend
    scenes: int
    classes: tuple[ClassStats, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        head = {"dataset": self.dataset.name, "split": self.split, "truth": self.layer}
        classes = {
            c.name: {k: v for k, v in asdict(c).items() if k != "name"} for c in self.classes
        }
        return {**head, "scenes": self.scenes, "classes": classes}


def stats(
    folder: Path,
    *,
    split: str = "train",
    layer: str | None = None,
    plot: Path | None = None,
    overwrite: bool = False,
) -> Stats:
    """Count the classes of a dataset; `plot` is a PNG of the result.

    Counts are those of `geoseg prepare`, sizes those of the annotations. Raises DatasetError, ConfigError,
    OutputError.
    """
    if plot:
        check_output(plot, overwrite=overwrite)
        if plot.suffix.lower() != ".png":
            raise ConfigError(f"{plot}: a plot's name ends in .png. rename it")
    dataset = Dataset.open(folder)
    layer = layer or dataset.default_layer
    annotations = dataset.annotations(layer)
    scenes = dataset.split(split)
    counts = dataset.layers[layer].splits[split]
    pixels = np.array([counts.pixels.get(c.name, 0) for c in dataset.legend], np.int64)
    if not pixels.any():
        raise DatasetError(f"{folder}: split {split!r} has no valid pixel. check its scenes")
    weights = {weighting: class_weights(pixels, weighting) for weighting in WEIGHTINGS}
    sides, metres = _sizes([annotations[s.name] for s in scenes], [s.pixel_size_m for s in scenes])
    found = Stats(
        dataset=folder,
        split=split,
        layer=layer,
        legend=dataset.legend,
        scenes=len(scenes),
        classes=tuple(
            ClassStats(
                name=c.name,
                objects=counts.objects.get(c.name, 0),
                pixels=int(pixels[c.id]),
                share=float(pixels[c.id] / pixels.sum()),
                size=_spread(sides[sides[:, 0] == c.id, 1]),
                size_m=_spread(metres[metres[:, 0] == c.id, 1]),
                weights={weighting: float(of[c.id]) for weighting, of in weights.items()},
            )
            for c in dataset.legend
        ),
    )
    if plot:
        plot_imbalance(_bars(found), f"{folder.name}, {split}, {layer}", plot)
    return found


def stats_table(found: Stats) -> str:
    """For people to read: a line per class, most pixels first; weights as multiples of the background's."""
    names = [f"{name} x" for name in WEIGHTINGS if name != "none"]
    head = ["class", "objects", "pixels", "share %", "size px", *names]
    rows = [head, *(_row(c, found.classes[0]) for c in _by_pixels(found))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = (
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _row(c: ClassStats, background: ClassStats) -> list[str]:
    size = f"{c.size[1]:.0f} ({c.size[0]:.0f}-{c.size[2]:.0f})" if c.size else "-"
    objects = f"{c.objects:,}" if c is not background else "-"
    relative = [_short(_relative(c, background, name)) for name in WEIGHTINGS if name != "none"]
    return [c.name, objects, f"{c.pixels:,}", f"{100 * c.share:.3f}", size, *relative]


def _relative(c: ClassStats, background: ClassStats, weighting: str) -> float:
    """How many times as much as the background a class weighs; NaN where one of them does not occur."""
    least = background.weights[weighting]
    return c.weights[weighting] / least if least and c.weights[weighting] else float("nan")


def _short(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _by_pixels(found: Stats) -> list[ClassStats]:
    return sorted(found.classes, key=lambda c: -c.pixels)


def _bars(found: Stats) -> list[Bar]:
    background = found.classes[0]
    return [
        Bar(
            name=c.name,
            colour=found.legend[found.legend.id_of(c.name)].colour if c.objects else "#9a9a9a",
            objects=c.objects,
            pixels=c.pixels,
            size=c.size,
            weights={name: _relative(c, background, name) for name in WEIGHTINGS},
        )
        for c in _by_pixels(found)
    ]


def _sizes(
    annotations: Sequence[Annotations], pixel_sizes: Sequence[float | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 2) class id and side of every object: in pixels, and in metres where that is known."""
    pixels, metres = [np.empty((0, 2))], [np.empty((0, 2))]
    for objects, pixel_size in zip(annotations, pixel_sizes, strict=True):
        sides = np.sqrt(shapely.area(objects.geometry))
        found = np.stack([objects.class_id.astype(np.float64), sides], axis=1)
        pixels.append(found)
        if pixel_size:
            metres.append(found * (1, pixel_size))
    return np.concatenate(pixels), np.concatenate(metres)


def _spread(sides: NDArray[np.float64]) -> tuple[float, float, float] | None:
    if not len(sides):
        return None
    low, middle, high = np.percentile(sides, _SIZES).round(2).tolist()
    return low, middle, high
