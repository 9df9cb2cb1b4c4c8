"""Objects of a model without object outputs, from labels and confidence.

Two decoders. *seeds*: pixels of high confidence grow within their class. *levels*: between neighbouring objects the
confidence has a valley, but at no common level; cars of a parking lot separate at 0.9 in one row, at 0.98 in another.
The component tree of the confidence is therefore read from the highest level down: parts that are large enough stay
objects of their own where they meet, others are merged, and all grow level by level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.objects.decode import Objects, build_objects, grow, label_components
from geoseg.polygons.kernels import kernel

LEVELS = np.array([254, 252, 249, 245, 240, 234, 228, 218, 204, 190, 178, 166, 153, 140, 127, 0])
"""Falling levels of confidence in 1 / 255, denser where the softmax of a trained network is."""

REACH = 4
"""Pixels that a part grows at each level. A cut of a scene reads `REACH` pixels per level beyond."""

NEVER = 10**6
"""Value of `LevelConstants.significant` for classes whose objects are connected components."""


@dataclass(frozen=True, slots=True)
class SeedConstants:
    """Constants of `decode_seeds` by class; those of background are not used."""

    seed: NDArray[np.uint8]
    """(classes,) confidence from which on a pixel is a seed, 0 to 255. 0: objects are connected components."""

    reach: NDArray[np.int64]
    """(classes,) pixels that seeds grow."""

    min_pixels: NDArray[np.int64]
    """(classes,) smallest area of an object in pixels."""


@dataclass(frozen=True, slots=True)
class LevelConstants:
    """Constants of `decode_levels` by class; those of background are not used."""

    lowest: NDArray[np.int64]
    """(classes,) confidence below which a pixel belongs to no object, 0 to 255."""

    significant: NDArray[np.int64]
    """(classes,) area in pixels from which on a part is an object of its own; `NEVER`: none is."""

    min_pixels: NDArray[np.int64]
    """(classes,) smallest area of an object in pixels."""

    peak: NDArray[np.int64]
    """(classes,) smallest highest level of an object, 0 to 255."""


def decode_seeds(
    labels: NDArray[np.uint8], confidence: NDArray[np.uint8], constants: SeedConstants
) -> Objects:
    """Separate objects by seeds of high confidence; pixels that no seed reaches belong to no object.

    Parameters
    ----------
    labels
        (h, w) class IDs; 0 is background.
    confidence
        (h, w) softmax of the winning class, in 1 / 255.
    constants
        Constants of each class.
    """
    ids = label_components(labels, (labels > 0) & (confidence >= constants.seed[labels]))
    grow(ids, labels, constants.reach[labels], int(constants.reach.max()))
    return build_objects(ids, labels, constants.min_pixels)


def decode_levels(
    labels: NDArray[np.uint8], confidence: NDArray[np.uint8], constants: LevelConstants
) -> Objects:
    """Separate objects by the levels of the confidence.

    Parameters
    ----------
    labels
        (h, w) class IDs; 0 is background.
    confidence
        (h, w) softmax of the winning class, in 1 / 255.
    constants
        Constants of each class.

    Notes
    -----
    Area opening of the component tree, Salembier et al. (1998), doi:10.1109/83.663500.
    """
    key = np.where(confidence >= constants.lowest[labels], labels, 0).astype(np.uint8)
    *_, (_, ids, peak) = separate_by_level(key, confidence, constants.significant)
    ids[peak[ids] < constants.peak[labels]] = 0
    return build_objects(ids, labels, constants.min_pixels)


def separate_by_level(
    key: NDArray[np.uint8], confidence: NDArray[np.uint8], significant: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.uint8]]]:
    """Separate the regions of equal `key`, level by level.

    Parameters
    ----------
    key
        (h, w) regions; pixels of different keys never belong to one object. 0 is background.
    confidence
        (h, w) confidence in 1 / 255.
    significant
        (keys,) area in pixels from which on a part is an object of its own.

    Yields
    ------
    level
        One of `LEVELS`: pixels below it belong to no object yet.
    ids
        (h, w) numbers of the parts, from 1.
    peak
        (parts + 1,) highest level of each part.
    """
    ids = np.zeros(key.shape, np.int32)
    peak = np.zeros(1, np.uint8)
    reach = np.full(key.shape, REACH)
    for level in LEVELS.tolist():
        mask = (key > 0) & (confidence >= level)
        components = label_components(key, mask)
        ids, peak = _merge_parts(components, ids, key, peak, significant, level)
        grow(ids, np.where(mask, key, 0).astype(np.uint8), reach, REACH)
        yield level, ids, peak


@kernel
def _merge_parts(
    components: NDArray[np.int32],
    ids: NDArray[np.int32],
    key: NDArray[np.uint8],
    peak: NDArray[np.uint8],
    significant: NDArray[np.int64],
    level: int,
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Keep the significant parts of components with two or more of them; other components become one part each."""
    height, width = components.shape
    parts, wholes = ids.max(), components.max()
    area = np.zeros(parts + 1, np.int64)
    whole_of = np.zeros(parts + 1, np.int32)
    large = np.zeros(parts + 1, np.bool_)
    for y in range(height):
        for x in range(width):
            i = ids[y, x]
            if i:
                area[i] += 1
                whole_of[i] = components[y, x]
                large[i] = area[i] >= significant[key[y, x]]
    count = np.zeros(wholes + 1, np.int32)  # significant parts
    top = np.zeros(wholes + 1, np.uint8)
    for i in range(1, parts + 1):
        if area[i]:
            top[whole_of[i]] = max(top[whole_of[i]], peak[i])
            count[whole_of[i]] += large[i]
    number = np.zeros(parts + 1, np.int32)
    merged_peak = np.zeros(parts + wholes + 1, np.uint8)
    used = 0
    for i in range(1, parts + 1):
        if area[i] and large[i] and count[whole_of[i]] >= 2:
            used += 1
            number[i] = used
            merged_peak[used] = peak[i]
    single = np.zeros(wholes + 1, np.int32)
    for w in range(1, wholes + 1):
        if count[w] < 2:
            used += 1
            single[w] = used
            merged_peak[used] = max(top[w], level)
    merged = np.zeros((height, width), np.int32)
    for y in range(height):
        for x in range(width):
            w = components[y, x]
            if w:
                merged[y, x] = single[w] if count[w] < 2 else number[ids[y, x]]
    return merged, merged_peak[: used + 1]
