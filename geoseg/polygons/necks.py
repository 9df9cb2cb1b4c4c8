"""Split merged objects of one class at narrow necks, by a watershed of the distance transform.

The distance of a region's pixels from its border has a maximum in the middle of each object and a saddle in the neck
between two. The region is flooded from the maxima down; two floods that meet stay separate if the neck is narrow: its
half width at most `NECK` times the lower maximum. This separates parked cars that touch in a corner, but not those
that touch along a whole side.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.clean import BufferedRows, Regions, find_regions
from geoseg.polygons.kernels import PART, kernel
from geoseg.polygons.trace import Labels

NECK = 0.7
"""Largest ratio of the half widths of a neck and of the narrower object."""

NARROWEST = 2.0
"""Smallest half width of an object in pixels."""

LARGEST = 1024
"""Largest number of rows or columns of a region that is split, and number of rows that are buffered."""


def split_objects(rows: BufferedRows) -> int:
    """Replace the uint16 labels of the parts of split regions by their class plus a multiple of PART.

    A `geoseg.polygons.clean.RowFilter`.
    """
    labels = rows.labels
    regions = find_regions(labels, np.ones(len(labels)))
    height = regions.box[:, 1] - regions.box[:, 0] + 1
    candidate = (height <= LARGEST) & (regions.box[:, 3] - regions.box[:, 2] < LARGEST)
    candidate[0] = False
    if rows.above is not None:  # regions that continue from there were decided
        candidate[regions.ids[0][labels[0] == rows.above]] = False
    final = len(labels)
    if not rows.last:
        open_regions = np.unique(regions.ids[-1])
        pending = open_regions[candidate[open_regions]]
        final = int(regions.box[pending, 0].min(initial=final))
        # a region that is too wide stays too wide
        candidate[open_regions] = False
    large = regions.pixels >= 2 * 5 * NARROWEST**2  # two of the narrowest objects, about round
    for region in np.flatnonzero(candidate & large):
        _split(labels, regions, int(region))
    return final


def _split(labels: Labels, regions: Regions, region: int) -> None:
    top, bottom, left, right = regions.box[region].tolist()
    window = np.s_[top : bottom + 1, left : right + 1]
    inside = regions.ids[window] == region
    if inside.all():
        return
    parts = split_region(inside)
    if parts.max() > 1:
        labels[window][inside] += (PART * colour_parts(parts)[parts])[inside].astype(np.uint16)


def split_region(inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return (h, w) numbers, from 1, of the part of each pixel of a region; 0 outside."""
    framed = np.zeros((inside.shape[0] + 2, inside.shape[1] + 2), np.uint8)
    framed[1:-1, 1:-1] = inside
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    squared = np.round(distance.astype(np.float64) ** 2).astype(np.int64)
    order = np.argsort(-squared.ravel(), kind="stable")[: np.count_nonzero(inside)]
    return flood(squared, order, NECK, NARROWEST)[1:-1, 1:-1]


@kernel
def flood(
    squared: NDArray[np.int64], order: NDArray[np.int64], neck: float, narrowest: float
) -> NDArray[np.int32]:
    """Flood a region from its maxima down; return the number of the part of each pixel.

    squared: squared distances of pixel centres from the nearest one outside; order: pixels, the largest first.
    """
    width = squared.shape[1]
    heights = (
        np.sqrt(squared.ravel()) - 0.5
    )  # distance from the border, half-way between the two centres
    part = np.zeros(squared.size, np.int32)
    parents, tops = np.zeros(len(order) + 1, np.int32), np.zeros(len(order) + 1)
    used = 1
    for pixel in order:
        height = heights[pixel]
        mine = 0
        for step in (-width, -1, 1, width):
            other = part[pixel + step]
            if not other:
                continue
            while parents[other] != other:
                parents[other] = parents[parents[other]]
                other = parents[other]
            if not mine or mine == other:
                mine = other
                continue
            lower = min(tops[mine], tops[other])
            if lower < narrowest or height > neck * lower:
                first, second = min(mine, other), max(mine, other)
                parents[second] = first
                tops[first] = max(tops[mine], tops[other])
                mine = first
            elif tops[other] > tops[mine]:
                mine = other
        if not mine:
            mine = used
            parents[used], tops[used] = used, height
            used += 1
        part[pixel] = mine
    numbers = np.zeros(used, np.int32)
    n = 0
    for pixel in range(part.size):
        root = part[pixel]
        if root:
            while parents[root] != root:
                root = parents[root]
            if not numbers[root]:
                n += 1
                numbers[root] = n
            part[pixel] = numbers[root]
    return part.reshape(squared.shape)


def colour_parts(parts: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return (parts + 1,) numbers from 1 that differ between neighbouring parts (greedy colouring)."""
    near: list[set[int]] = [set() for _ in range(parts.max() + 1)]
    for one, other in ((parts[:, 1:], parts[:, :-1]), (parts[1:], parts[:-1])):
        meet = (one != other) & (one > 0) & (other > 0)
        for a, b in zip(one[meet].tolist(), other[meet].tolist(), strict=True):
            near[a].add(b)
            near[b].add(a)
    found = np.zeros(len(near), np.int64)
    for label_regions in range(1, len(near)):
        taken = {int(found[other]) for other in near[label_regions]}
        found[label_regions] = next(c for c in range(1, len(near) + 1) if c not in taken)
    return found
