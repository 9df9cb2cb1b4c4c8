"""What the annotations of scenes say of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations import Annotations

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
