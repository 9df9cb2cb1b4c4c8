"""Objects that have grown together, separated at their necks.

The distance of every pixel of a region from its border has a top in the middle of each object and
a saddle in the neck between two. The region is flooded from its tops down (a watershed); where
two floods meet, they stay apart if the neck is narrow: its half width less than `NECK` of the
lower top. So parked cars that touch in a corner come apart, but not those that touch along a
whole side, which no border tells apart.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.clean import Regions, Waiting, find_regions
from geoseg.polygons.kernels import PART, kernel
from geoseg.polygons.trace import Labels

NECK = 0.7
"""Half width of a neck by that of the narrower object, at most."""

NARROWEST = 2.0
"""Half width, in pixels, of an object at least."""

LARGEST = 1024
"""Regions of more rows or columns are no row of parked cars, and stay whole: so many rows wait."""


def split_objects(rows: Waiting) -> int:
    """Give the parts of split regions labels of their own: their class and a multiple of PART.

    The labels are uint16. A decision of `held`.
    """
    labels = rows.labels
    regions = find_regions(labels, np.ones(len(labels)))
    height = regions.box[:, 1] - regions.box[:, 0] + 1
    candidate = (height <= LARGEST) & (regions.box[:, 3] - regions.box[:, 2] < LARGEST)
    candidate[0] = False
    if rows.above is not None:  # what has gone on from there was decided
        candidate[regions.ids[0][labels[0] == rows.above]] = False
    go = len(labels)
    if not rows.last:
        unfinished = np.unique(regions.ids[-1])
        waiting = unfinished[candidate[unfinished]]
        go = int(regions.box[waiting, 0].min(initial=go))
        # one too wide so far stays too wide
        candidate[unfinished] = False
    large = regions.pixels >= 2 * 5 * NARROWEST**2  # two discs of the narrowest objects
    for region in np.flatnonzero(candidate & large):
        _split(labels, regions, int(region))
    return go


def _split(labels: Labels, regions: Regions, region: int) -> None:
    top, bottom, left, right = regions.box[region].tolist()
    window = np.s_[top : bottom + 1, left : right + 1]
    inside = regions.ids[window] == region
    if inside.all():
        return
    parts = parts_of(inside)
    if parts.max() > 1:
        labels[window][inside] += (PART * colours(parts)[parts])[inside].astype(np.uint16)


def parts_of(inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(h, w) number of the part, from 1, to which each pixel of a region belongs; 0 outside."""
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
    """Flood from the tops down -> numbers of the parts.

    squared: distances of pixel centres from the nearest one outside; order: pixels by these.
    """
    width = squared.shape[1]
    heights = np.sqrt(squared.ravel()) - 0.5  # from the border, which is between the two
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


def colours(parts: NDArray[np.int32]) -> NDArray[np.int64]:
    """(parts + 1,) a number from 1 for each part, other than those of its neighbours."""
    near: list[set[int]] = [set() for _ in range(parts.max() + 1)]
    for one, other in ((parts[:, 1:], parts[:, :-1]), (parts[1:], parts[:-1])):
        meet = (one != other) & (one > 0) & (other > 0)
        for a, b in zip(one[meet].tolist(), other[meet].tolist(), strict=True):
            near[a].add(b)
            near[b].add(a)
    found = np.zeros(len(near), np.int64)
    for number in range(1, len(near)):
        taken = {int(found[other]) for other in near[number]}
        found[number] = next(c for c in range(1, len(near) + 1) if c not in taken)
    return found
