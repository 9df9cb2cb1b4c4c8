"""Filters of label rows: discard small regions, fill holes, with bounded memory.

Whether a region is too small, or a hole is to be filled, is known when it ends. So a filter gets a window of rows,
changes what can be decided, and returns how many rows are final; the others are buffered until the next strip. The
result does not depend on the strips, and memory is that of the rows which the regions in question span.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import BACKGROUND, IGNORE
from geoseg.polygons.attributes import RowArea
from geoseg.polygons.kernels import kernel
from geoseg.polygons.trace import Labels, Strip

SEVERAL = -2
"""Surrounding label of a hole that several classes surround."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class BufferedRows:
    """Rows of a scene that are not final yet."""

    labels: Labels
    """(h, w), changed in place."""

    confidence: NDArray[np.uint8] | None
    """(h, w), changed in place."""

    above: Labels | None
    """(w,) the final row above them; None at the top of the scene."""

    first: int
    """Row of the scene of the first of them."""

    last: bool
    """True if they end at the bottom of the scene."""


class RowFilter(Protocol):
    """Change what can be decided, and return the number of rows that are final."""

    def __call__(self, rows: BufferedRows) -> int: ...


def filter_rows(strips: Iterable[Strip], row_filter: RowFilter) -> Iterator[Strip]:
    """Yield strips, of other heights, that `row_filter` has changed."""
    labels: Labels | None = None
    confidence: NDArray[np.uint8] | None = None
    above: Labels | None = None
    first = 0
    for more, more_confidence in strips:
        labels = more.copy() if labels is None else np.concatenate([labels, more])
        if more_confidence is not None:
            pending = [] if confidence is None else [confidence]
            confidence = np.concatenate([*pending, more_confidence])
        final = row_filter(BufferedRows(labels, confidence, above, first, last=False))
        if final:
            yield labels[:final], None if confidence is None else confidence[:final]
            above = labels[final - 1].copy()
            labels = labels[final:].copy()
            confidence = None if confidence is None else confidence[final:].copy()
            first += final
    if labels is not None and len(labels):
        row_filter(BufferedRows(labels, confidence, above, first, last=True))
        yield labels, confidence


@dataclass(frozen=True, slots=True)
class SmallRegionFilter:
    """Replace regions of fewer pixels, or of a smaller area, by background."""

    min_pixels: int

    min_area_m2: float

    row_area: RowArea

    def __call__(self, rows: BufferedRows) -> int:
        labels = rows.labels
        regions = find_regions(labels, self.row_area(rows.first, len(labels)))
        small = regions.pixels < self.min_pixels
        small |= regions.area < self.min_area_m2 * (1 - _ROUNDING)
        small[0] = False
        if rows.above is not None:  # regions that continue from there were large enough
            small[regions.ids[0][labels[0] == rows.above]] = False
        final = len(labels)
        if not rows.last:
            open_regions = np.unique(regions.ids[-1])
            open_regions = open_regions[small[open_regions]]
            final = int(regions.box[open_regions, 0].min(initial=final))
            small[open_regions] = False
        labels[small[regions.ids]] = BACKGROUND
        return final


@dataclass(frozen=True, slots=True)
class HoleFilter:
    """Fill holes of up to `max_pixels` pixels with the class or object that alone surrounds them."""

    max_pixels: int

    def __call__(self, rows: BufferedRows) -> int:
        labels = rows.labels
        # the row above takes part, as it may surround
        shift = 0 if rows.above is None else 1
        window = labels if rows.above is None else np.concatenate([rows.above[None], labels])
        holes = find_holes(window)
        final, fill = self._choose(holes, shift, height=len(labels), last=rows.last)
        filled = fill[holes.ids[shift:]]
        labels[filled] = holes.around[holes.ids[shift:][filled]]
        if rows.confidence is not None:
            rows.confidence[filled] = IGNORE  # it belonged to another class
        return final

    def _choose(
        self, holes: Regions, shift: int, *, height: int, last: bool
    ) -> tuple[int, NDArray[np.bool_]]:
        """Return the number of final rows, and (n + 1,) True for holes to fill."""
        small = holes.pixels <= self.max_pixels
        fill = small & (holes.around > 0)
        may_close = small & (holes.around != SEVERAL)
        fill[0] = may_close[0] = False
        for edge in (holes.ids[:, 0], holes.ids[:, -1], holes.ids[0]):  # those from above were kept
            fill[edge] = may_close[edge] = False
        open_holes = np.unique(holes.ids[-1])
        fill[open_holes] = False
        if last:
            return height, fill
        pending = open_holes[may_close[open_holes]]
        return int((holes.box[pending, 0] - shift).min(initial=height)), fill


# Connected components of a window


class Regions(NamedTuple):
    """n regions of a window; number 0 is all pixels of none."""

    ids: NDArray[np.int32]
    """(h, w) number of the region of each pixel, 0 for none."""

    pixels: NDArray[np.int64]
    """(n + 1,) numbers of pixels."""

    area: NDArray[np.float64]
    """(n + 1,) sums of the areas of their pixels."""

    box: NDArray[np.int64]
    """(n + 1, 4) first row, last row, first column, last column."""

    around: NDArray[np.int64]
    """(n + 1,) label or ID that surrounds a hole, SEVERAL, or -1 for none; -1 for regions."""


def find_regions(labels: Labels, row_area: NDArray[np.float64]) -> Regions:
    """Find the 4-connected regions of equal label.

    Parameters
    ----------
    labels
        (h, w). Background, 255 and labels above 255 belong to no region.
    row_area
        (h,) area of a pixel in each row.
    """
    return _measure(np.ascontiguousarray(labels, np.uint16), row_area, holes=False)


def find_holes(labels: Labels) -> Regions:
    """Find the 8-connected regions of background and 255, or of ID 0, and what surrounds them."""
    wide = np.ascontiguousarray(labels, np.uint32)
    of_objects = labels.dtype == np.uint32
    solid = np.ascontiguousarray(labels > 0 if of_objects else labels, np.uint16)
    found = _measure(solid, np.ones(len(labels)), holes=True)
    find_surrounding(wide, found.ids, found.around)
    return found


def _measure(labels: NDArray[np.uint16], row_area: NDArray[np.float64], *, holes: bool) -> Regions:
    ids, parents = connect_pixels(labels, holes)
    return Regions(ids, *measure_regions(ids, parents, row_area))


@kernel
def find_root(parents: NDArray[np.int32], region: int) -> int:
    while parents[region] != region:
        parents[region] = parents[parents[region]]
        region = parents[region]
    return region


@kernel
def connect_pixels(
    labels: NDArray[np.uint16], holes: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return (h, w) provisional numbers of regions, and the parent of each number."""
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
            empty = value == 0 or value >= 255
            if empty != holes or value > 255:
                continue
            region = 0
            if x > 0 and ids[y, x - 1] and (holes or labels[y, x - 1] == value):
                region = find_root(parents, ids[y, x - 1])
            if y > 0:
                for k in range(max(0, x - 1), min(width, x + 2)):
                    if not ids[y - 1, k] or (k != x and not holes):
                        continue
                    if holes or labels[y - 1, k] == value:
                        other = find_root(parents, ids[y - 1, k])
                        if region and other != region:
                            region, other = min(region, other), max(region, other)
                            parents[other] = region
                        region = region if region else other
            if not region:
                region = used
                parents[region] = region
                used += 1
            ids[y, x] = region
    return ids, parents[:used]


@kernel
def measure_regions(
    ids: NDArray[np.int32], parents: NDArray[np.int32], row_area: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Number `ids` in the order of first pixels, row by row; return the other fields of Regions."""
    final = np.zeros(len(parents), np.int32)
    n = 0
    for region in range(1, len(parents)):
        if parents[region] == region:
            n += 1
            final[region] = n
        else:
            final[region] = final[find_root(parents, region)]
    pixels, area = np.zeros(n + 1, np.int64), np.zeros(n + 1)
    box = np.zeros((n + 1, 4), np.int64)
    height, width = ids.shape
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
    return pixels, area, box, np.full(n + 1, -1, np.int64)


@kernel
def find_surrounding(
    labels: NDArray[np.uint32], ids: NDArray[np.int32], around: NDArray[np.int64]
) -> None:
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
                        around[hole] = SEVERAL
