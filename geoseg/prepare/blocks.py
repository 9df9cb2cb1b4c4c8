"""Scenes cut into blocks, and which of these validate: no pixel of the ground is in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.dataset import transformed
from geoseg.prepare.drawn import Drawn
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


def clipped(drawn: Drawn, window: Window) -> Drawn:
    """What was drawn in a window of a scene, in pixels of the window."""
    box = (0, 0, window.width, window.height)
    geometry = transformed(drawn.geometry, Affine.translation(-window.col_off, -window.row_off))
    here = np.flatnonzero(shapely.intersects(geometry, shapely.box(*box)))
    parts = shapely.make_valid(
        shapely.clip_by_rect(geometry[here], *box), method="structure", keep_collapsed=False
    )
    some = shapely.area(parts) > 0
    here, parts = here[some], parts[some]
    return Drawn(parts, drawn.name[here], drawn.difficult[here])


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


def shares(blocks: Sequence[Block], parts: Sequence[Drawn]) -> NDArray[np.float64]:
    """(blocks, 1 + classes): of each block its share of all pixels, and of each class's annotated area."""
    names = sorted({name for part in parts for name in part.name})
    amount = np.zeros((len(blocks), 1 + len(names)))
    for row, (block, part) in enumerate(zip(blocks, parts, strict=True)):
        amount[row, 0] = block.window.width * block.window.height
        np.add.at(
            amount[row],
            [1 + names.index(name) for name in part.name],
            shapely.area(part.geometry),
        )
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


def _spans(length: int, side: int | None) -> list[tuple[int, int]]:
    count = max(1, round(length / side)) if side else 1
    edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
    return list(pairwise(edges))
