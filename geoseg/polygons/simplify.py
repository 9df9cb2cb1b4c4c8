"""Simplify and round outlines so that shared borders stay shared, one polygon at a time.

Outlines are cut into arcs at their *nodes*, where three or four of them meet. Nodes are kept, and the result for an
arc is a function of the arc and of the traced corners of all outlines (`CornerIndex`), not of other results. So both
neighbours get the same border, in any order and from any strips; `shapely.coverage_simplify`, whose method and unit
these are, needs all polygons at once.

Notes
-----
**Simplify** (Visvalingam and Whyatt 1993): the corner with the smallest triangle is removed while that is small
enough, unless the triangle contains a corner of any traced outline other than those of this arc that were removed
before. Outlines only lose corners, so no other outline has a corner in the triangle, and none can cross the new side.
An arc without corners becomes the straight line between its nodes; of several arcs between two nodes, at most the one
on the left may.

**Smooth**: a corner is replaced by a parabola in its triangle, which cuts the two lines that meet there at most
half-way, if the triangle contains no corner of another outline. Such triangles do not overlap, for the same reason,
so the curves do not cross.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import ceil, floor, hypot

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.kernels import kernel
from geoseg.polygons.trace import SKIP, Labels, PolygonBatch, Strip, region_values

_BORDER = 2**32 - 1  # value around the scene

_ROWS = 64  # indexed at once


class CornerIndex:
    """Corners of all outlines in a range of row lines, as bits.

    Two bits per corner of the pixel grid, from the row at which the oldest open polygon begins to the last row read:
    a quarter of a byte per pixel.
    """

    def __init__(self, skip: tuple[int, ...] = SKIP) -> None:
        self.first = 0
        """First row line in the index."""
        self.lines = 0
        """First row line after the index."""
        self.corners = np.zeros((0, 0), np.uint8)
        """(lines - first, bytes) bits of corners, where an outline turns or meets another."""
        self.nodes = np.zeros((0, 0), np.uint8)
        """(lines - first, bytes) bits of nodes, where three or four outlines meet, and of the scene's corners."""
        self._above = np.zeros(0, np.uint32)
        self._values = region_values(skip)

    def index_strips(self, strips: Iterable[Strip]) -> Iterator[Strip]:
        """Yield `strips` after their corners are in the index."""
        for labels, confidence in strips:
            for top in range(0, len(labels), _ROWS):
                self._add(labels[top : top + _ROWS])
            yield labels, confidence
        if len(self._above):
            self._add(np.full((1, len(self._above) - 2), _BORDER, np.uint32))
            self.nodes[self.lines - 1 - self.first, :] |= self._ends()

    def drop_above(self, line: int) -> None:
        """Free the memory of row lines above `line`."""
        drop = min(line, self.lines) - self.first
        if drop > (self.lines - self.first) // 2:
            self.corners = self.corners[drop:].copy()
            self.nodes = self.nodes[drop:].copy()
            self.first += drop

    def _add(self, labels: Labels) -> None:
        rows, width = labels.shape
        if not self.lines:
            self._above = np.full(width + 2, _BORDER, np.uint32)
            self.corners, self.nodes = np.zeros((2, 0, width // 8 + 1), np.uint8)
        stack = np.full((rows + 1, width + 2), _BORDER, np.uint32)
        stack[0] = self._above
        stack[1:, 1:-1] = labels if labels.dtype == np.uint32 else self._values[labels]
        known = self.lines - self.first
        self.corners = _grow(self.corners, known, rows)
        self.nodes = _grow(self.nodes, known, rows)
        mark_corners(stack, self.corners[known : known + rows], self.nodes[known : known + rows])
        if not self.lines:
            self.nodes[0] |= self._ends()
        self._above = stack[-1].copy()
        self.lines += rows

    def _ends(self) -> NDArray[np.uint8]:
        """Return the bits of the first and the last corner of a row line."""
        width = len(self._above) - 2
        bits = np.zeros(width + 1, bool)
        bits[[0, width]] = True
        return np.packbits(bits, bitorder="little")


def _grow(table: NDArray[np.uint8], used: int, more: int) -> NDArray[np.uint8]:
    """Return a table with room for more rows, zero, after those in use."""
    if used + more <= len(table):
        return table
    longer = np.zeros((max(used + more, used * 5 // 4), table.shape[1]), np.uint8)
    longer[:used] = table[:used]
    return longer


@kernel
def mark_corners(
    labels: NDArray[np.uint32], corners: NDArray[np.uint8], nodes: NDArray[np.uint8]
) -> None:
    """Set the bits of the row lines between the rows of `labels` (rows + 1, columns + 2)."""
    for row in range(len(labels) - 1):
        above, below = labels[row], labels[row + 1]
        for x in range(len(above) - 1):
            a, b, c, d = above[x], above[x + 1], below[x], below[x + 1]
            if a == b and c == d:
                continue
            up, down, left, right = a != b, c != d, a != c, b != d
            edges = up + down + left + right
            if edges > 2 or up != down:
                corners[row, x >> 3] |= np.uint8(1 << (x & 7))
            if edges > 2:
                nodes[row, x >> 3] |= np.uint8(1 << (x & 7))


Bits = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@kernel
def is_set(bits: Bits, line: int, x: int) -> bool:
    return bool((bits[line, x >> 3] >> (x & 7)) & 1)


@kernel
def is_arc_point(points: Ints, begin: int, end: int, skip: int, x: int, y: int) -> bool:
    """Return True if (x, y) is a point of the arc strictly between `begin` and `end`, other than `skip`."""
    k = (begin + 1) % len(points)
    while k != end:
        if k != skip and points[k, 0] == x and points[k, 1] == y:
            return True
        k = (k + 1) % len(points)
    return False


@kernel
def is_free(
    triangle: Floats, bits: Bits, first: int, points: Ints, before: int, corner: int, after: int
) -> bool:
    """Return True if the closed triangle (3, 2) contains no corner of an outline, other than the arc's points
    `before`, `corner` and `after` and those removed between them."""
    top, bottom = ceil(triangle[:, 1].min()), floor(triangle[:, 1].max())
    for y in range(top, bottom + 1):
        left, right = np.inf, -np.inf
        for k in range(3):
            x0, y0 = triangle[k]
            x1, y1 = triangle[(k + 1) % 3]
            if min(y0, y1) <= y <= max(y0, y1):
                if y0 == y1:
                    left, right = min(left, x0, x1), max(right, x0, x1)
                else:
                    x = x0 + (x1 - x0) * ((y - y0) / (y1 - y0))
                    left, right = min(left, x), max(right, x)
        for x in range(ceil(left - 1e-6), floor(right + 1e-6) + 1):
            if not is_set(bits, y - first, x):
                continue
            own = False
            for k in (before, corner, after):
                own = own or (points[k, 0] == x and points[k, 1] == y)
            if not (own or is_arc_point(points, before, after, corner, x, y)):
                return False
    return True


@kernel
def cross(points: Ints, i: int, j: int, k: int) -> int:
    """Return twice the signed area of a triangle; positive if it is clockwise on the screen."""
    return int(
        (points[j, 0] - points[i, 0]) * (points[k, 1] - points[i, 1])
        - (points[k, 0] - points[i, 0]) * (points[j, 1] - points[i, 1])
    )


@kernel
def may_become_straight(points: Ints, corner: int) -> bool:
    """Return True if an open arc may lose its last corner: at most one of all arcs between two nodes."""
    end = len(points) - 1
    (x0, y0), (x1, y1) = points[0], points[end]
    if x0 == x1 or y0 == y1:  # a straight border may exist already
        return False
    side = cross(points, 0, end, corner)
    return side > 0 if (y0, x0) < (y1, x1) else side < 0


@kernel
def simplify_arc(
    points: Ints, closed: bool, limit: int, bits: Bits, first: int, before: Ints, after: Ints
) -> None:
    """Remove corners of an arc; `before` and `after` link those that are kept.

    points: (n, 2), including both nodes; a closed arc has no node, and no point twice. limit: twice the area of the
    largest triangle to remove.
    """
    n = len(points)
    before[:n] = np.arange(-1, n - 1)
    after[:n] = np.arange(1, n + 1)
    before[0], after[n - 1] = n - 1, 0
    loop = points[0, 0] == points[n - 1, 0] and points[0, 1] == points[n - 1, 1]
    left = n if closed else n - 2
    fewest = 3 if closed else 2 if loop else 0
    heap = [(0, 0, 0, 0) for _ in range(0)]
    for k in range(0 if closed else 1, n if closed else n - 1):
        area = abs(cross(points, before[k], k, after[k]))
        if area <= limit:
            heapq.heappush(heap, (area, int(points[k, 1]), int(points[k, 0]), k))
    triangle = np.empty((3, 2))
    while len(heap) > 0 and left > fewest:
        area, _, _, k = heapq.heappop(heap)
        i, j = before[k], after[k]
        if i == j or after[i] != k or area != abs(cross(points, i, k, j)):
            continue  # removed, or its neighbours have changed
        if left == 1 and not closed and not may_become_straight(points, k):
            continue
        triangle[0], triangle[1], triangle[2] = points[i], points[k], points[j]
        if not is_free(triangle, bits, first, points, i, k, j):
            continue
        after[i], before[j] = j, i
        left -= 1
        for m in (i, j):
            if closed or 0 < m < n - 1:
                area = abs(cross(points, before[m], m, after[m]))
                if area <= limit:
                    heapq.heappush(heap, (area, int(points[m, 1]), int(points[m, 0]), int(m)))


@kernel
def append_point(out: Floats, at: int, start: int, x: float, y: float) -> int:
    """Append a point unless it repeats the last one since `start`; return the next index."""
    if at > start and out[at - 1, 0] == x and out[at - 1, 1] == y:
        return at
    out[at, 0], out[at, 1] = x, y
    return at + 1


@kernel
def append_rounded(
    points: Ints, i: int, k: int, j: int, radius: float, bits: Bits, first: int,
    out: Floats, at: int, start: int,
) -> int:  # fmt: skip
    """Append the corner k between i and j as a curve; return the next index.

    All sums are equal, to the last bit, in the other direction of the arc.
    """
    x, y = float(points[k, 0]), float(points[k, 1])
    in_x, in_y = points[i, 0] - x, points[i, 1] - y
    out_x, out_y = points[j, 0] - x, points[j, 1] - y
    triangle = np.empty((3, 2))
    reach = radius
    for _ in range(4):
        share_in = min(0.5, reach / hypot(in_x, in_y))
        share_out = min(0.5, reach / hypot(out_x, out_y))
        triangle[0, 0], triangle[0, 1] = x + in_x * share_in, y + in_y * share_in
        triangle[1, 0], triangle[1, 1] = x, y
        triangle[2, 0], triangle[2, 1] = x + out_x * share_out, y + out_y * share_out
        if is_free(triangle, bits, first, points, i, k, j):
            break
        reach /= 2
    else:
        return append_point(out, at, start, x, y)
    at = append_point(out, at, start, triangle[0, 0], triangle[0, 1])
    steps = 2 if reach <= 1 else 4
    for step in range(1, steps):
        t = step / steps
        u = (steps - step) / steps
        curve_x = (u * u * triangle[0, 0] + t * t * triangle[2, 0]) + 2 * (t * u) * x
        curve_y = (u * u * triangle[0, 1] + t * t * triangle[2, 1]) + 2 * (t * u) * y
        at = append_point(out, at, start, curve_x, curve_y)
    return append_point(out, at, start, triangle[2, 0], triangle[2, 1])


@kernel
def append_arc(
    points: Ints, closed: bool, radius: float, bits: Bits, first: int, before: Ints,
    after: Ints, out: Floats, at: int, start: int,
) -> int:  # fmt: skip
    """Append the kept points of an arc without its last node; return the next index."""
    k, n = 0, len(points)
    if closed:
        while after[before[k]] != k:  # the first corner may be removed
            k += 1
    begin = k
    while True:
        if radius > 0 and (closed or k > 0):
            at = append_rounded(points, before[k], k, after[k], radius, bits, first, out, at, start)
        else:
            at = append_point(out, at, start, float(points[k, 0]), float(points[k, 1]))
        k = after[k]
        if k == (begin if closed else n - 1):
            return at


@kernel
def reshape_rings(
    xy: NDArray[np.int32] | Floats, ring_offsets: Ints, corners: Bits, nodes: Bits, first: int,
    limit: int, radius: float, out: Floats, out_offsets: Ints,
) -> None:  # fmt: skip
    """Write every ring of `xy`, simplified and rounded, to `out`.

    corners, nodes: bits of the row lines from `first` on. limit: see `simplify_arc`. radius: pixels before a corner
    at which rounding begins, 0 for none.
    """
    at = 0
    for ring in range(len(ring_offsets) - 1):
        begin, n = ring_offsets[ring], ring_offsets[ring + 1] - 1 - ring_offsets[ring]
        start = at
        arc = np.empty((n + 1, 2), np.int64)
        before, after = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
        node = 0
        while node < n and not is_set(nodes, xy[begin + node, 1] - first, xy[begin + node, 0]):
            node += 1
        closed = node == n
        length = 0
        for step in range(n if closed else n + 1):
            k = begin + (node + step) % n
            arc[length, 0], arc[length, 1] = xy[k, 0], xy[k, 1]
            length += 1
            whole = step == n - 1
            if not closed:
                whole = step > 0 and is_set(nodes, xy[k, 1] - first, xy[k, 0])
            if whole:
                points = arc[:length]
                simplify_arc(points, closed, limit, corners, first, before, after)
                at = append_arc(
                    points, closed, radius, corners, first, before, after, out, at, start
                )
                arc[0, 0], arc[0, 1] = xy[k, 0], xy[k, 1]
                length = 1
        if at - 1 > start and out[at - 1, 0] == out[start, 0] and out[at - 1, 1] == out[start, 1]:
            at -= 1
        out[at, 0], out[at, 1] = out[start, 0], out[start, 1]
        at += 1
        out_offsets[ring + 1] = at


_POINTS_PER_CORNER = 5


def simplify_outlines(
    traced: PolygonBatch, index: CornerIndex, *, simplify: float, smooth: float
) -> PolygonBatch:
    """Return the polygons with fewer and rounder corners.

    Parameters
    ----------
    traced
        Noded polygons.
    index
        Corners of the row lines that they span.
    simplify, smooth
        As in `geoseg.options.PolygonOptions`.

    Returns
    -------
    PolygonBatch
        Valid polygons in the same order, with all holes, without overlaps. Shared borders are equal to the last bit.
    """
    points = len(traced.coordinates) * (_POINTS_PER_CORNER if smooth else 1)
    coordinates = np.empty((points, 2))
    offsets = np.zeros_like(traced.ring_offsets)
    limit = floor(2 * simplify**2)
    reshape_rings(
        traced.coordinates,
        traced.ring_offsets,
        index.corners,
        index.nodes,
        index.first,
        limit,
        float(smooth),
        coordinates,
        offsets,
    )
    return replace(traced, coordinates=coordinates[: offsets[-1]].copy(), ring_offsets=offsets)
