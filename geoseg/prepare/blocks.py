"""Scenes cut into blocks, and which of these validate: no pixel of the ground is in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations import Annotations, Index
from geoseg.dataset import transformed
from geoseg.scene import SceneInfo

_ENOUGH_SCENES = 8
_BLOCKS = 16
_SMALLEST = 256


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a scene."""

    image: int
    """Number of the scene it is cut from."""

    window: Window
    """Its pixels there; the windows of a scene's blocks cover it exactly once."""


def usual_side(images: Sequence[SceneInfo]) -> int | None:
    """Pixels that make about 16 blocks of a few scenes; None, whole scenes, of many."""
    if len(images) >= _ENOUGH_SCENES:
        return None
    pixels = sum(image.width * image.height for image in images)
    return max(_SMALLEST, round(sqrt(pixels / _BLOCKS)))


def cut(images: Sequence[SceneInfo], side: int | None) -> list[Block]:
    """Blocks of about `side` x `side` pixels, row by row; None leaves scenes whole."""
    return [
        Block(number, Window(left, top, right - left, bottom - top))
        for number, image in enumerate(images)
        for top, bottom in _spans(image.height, side)
        for left, right in _spans(image.width, side)
    ]


def clipped(index: Index, window: Window) -> Annotations:
    """The parts of annotations that lie in a window of a scene, in pixels of the window."""
    annotations = index.window(window)
    box = (0, 0, window.width, window.height)
    geometry = transformed(
        annotations.geometry, Affine.translation(-window.col_off, -window.row_off)
    )
    across = ~shapely.contains(shapely.box(*box), geometry)
    geometry[across] = shapely.make_valid(
        shapely.clip_by_rect(geometry[across], *box), method="structure", keep_collapsed=False
    )
    return replace(annotations, geometry=geometry)[shapely.area(geometry) > 0]


def footprint(place: Affine, window: Window) -> shapely.Geometry:
    """A window of a scene on the ground, by the scene's transform."""
    w = window
    box = shapely.box(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height)
    return transformed(np.array([box], object), place)[0]


def places(images: Sequence[SceneInfo]) -> list[Affine]:
    """From pixels to a plane on which scenes that say nothing of their place share no ground."""
    left = np.cumsum([0] + [2 * image.width for image in images])
    return [
        Affine.translation(float(x), 0) if image.transform == Affine.identity() else image.transform
        for image, x in zip(images, left, strict=False)
    ]


def groups(footprints: NDArray[np.object_]) -> NDArray[np.intp]:
    """Number of the group that each footprint is in: those that share ground are in the same."""
    group = np.arange(len(footprints))
    area = shapely.area(footprints)
    for one, other in shapely.STRtree(footprints).query(footprints, predicate="intersects").T:
        if one < other and group[one] != group[other]:
            shared = shapely.area(shapely.intersection(footprints[one], footprints[other]))
            if shared > 1e-6 * min(area[one], area[other]):  # neighbours share a border only
                group[group == group[other]] = group[one]
    return np.unique(group, return_inverse=True)[1]


def shares(windows: Sequence[Window], parts: Sequence[Annotations]) -> NDArray[np.float64]:
    """(windows, classes): of each its share of all pixels, and of each class's annotated area."""
    classes = 1 + max((int(part.class_id.max()) for part in parts if len(part)), default=0)
    amount = np.zeros((len(windows), classes))
    for row, (window, part) in enumerate(zip(windows, parts, strict=True)):
        np.add.at(amount[row], part.class_id, shapely.area(part.geometry))
        amount[row, 0] = window.width * window.height
    total = amount.sum(axis=0)
    return amount / np.where(total > 0, total, 1)


def choose(shares: NDArray[np.float64], target: float) -> NDArray[np.bool_]:
    """(n,) True for those rows of `shares` (n, k) whose sum comes near `target` in every column.

    Greedy, and the same every time; at least one, never all, if there are two.
    """
    chosen = np.zeros(len(shares), bool)
    if target <= 0 or len(shares) < 2:
        return chosen
    total = np.zeros(shares.shape[1])
    while chosen.sum() < len(shares) - 1:
        left = ((target - total - shares) ** 2).sum(axis=1)
        left[chosen] = np.inf
        best = int(np.argmin(left))
        if chosen.any() and left[best] >= ((target - total) ** 2).sum():
            break
        chosen[best] = True
        total += shares[best]
    return chosen


def trimmed(
    blocks: Sequence[Block], places: Sequence[Affine], val: Sequence[bool], gap: int
) -> list[Window | None]:
    """Windows of the blocks, those that validate cut back until `gap` pixels of theirs lie between them and
    every other block; None where nothing is left.

    Of the sides that part a block from another, that one is moved which costs fewest pixels.
    """
    windows: list[Window | None] = [block.window for block in blocks]
    others = [n for n, v in enumerate(val) if not v]
    ground = np.array(
        [footprint(places[blocks[n].image], blocks[n].window) for n in others], object
    )
    tree = shapely.STRtree(ground)
    for number, block in enumerate(blocks):
        if not (val[number] and gap):
            continue
        to_pixels = ~places[block.image]
        w = block.window
        wide = Window(w.col_off - gap, w.row_off - gap, w.width + 2 * gap, w.height + 2 * gap)
        near = np.sort(tree.query(footprint(places[block.image], wide)))
        left: Window | None = w
        for bounds in shapely.bounds(transformed(ground[near], to_pixels)).reshape(-1, 4):
            left = left and _away(left, bounds, gap)
        windows[number] = left
    return windows


def _away(window: Window, bounds: NDArray[np.float64], gap: int) -> Window | None:
    """The largest part of a window whose pixels are `gap` or more away from a rectangle."""
    right, bottom = window.col_off + window.width, window.row_off + window.height
    x0, y0 = np.floor(bounds[:2].round(3)).astype(int).tolist()
    x1, y1 = np.ceil(bounds[2:].round(3)).astype(int).tolist()
    box = (window.col_off, window.row_off, right, bottom)
    if x0 - gap >= right or x1 + gap <= box[0] or y0 - gap >= bottom or y1 + gap <= box[1]:
        return window
    parts = [
        (box[0], box[1], min(right, x0 - gap), bottom),
        (max(box[0], x1 + gap), box[1], right, bottom),
        (box[0], box[1], right, min(bottom, y0 - gap)),
        (box[0], max(box[1], y1 + gap), right, bottom),
    ]
    best = max(parts, key=lambda p: max(0, p[2] - p[0]) * max(0, p[3] - p[1]))
    width, height = best[2] - best[0], best[3] - best[1]
    return Window(best[0], best[1], width, height) if min(width, height) > 0 else None


def _spans(length: int, side: int | None) -> list[tuple[int, int]]:
    count = max(1, round(length / side)) if side else 1
    edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
    return list(pairwise(edges))
