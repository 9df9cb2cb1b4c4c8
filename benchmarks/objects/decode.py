"""Decoders: 8-bit planes of a scene → objects.

All decoders are local and independent of order: seeds are connected components, and growth proceeds in steps in which
each pixel reads its neighbours as they were before the step, in a fixed order. The objects therefore do not depend on
how a scene is cut, as long as components are joined across cuts and a cut reads as many rows beyond as objects grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.kernels import kernel

Planes = dict[str, NDArray[Any]]
"""(h, w) planes of a scene by name: uint8 *labels*, *confidence*, *interior*, *touching*, *distance* and *centre*, the
last five in 1 / 255; int8 *offset_x* and *offset_y* in `OFFSET_STEP` pixels."""

OFFSET_STEP = 0.5
"""Pixels per unit of the offset planes."""

# neighbours: above, left, right, below, then diagonal
_DY = (-1, 0, 0, 1, -1, -1, 1, 1)
_DX = (0, -1, 1, 0, -1, 1, -1, 1)


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of a scene. Object n has ID n + 1."""

    ids: NDArray[np.int32]
    """(h, w) ID of the object of each pixel; 0 outside."""

    class_id: NDArray[np.uint8]
    """(n,) class IDs."""

    pixels: NDArray[np.int64]
    """(n,) areas in pixels."""


@dataclass(frozen=True, slots=True)
class ClassRules:
    """Rules of each class for all decoders."""

    countable: NDArray[np.bool_]
    """(classes,) True for classes whose objects are separated; the objects of others are connected components."""

    min_pixels: NDArray[np.int64]
    """(classes,) smallest area of an object in pixels."""


@dataclass(frozen=True, slots=True)
class InteriorSettings:
    """Settings of `decode_interior`."""

    seed: int
    """Interior from which on a pixel is a seed."""

    touching: int
    """Touching from which on a pixel is no seed."""

    reach: int
    """Pixels that seeds grow."""


@dataclass(frozen=True, slots=True)
class DistanceSettings:
    """Settings of `decode_distance`."""

    seed: int
    """Distance from which on a pixel is a seed."""

    levels: tuple[int, ...]
    """Falling distances down to which seeds grow, one after the other."""

    reach: int
    """Pixels that seeds grow at each level, and below the last."""


@dataclass(frozen=True, slots=True)
class CentreSettings:
    """Settings of `decode_centres`."""

    seed: int
    """Smallest value of a centre."""

    radius: int
    """A centre is the maximum of the square of this many pixels on each side."""

    near: float
    """Largest distance in pixels between a centre and the end of an offset."""


def decode_components(labels: NDArray[np.uint8], min_pixels: NDArray[np.int64]) -> Objects:
    """Make each connected component of a class an object."""
    return build_objects(label_components(labels, labels > 0), labels, min_pixels)


def decode_interior(planes: Planes, settings: InteriorSettings, rules: ClassRules) -> Objects:
    """Separate objects by their interiors.

    Seeds are the connected components, of any countable class, of pixels in an interior and not between touching
    objects. They grow within the countable classes. The class of an object is its most frequent label.

    Notes
    -----
    Method of the winners of SpaceNet 4 and of the 2018 Data Science Bowl.
    """
    on = rules.countable[planes["labels"]]
    seeds = on & (planes["interior"] >= settings.seed) & (planes["touching"] < settings.touching)
    ids = label_components(on.astype(np.uint8), seeds)
    return _complete(ids, planes["labels"], settings.reach, rules)


def decode_distance(planes: Planes, settings: DistanceSettings, rules: ClassRules) -> Objects:
    """Separate objects by the normalised distance from their border.

    Seeds grow above each of the falling levels, and then within the countable classes.

    Notes
    -----
    Deep watershed transform, Bai and Urtasun (2017), arXiv 1611.08303.
    """
    distance = planes["distance"]
    on = rules.countable[planes["labels"]]
    ids = label_components(on.astype(np.uint8), on & (distance >= settings.seed))
    for level in settings.levels:
        inside = (on & (distance >= level)).astype(np.uint8)
        grow(ids, inside, np.full(ids.shape, settings.reach), settings.reach)
    return _complete(ids, planes["labels"], settings.reach, rules)


def decode_centres(planes: Planes, settings: CentreSettings, rules: ClassRules) -> Objects:
    """Separate objects by votes for centres.

    Each pixel of a countable class belongs to the centre nearest to the end of its offset.

    Notes
    -----
    Panoptic-DeepLab, Cheng et al. (2020), arXiv 1911.10194.
    """
    on = rules.countable[planes["labels"]]
    heat = np.where(on, planes["centre"], 0).astype(np.uint8)
    peaks = find_maxima(heat, settings.radius, settings.seed)
    ids = assign_to_centres(
        on, peaks, planes["offset_x"], planes["offset_y"], OFFSET_STEP, float(settings.near)
    )
    return _complete(ids, planes["labels"], 1, rules)


def _complete(
    ids: NDArray[np.int32], labels: NDArray[np.uint8], reach: int, rules: ClassRules
) -> Objects:
    """Grow seeds within the countable classes and add the connected components of the others."""
    on = rules.countable[labels]
    if reach:
        grow(ids, on.astype(np.uint8), np.full(ids.shape, reach), reach)
    others = label_components(labels, (labels > 0) & ~on)
    ids = np.where(others > 0, others + ids.max(initial=0), ids).astype(np.int32)
    return build_objects(ids, labels, rules.min_pixels)


def build_objects(
    ids: NDArray[np.int32], labels: NDArray[np.uint8], min_pixels: NDArray[np.int64]
) -> Objects:
    """Give each object its most frequent class, drop those that are too small, and number the others in order."""
    counts = _count_classes(ids, labels, len(min_pixels), int(ids.max(initial=0)))
    class_id = counts.argmax(axis=1)
    pixels = counts.sum(axis=1)
    kept = (pixels > 0) & (class_id > 0) & (pixels >= min_pixels[class_id])
    number = np.zeros(len(kept), np.int32)
    number[kept] = np.arange(1, kept.sum() + 1)
    return Objects(number[ids], class_id[kept].astype(np.uint8), pixels[kept])


@kernel
def label_components(key: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the 4-connected components of pixels of `mask` with equal `key` from 1, by their first pixel."""
    height, width = key.shape
    ids = np.zeros((height, width), np.int32)
    parent = np.zeros(mask.size + 1, np.int32)
    used = 1
    for y in range(height):
        for x in range(width):
            if not mask[y, x]:
                continue
            left = ids[y, x - 1] if x and mask[y, x - 1] and key[y, x - 1] == key[y, x] else 0
            above = ids[y - 1, x] if y and mask[y - 1, x] and key[y - 1, x] == key[y, x] else 0
            if not left and not above:
                parent[used] = used
                ids[y, x] = used
                used += 1
            elif left and above:
                while parent[left] != left:
                    left = parent[left]
                while parent[above] != above:
                    above = parent[above]
                low = min(left, above)
                parent[left] = low
                parent[above] = low
                ids[y, x] = low
            else:
                ids[y, x] = max(left, above)
    number = _number_roots(parent, used)
    for y in range(height):
        for x in range(width):
            ids[y, x] = number[ids[y, x]]
    return ids


@kernel
def _number_roots(parent: NDArray[np.int32], used: int) -> NDArray[np.int32]:
    """Give the trees of a forest, whose parents precede their children, consecutive numbers from 1."""
    number = np.zeros(used, np.int32)
    count = 0
    for i in range(1, used):
        if parent[i] == i:
            count += 1
            number[i] = count
        else:
            number[i] = number[parent[i]]
    return number


@kernel
def grow(
    ids: NDArray[np.int32], region: NDArray[np.uint8], reach: NDArray[np.int64], steps: int
) -> None:
    """Grow objects in place, step by step, into pixels of the same non-zero `region`.

    Parameters
    ----------
    ids
        (h, w) IDs; 0 outside of objects.
    region
        (h, w) regions that objects do not leave; 0 is never entered.
    reach
        (h, w) number of the last step that enters a pixel.
    steps
        Steps of one pixel.

    Notes
    -----
    Odd steps go to eight neighbours and even ones to four, so that growth is nearly round. A diagonal step passes
    through a pixel of the region, so that objects stay in their 4-connected component. A pixel joins the first
    neighbour that is an object, in the order above, left, right, below, diagonal.
    """
    previous = np.zeros((0, 3), np.int32)
    front = np.zeros((0, 3), np.int32)
    for step in range(1, steps + 1):
        # from the third step on, pixels not next to the front were tried by four and by eight neighbours
        joined = (
            _scan_all(ids, region, reach, step)
            if step <= 2
            else _scan_front(ids, region, reach, step, front)
        )
        for i in range(len(joined)):
            ids[joined[i, 0], joined[i, 1]] = joined[i, 2]
        front = np.concatenate((joined, previous))
        previous = joined


@kernel
def _scan_all(
    ids: NDArray[np.int32], region: NDArray[np.uint8], reach: NDArray[np.int64], step: int
) -> NDArray[np.int32]:
    """Return (n, 3) row, column and ID of the pixels that join an object in this step."""
    height, width = ids.shape
    count = 0
    for y in range(height):
        for x in range(width):
            count += _joining_id(ids, region, reach, step, y, x) > 0
    joined = np.empty((count, 3), np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            value = _joining_id(ids, region, reach, step, y, x)
            if value:
                joined[count, 0], joined[count, 1], joined[count, 2] = y, x, value
                count += 1
    return joined


@kernel
def _scan_front(
    ids: NDArray[np.int32],
    region: NDArray[np.uint8],
    reach: NDArray[np.int64],
    step: int,
    front: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Return (n, 3) row, column and ID of the neighbours of `front` that join an object; some more than once."""
    height, width = ids.shape
    joined = np.empty((8 * len(front), 3), np.int32)
    count = 0
    for i in range(len(front)):
        for k in range(8):
            y, x = front[i, 0] + _DY[k], front[i, 1] + _DX[k]
            if y < 0 or x < 0 or y >= height or x >= width:
                continue
            value = _joining_id(ids, region, reach, step, y, x)
            if value:
                joined[count, 0], joined[count, 1], joined[count, 2] = y, x, value
                count += 1
    return joined[:count].copy()


@kernel
def _joining_id(
    ids: NDArray[np.int32],
    region: NDArray[np.uint8],
    reach: NDArray[np.int64],
    step: int,
    y: int,
    x: int,
) -> int:
    """Return the ID of the object that a pixel joins in this step, or 0."""
    here = region[y, x]
    if ids[y, x] or not here or step > reach[y, x]:
        return 0
    for k in range(8 if step % 2 else 4):
        v, u = y + _DY[k], x + _DX[k]
        if v < 0 or u < 0 or v >= ids.shape[0] or u >= ids.shape[1]:
            continue
        if k >= 4 and region[v, x] != here and region[y, u] != here:
            continue
        if ids[v, u] and region[v, u] == here:
            return int(ids[v, u])
    return 0


@kernel
def find_maxima(heat: NDArray[np.uint8], radius: int, lowest: int) -> NDArray[np.bool_]:
    """Find pixels above 0 and at least `lowest` that none within `radius` pixels exceeds; of equal ones the first."""
    height, width = heat.shape
    maxima = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            value = heat[y, x]
            if value < lowest or not value:
                continue
            best = True
            for v in range(max(0, y - radius), min(height, y + radius + 1)):
                for u in range(max(0, x - radius), min(width, x + radius + 1)):
                    earlier = v < y or (v == y and u < x)
                    if heat[v, u] > value or (heat[v, u] == value and earlier):
                        best = False
                        break
                if not best:
                    break
            maxima[y, x] = best
    return maxima


@kernel
def assign_to_centres(
    on: NDArray[np.bool_],
    peaks: NDArray[np.bool_],
    offset_x: NDArray[np.int8],
    offset_y: NDArray[np.int8],
    step: float,
    near: float,
) -> NDArray[np.int32]:
    """Give each pixel of `on` the number of the peak nearest to the end of its offset; of equal ones the first.

    Parameters
    ----------
    on, peaks
        (h, w) pixels of objects, and centres.
    offset_x, offset_y
        (h, w) offsets in `step` pixels.
    step
        Pixels per unit of the offsets.
    near
        Largest distance between peak and end, in pixels.

    Returns
    -------
    (h, w) array
        Numbers of the peaks, from 1 in order of rows; 0 without a peak.
    """
    height, width = on.shape
    numbers = np.zeros((height, width), np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            if peaks[y, x]:
                count += 1
                numbers[y, x] = count
    ids = np.zeros((height, width), np.int32)
    window = int(np.ceil(near))
    for y in range(height):
        for x in range(width):
            if not on[y, x]:
                continue
            cx, cy = x + offset_x[y, x] * step, y + offset_y[y, x] * step
            best = near * near + 1e-6
            px, py = int(np.floor(cx + 0.5)), int(np.floor(cy + 0.5))
            for v in range(max(0, py - window), min(height, py + window + 1)):
                for u in range(max(0, px - window), min(width, px + window + 1)):
                    squared = (v - cy) ** 2 + (u - cx) ** 2
                    if numbers[v, u] and squared < best:
                        best = squared
                        ids[y, x] = numbers[v, u]
    return ids


@kernel
def _count_classes(
    ids: NDArray[np.int32], labels: NDArray[np.uint8], classes: int, objects: int
) -> NDArray[np.int64]:
    """Return (objects + 1, classes) pixels of each object by class."""
    counts = np.zeros((objects + 1, classes), np.int64)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            if ids[y, x]:
                counts[ids[y, x], labels[y, x]] += 1
    return counts
