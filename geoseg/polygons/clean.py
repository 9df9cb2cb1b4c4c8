"""What is to be done to polygons before they are written, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import BACKGROUND, IGNORE
from geoseg.polygons.attributes import RowArea
from geoseg.polygons.kernels import kernel
from geoseg.polygons.trace import Labels

# Rows that wait until it is known what becomes of them.
#
# Whether a region is too small, or a hole to be filled, shows only when it ends. So a *decision*
# sees a window of rows, changes what is decided, and says how many of the rows may go; the others
# wait for the next strip. That makes the result independent of strips, and the memory that of the
# rows which the regions in question span, not of the scene.

Strip = tuple[Labels, NDArray[np.uint8] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Rows of which some have been waiting."""

    labels: Labels
    """(h, w), to be changed in place."""

    confidence: NDArray[np.uint8] | None

    above: Labels | None
    """(w,) the row before them, as it went; None at the top of the scene."""

    first: int
    """The row of the scene that is the first of them."""

    last: bool
    """The scene ends with them."""


class Decision(Protocol):
    """Changes what can be decided and returns the number of rows that may go."""

    def __call__(self, rows: Waiting) -> int: ...


def held(strips: Iterable[Strip], decide: Decision) -> Iterator[Strip]:
    """Pass strips on after `decide` has changed them, in other heights."""
    labels: Labels | None = None
    confidence: NDArray[np.uint8] | None = None
    above: Labels | None = None
    first = 0
    for more, sureness in strips:
        labels = more.copy() if labels is None else np.concatenate([labels, more])
        if sureness is not None:
            waiting = [] if confidence is None else [confidence]
            confidence = np.concatenate([*waiting, sureness])
        go = decide(Waiting(labels, confidence, above, first, last=False))
        if go:
            yield labels[:go], None if confidence is None else confidence[:go]
            above = labels[go - 1].copy()
            labels = labels[go:].copy()
            confidence = None if confidence is None else confidence[go:].copy()
            first += go
    if labels is not None and len(labels):
        decide(Waiting(labels, confidence, above, first, last=True))
        yield labels, confidence


# Connected regions in a window of labels: numbered, counted and measured.

MANY = -2
"""Stands for the class around a hole that several classes surround."""


class Regions(NamedTuple):
    """n regions of a window; number 0 is all that belongs to none."""

    ids: NDArray[np.int32]
    """(h, w) number of the region of each pixel, 0 for none."""

    pixels: NDArray[np.int64]
    """(n + 1,)"""

    area: NDArray[np.float64]
    """(n + 1,) sum of the areas of their pixels."""

    box: NDArray[np.int64]
    """(n + 1, 4) first row, last row, first column, last column."""

    around: NDArray[np.int64]
    """(n + 1,) holes: the label that surrounds them, MANY for several, -1 for none; else -1."""


def find_regions(labels: Labels, row_area: NDArray[np.float64]) -> Regions:
    """The 4-connected regions of equal label; row_area: (h,) area of a pixel in each row.

    Background, 255 and labels above 255 belong to none.
    """
    return Regions(*number(np.ascontiguousarray(labels, np.uint16), row_area, False))


def find_holes(labels: Labels) -> Regions:
    """The 8-connected regions of background and 255, and what surrounds them."""
    rows = np.ones(len(labels))
    found = Regions(*number(np.ascontiguousarray(labels, np.uint16), rows, True))
    surround(np.ascontiguousarray(labels, np.uint16), found.ids, found.around)
    return found


@kernel
def root_of(parents: NDArray[np.int32], region: int) -> int:
    while parents[region] != region:
        parents[region] = parents[parents[region]]
        region = parents[region]
    return region


@kernel
def number(
    labels: NDArray[np.uint16], row_area: NDArray[np.float64], holes: bool
) -> tuple[
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
]:
    """Number regions in the order of their first pixels, row by row -> the fields of Regions."""
    height, width = labels.shape
    ids = np.zeros((height, width), np.int32)
    parents = np.zeros(1 << 12, np.int32)
    used = 1
    for y in range(height):
        if used + width > len(parents):
            longer = np.zeros(max(used + width, len(parents) * 2), np.int32)
            longer[:used] = parents[:used]
            parents = longer
        for x in range(width):
            value = labels[y, x]
            nothing = value == 0 or value >= 255
            if nothing != holes or value > 255:
                continue
            region = 0
            if x > 0 and ids[y, x - 1] and (holes or labels[y, x - 1] == value):
                region = root_of(parents, ids[y, x - 1])
            if y > 0:
                for k in range(max(0, x - 1), min(width, x + 2)):
                    if not ids[y - 1, k] or (k != x and not holes):
                        continue
                    if holes or labels[y - 1, k] == value:
                        other = root_of(parents, ids[y - 1, k])
                        if region and other != region:
                            region, other = min(region, other), max(region, other)
                            parents[other] = region
                        region = region if region else other
            if not region:
                region = used
                parents[region] = region
                used += 1
            ids[y, x] = region
    final = np.zeros(used, np.int32)
    n = 0
    for region in range(1, used):
        if parents[region] == region:
            n += 1
            final[region] = n
        else:
            final[region] = final[root_of(parents, region)]
    pixels, area = np.zeros(n + 1, np.int64), np.zeros(n + 1)
    box = np.zeros((n + 1, 4), np.int64)
    for y in range(height):
        for x in range(width):
            region = final[ids[y, x]]
            ids[y, x] = region
            if not region:
                continue
            if not pixels[region]:
                box[region, 0], box[region, 2], box[region, 3] = y, x, x
            pixels[region] += 1
            area[region] += row_area[y]
            box[region, 1] = y
            box[region, 2] = min(box[region, 2], x)
            box[region, 3] = max(box[region, 3], x)
    return ids, pixels, area, box, np.full(n + 1, -1, np.int64)


@kernel
def surround(labels: NDArray[np.uint16], ids: NDArray[np.int32], around: NDArray[np.int64]) -> None:
    """Fill `around` with the labels of the 4 neighbours of each hole's pixels."""
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            if not ids[y, x]:
                continue
            for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                row, column = y + down, x + right
                if 0 <= row < height and 0 <= column < width and not ids[row, column]:
                    hole = ids[y, x]
                    if around[hole] == -1:
                        around[hole] = labels[row, column]
                    elif around[hole] != labels[row, column]:
                        around[hole] = -2


# What is too small goes: regions become background, holes become what surrounds them.

_ROUNDING = 1e-9


def drop_small(min_pixels: int, min_area_m2: float, row_area: RowArea) -> Decision:
    """Regions of fewer pixels or a smaller area become background."""

    def decide(rows: Waiting) -> int:
        labels = rows.labels
        regions = find_regions(labels, row_area(rows.first, len(labels)))
        small = (regions.pixels < min_pixels) | (regions.area < min_area_m2 * (1 - _ROUNDING))
        small[0] = False
        if rows.above is not None:  # what has gone on from there was large enough
            small[regions.ids[0][labels[0] == rows.above]] = False
        go = len(labels)
        if not rows.last:
            unfinished = np.unique(regions.ids[-1])
            unfinished = unfinished[small[unfinished]]
            go = int(regions.box[unfinished, 0].min(initial=go))
            small[unfinished] = False
        labels[small[regions.ids]] = BACKGROUND
        return go

    return decide


def fill_holes(largest: int) -> Decision:
    """Holes of up to so many pixels, in one class, become that class."""

    def decide(rows: Waiting) -> int:
        labels = rows.labels
        # the row above takes part, so that what surrounds is known
        shift = 0 if rows.above is None else 1
        window = labels if rows.above is None else np.concatenate([rows.above[None], labels])
        holes = find_holes(window)
        fill = (holes.pixels <= largest) & (holes.around > 0)
        fill[0] = False
        edges = [holes.ids[:, 0], holes.ids[:, -1], holes.ids[0]]  # a hole from above was left
        for edge in edges if not rows.last else [*edges, holes.ids[-1]]:
            fill[edge] = False
        go = len(labels)
        if not rows.last:
            open_ones = np.unique(holes.ids[-1])
            may_close = (holes.pixels <= largest) & (holes.around != -2)
            for edge in edges:
                may_close[edge] = False
            may_close[0] = False
            waiting = open_ones[may_close[open_ones]]
            go = int((holes.box[waiting, 0] - shift).min(initial=go))
            fill[open_ones] = False
        filled = fill[holes.ids[shift:]]
        labels[filled] = holes.around[holes.ids[shift:][filled]]
        if rows.confidence is not None:
            rows.confidence[filled] = IGNORE  # it was that of something else
        return go

    return decide
