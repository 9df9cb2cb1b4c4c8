"""How often each class occurs, counted while scenes are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations import Annotations, Index, burn
from geoseg.dataset import ClassCounts, Counts
from geoseg.legend import Legend


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one scene and one truth, by class id."""

    objects: NDArray[np.int64]
    pixels: NDArray[np.int64]

    @staticmethod
    def of(annotations: Annotations, pixels: NDArray[np.int64]) -> Tally:
        """Objects counted, pixels as given."""
        return Tally(_by_class(annotations.class_id, len(pixels)), pixels)


class Counting:
    """Counts the pixels of one scene and one truth, window by window."""

    def __init__(self, annotations: Annotations, classes: int) -> None:
        self.pixels: NDArray[np.int64] = np.zeros(classes, np.int64)
        self._index = Index(annotations)

    def add(self, window: Window, valid: NDArray[np.bool_]) -> None:
        """Count the valid pixels of a window."""
        labels = burn(
            self._index.window(window),
            *valid.shape,
            transform=Affine.translation(-window.col_off, -window.row_off),
        )
        self.pixels += _by_class(labels[valid], len(self.pixels))


def class_counts(tallies: Sequence[Tally], splits: Sequence[str], legend: Legend) -> ClassCounts:
    """Sums over all scenes and over those of each split; `splits` names the one of each tally."""
    by_split: Mapping[str, list[Tally]] = {
        split: [t for t, s in zip(tallies, splits, strict=True) if s == split]
        for split in sorted(set(splits))
    }
    whole = _sum(tallies, legend)
    parts = {split: _sum(part, legend) for split, part in by_split.items()}
    return ClassCounts(whole.objects, whole.pixels, parts)


def _by_class(labels: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(classes,) how often each occurs; IGNORE is none."""
    counts: NDArray[np.int64] = np.bincount(labels, minlength=classes)[:classes]
    return counts


def _sum(tallies: Sequence[Tally], legend: Legend) -> Counts:
    objects = np.sum([tally.objects for tally in tallies], axis=0)
    pixels = np.sum([tally.pixels for tally in tallies], axis=0)
    return Counts(
        {c.name: int(objects[c.id]) for c in legend.objects},
        {c.name: int(pixels[c.id]) for c in legend},
    )
