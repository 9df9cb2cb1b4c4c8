"""Kernels of the object decoders against pixel-by-pixel references."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.objects.decode import (
    CentreSettings,
    ClassRules,
    InteriorSettings,
    decode_centres,
    decode_interior,
    find_maxima,
    grow,
    label_components,
)
from benchmarks.objects.levels import LevelConstants, decode_levels

NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
RULES = ClassRules(np.array([False, True, False]), np.ones(3, np.int64))
CONSTANTS = LevelConstants(
    lowest=np.array([0, 60, 0]),
    significant=np.array([1, 5, 12]),
    min_pixels=np.array([1, 4, 8]),
    peak=np.array([0, 0, 150]),
)


def smooth_scene(
    seed: int, shape: tuple[int, int] = (60, 70)
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return random smooth labels of two classes, and confidences."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.standard_normal((3, *shape)), (0, 2.5, 2.5))
    labels = fields.argmax(0).astype(np.uint8)
    confidence = ndimage.gaussian_filter(rng.standard_normal(shape), 1.2)
    scaled = 255 * (confidence - confidence.min()) / np.ptp(confidence)
    return labels, scaled.astype(np.uint8)


def grow_by_pixel(
    ids: NDArray[np.int32], region: NDArray[np.uint8], reach: int
) -> NDArray[np.int32]:
    for step in range(1, reach + 1):
        before = ids.copy()
        for y, x in np.ndindex(*ids.shape):
            if before[y, x] or not region[y, x]:
                continue
            for dy, dx in NEIGHBOURS[: 8 if step % 2 else 4]:
                v, u = y + dy, x + dx
                inside = 0 <= v < ids.shape[0] and 0 <= u < ids.shape[1]
                if not inside or (dy and dx and region[y, x] not in (region[v, x], region[y, u])):
                    continue
                if before[v, u] and region[v, u] == region[y, x]:
                    ids[y, x] = before[v, u]
                    break
    return ids


def same_partition(one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == len(pairs.T)


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_scipy(seed: int) -> None:
    labels, confidence = smooth_scene(seed)
    mask = (labels > 0) & (confidence > 90)
    found = label_components(labels, mask)
    for c in (1, 2):
        expected, count = ndimage.label(mask & (labels == c))
        inside = np.where(labels == c, found, 0)
        assert len(np.unique(inside)) - 1 == count
        assert same_partition(inside, expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reach", [1, 2, 3, 6])
def test_growth_is_that_of_a_pixel_by_pixel_loop(seed: int, reach: int) -> None:
    labels, confidence = smooth_scene(seed)
    seeds = label_components(labels, (labels > 0) & (confidence > 170))
    expected = grow_by_pixel(seeds.copy(), labels, reach)
    grow(seeds, labels, np.full(labels.shape, reach), reach)
    np.testing.assert_array_equal(seeds, expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("side", ["above", "left", "right", "below"])
def test_objects_that_end_before_a_cut_are_those_of_the_whole_scene(seed: int, side: str) -> None:
    """More of the scene on one side changes nothing in connected components that do not touch it."""
    labels, confidence = smooth_scene(seed)
    vertical, first = side in ("above", "below"), side in ("above", "left")
    added = smooth_scene(seed + 100, (20, 70) if vertical else (60, 20))
    axis = 0 if vertical else 1
    order = slice(None, None, 1 if first else -1)
    whole_labels = np.concatenate((added[0], labels)[order], axis)
    whole_confidence = np.concatenate((added[1], confidence)[order], axis)
    whole = decode_levels(whole_labels, whole_confidence, CONSTANTS)
    part = decode_levels(labels, confidence, CONSTANTS)
    shift = 20 if first else 0
    window = np.s_[shift : shift + 60, :] if vertical else np.s_[:, shift : shift + 70]
    regions = label_components(labels, labels > 0)
    edge = {
        "above": regions[0],
        "below": regions[-1],
        "left": regions[:, 0],
        "right": regions[:, -1],
    }[side]
    inner = ~np.isin(regions, edge)
    assert same_partition(np.where(inner, whole.ids[window], 0), np.where(inner, part.ids, 0))


def test_neighbours_separate_by_their_interiors() -> None:
    labels = np.zeros((9, 14), np.uint8)
    labels[1:8, 1:13] = 1
    interior = np.zeros_like(labels)
    interior[2:7, 2:6] = interior[2:7, 8:12] = 255
    planes = {"labels": labels, "interior": interior, "touching": np.zeros_like(labels)}
    found = decode_interior(planes, InteriorSettings(seed=128, touching=128, reach=1), RULES)
    assert found.pixels.tolist() == [7 * 6, 7 * 6]


def test_neighbours_separate_by_their_votes() -> None:
    labels = np.zeros((9, 14), np.uint8)
    labels[1:8, 1:13] = 1
    rows, columns = np.mgrid[:9, :14]
    x = np.where(columns < 7, 3, 10)
    centre = np.zeros_like(labels)
    centre[4, 3] = centre[4, 10] = 200
    planes = {
        "labels": labels,
        "centre": centre,
        "offset_x": (2 * (x - columns)).astype(np.int8),
        "offset_y": (2 * (4 - rows)).astype(np.int8),
    }
    found = decode_centres(planes, CentreSettings(seed=100, radius=2, near=2.0), RULES)
    assert found.pixels.tolist() == [7 * 6, 7 * 6]


def test_of_equal_maxima_the_first_is_taken() -> None:
    heat = np.full((1, 6), 9, np.uint8)
    assert find_maxima(heat, 2, 5).tolist() == [[True, False, False, False, False, False]]
