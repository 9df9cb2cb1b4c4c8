"""Kernels of the polygon tracer, compiled by numba: tables, sweep, rings, well-known binary.

The sweep follows the outlines of all regions from row to row. An outline is a chain of corners with two open ends on
the current row line. Where it turns, a corner is added at an end; where two ends meet, two chains are joined; where
the two ends of one chain meet, a ring is closed. A region without open chains is finished.

In image coordinates a region lies to the left of its outline. So an outline continues from an end that is to the left
of its region or above it (a *head*), and starts at one to the right or below (a *tail*).

Pixels that touch in a corner only are not connected there, and the sweep leads the outline around each of them. They
may still belong to one region that is connected elsewhere, even further down the scene. Its outline then passes that
corner twice, and has to be cut there for a valid polygon. As this is known only when the region is finished, the
sweep marks both corners as twins, and `cut_ring` cuts.

Notes
-----
Kernels receive their arrays one by one: numba counts references to what it takes from a tuple, which costs more than
these small functions do. It also compiles them once for each mixture of int32, int64 and literals among their
arguments, so that rows are int64 everywhere (`wide`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar, cast

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

P = ParamSpec("P")
T = TypeVar("T")


def kernel(function: Callable[P, T]) -> Callable[P, T]:
    """Compile `function` with numba, without the GIL, and keep its type.

    The machine code is cached in ``__pycache__`` next to the source, in the user's cache folder if that is read-only,
    or in `NUMBA_CACHE_DIR`; if none can be written, every process compiles again. A shared temporary folder would be
    unsafe: numba's cache files are pickles.

    Numba recompiles if the kernel's own file changes and checks no other, so a kernel calls only kernels of its file.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba: "no locator available"
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return cast("Callable[P, T]", compiled)


# Tables
#
# Integer tables whose free rows are linked into lists and reused: pointers, cheap growth and one compiled signature.

IntTable = TypeVar("IntTable", NDArray[np.int32], NDArray[np.int64])

OUTSIDE = 0
"""Value around the scene, and of all pixels that belong to no region."""

PART = 512
"""Labels of the parts of a split object are its class plus a multiple of this."""

LABELS = 1 << 16
"""Number of possible labels, parts included."""

NO_CONFIDENCE = 255
"""Confidence or uncertainty of a pixel without one."""

ROOM = 4
"""Largest number of table rows that one corner of the pixel grid takes."""

LINK = 0  # in every table: the next free row

# nodes: corners of outlines; LINK is the next corner of the outline
X, Y, TWIN = range(1, 4)
NODE_COLUMNS = 4

# ends: open ends of chains; a closed ring keeps one of its ends, LINK is the region's next ring
NODE, OTHER, REGION, LENGTH = range(1, 5)
END_COLUMNS = 5

# regions, or parts of one that turned out to be connected; LINK is the region's next part
PARENT, LAST_PART, VALUE, OPEN, RINGS, NODES, NEXT_DONE, SUM, COUNT, LOWEST, TOP = range(1, 12)
UNCERTAINTY_SUM, UNCERTAINTY_COUNT = range(12, 14)
REGION_COLUMNS = 14

# counters: first free row, and number of rows in use, of each table; finished regions
NODE_FREE, NODE_USED, END_FREE, END_USED, REGION_FREE, REGION_USED = range(6)
DONE_FIRST, DONE_LAST, DONE_REGIONS, DONE_NODES = range(6, 10)
COUNTERS = 10

# attributes of a polygon
(
    ATTR_VALUE,
    ATTR_PIXELS,
    ATTR_HORIZONTAL,
    ATTR_VERTICAL,
    ATTR_EDGE,
    ATTR_SUM,
    ATTR_COUNT,
    ATTR_LOWEST,
    ATTR_UNCERTAINTY_SUM,
    ATTR_UNCERTAINTY_COUNT,
) = range(10)
ATTRIBUTES = 10

# counts of a buffer
N_POLYGONS, N_RINGS = range(2)


class SweepState(NamedTuple):
    """Unfinished outlines and regions."""

    nodes: NDArray[np.int32]
    ends: NDArray[np.int32]
    regions: NDArray[np.int64]
    counters: NDArray[np.int64]
    tails: NDArray[np.int32]
    """For each column line: the end on the row line of the region to its left."""
    heads: NDArray[np.int32]
    """The same for the region to its right."""
    corners: NDArray[np.int32]
    """Scratch: column lines on which a run begins or ends."""


class PolygonBuffer(NamedTuple):
    """Finished polygons, with offsets as in GeoArrow."""

    attributes: NDArray[np.int64]
    polygon_offsets: NDArray[np.int64]
    ring_offsets: NDArray[np.int64]
    xy: NDArray[np.int32]
    counts: NDArray[np.int64]


class LoopBuffer(NamedTuple):
    """Loops cut off one ring, and its corners with a twin."""

    loops: NDArray[np.int32]
    loop_offsets: NDArray[np.int64]
    twins: NDArray[np.int32]


def empty_state(width: int) -> SweepState:
    """Return the state above the first row of a scene of `width` columns."""
    counters = np.zeros(COUNTERS, np.int64)
    counters[[NODE_FREE, END_FREE, REGION_FREE]] = -1
    return SweepState(
        nodes=np.empty((1 << 12, NODE_COLUMNS), np.int32),
        ends=np.empty((1 << 12, END_COLUMNS), np.int32),
        regions=np.empty((1 << 12, REGION_COLUMNS), np.int64),
        counters=counters,
        tails=np.empty(width + 1, np.int32),
        heads=np.empty(width + 1, np.int32),
        corners=np.empty(width + 1, np.int32),
    )


def grow_state(state: SweepState) -> SweepState:
    """Return the state with room for another row line in each table."""
    room = ROOM * len(state.corners)
    used = state.counters
    return state._replace(
        nodes=grow_table(state.nodes, int(used[NODE_USED]), room),
        ends=grow_table(state.ends, int(used[END_USED]), room),
        regions=grow_table(state.regions, int(used[REGION_USED]), room),
    )


def grow_table(table: IntTable, used: int, room: int) -> IntTable:
    """Return a table with at least `room` rows after the `used` ones."""
    if len(table) >= used + room:
        return table
    longer = np.empty((max(used + room, len(table) * 3 // 2), table.shape[1]), table.dtype)
    longer[:used] = table[:used]
    return longer


def max_rings(corners: int) -> int:
    """Return the largest number of rings of so many corners."""
    return corners // 4


def max_points(corners: int) -> int:
    """Return the largest number of points of their rings, each closed by another point."""
    return corners + max_rings(corners)


def empty_buffer(corners: int) -> PolygonBuffer:
    """Return a buffer for polygons of up to so many corners."""
    rings = max_rings(corners)
    return PolygonBuffer(
        attributes=np.empty((rings, ATTRIBUTES), np.int64),
        polygon_offsets=np.zeros(rings + 1, np.int64),
        ring_offsets=np.zeros(rings + 1, np.int64),
        xy=np.empty((max_points(corners), 2), np.int32),
        counts=np.zeros(2, np.int64),
    )


def empty_loop_buffer(corners: int) -> LoopBuffer:
    """Return a buffer for the loops of a ring of up to so many corners."""
    return LoopBuffer(
        loops=np.empty((corners, 2), np.int32),
        loop_offsets=np.zeros(max_rings(corners) + 1, np.int64),
        twins=np.empty(corners, np.int32),
    )


# Sweep


@kernel
def wide(row: int) -> int:
    return int(np.int64(row))


@kernel
def take_row(table: IntTable, counters: NDArray[np.int64], free: int) -> int:
    row = int(counters[free])
    if row >= 0:
        counters[free] = table[row, LINK]
    else:
        row = int(counters[free + 1])
        counters[free + 1] += 1
    return row


@kernel
def new_node(nodes: NDArray[np.int32], counters: NDArray[np.int64], x: int, y: int) -> int:
    node = take_row(nodes, counters, NODE_FREE)
    nodes[node, X] = x
    nodes[node, Y] = y
    nodes[node, TWIN] = -1
    return node


@kernel
def new_region(regions: NDArray[np.int64], counters: NDArray[np.int64], value: int, y: int) -> int:
    region = take_row(regions, counters, REGION_FREE)
    regions[region, LINK] = -1
    regions[region, PARENT] = region
    regions[region, LAST_PART] = region
    regions[region, VALUE] = value
    regions[region, OPEN] = 0
    regions[region, RINGS] = -1
    regions[region, NODES] = 0
    regions[region, SUM] = 0
    regions[region, COUNT] = 0
    regions[region, LOWEST] = NO_CONFIDENCE
    regions[region, TOP] = y
    regions[region, UNCERTAINTY_SUM] = 0
    regions[region, UNCERTAINTY_COUNT] = 0
    return region


@kernel
def find_root(regions: NDArray[np.int64], region: int) -> int:
    while regions[region, PARENT] != region:
        regions[region, PARENT] = regions[regions[region, PARENT], PARENT]
        region = regions[region, PARENT]
    return region


@kernel
def merge_regions(regions: NDArray[np.int64], region: int, other: int) -> None:
    region = find_root(regions, region)
    other = find_root(regions, other)
    if region == other:
        return
    regions[other, PARENT] = region
    regions[regions[region, LAST_PART], LINK] = other
    regions[region, LAST_PART] = regions[other, LAST_PART]
    regions[region, OPEN] += regions[other, OPEN]
    regions[region, NODES] += regions[other, NODES]
    regions[region, TOP] = min(regions[region, TOP], regions[other, TOP])


@kernel
def new_chain(
    ends: NDArray[np.int32],
    regions: NDArray[np.int64],
    counters: NDArray[np.int64],
    region: int,
    node: int,
) -> tuple[int, int]:
    """Start a chain of one corner; return its tail and its head."""
    tail = take_row(ends, counters, END_FREE)
    head = take_row(ends, counters, END_FREE)
    for end, other in ((tail, head), (head, tail)):
        ends[end, NODE] = node
        ends[end, OTHER] = other
        ends[end, REGION] = region
        ends[end, LENGTH] = 0
    ends[tail, LENGTH] = 1
    regions[find_root(regions, region), OPEN] += 1
    return tail, head


@kernel
def add_head(nodes: NDArray[np.int32], ends: NDArray[np.int32], head: int, node: int) -> None:
    nodes[ends[head, NODE], LINK] = node
    ends[head, NODE] = node
    ends[head, LENGTH] += 1


@kernel
def add_tail(nodes: NDArray[np.int32], ends: NDArray[np.int32], tail: int, node: int) -> None:
    nodes[node, LINK] = ends[tail, NODE]
    ends[tail, NODE] = node
    ends[tail, LENGTH] += 1


@kernel
def join_chains(
    nodes: NDArray[np.int32],
    ends: NDArray[np.int32],
    regions: NDArray[np.int64],
    counters: NDArray[np.int64],
    head: int,
    tail: int,
    node: int,
) -> None:
    """Join the chain that ends in `head` to the one of `tail` by the corner `node`."""
    add_head(nodes, ends, head, node)
    nodes[node, LINK] = ends[tail, NODE]
    length = ends[head, LENGTH] + ends[tail, LENGTH]
    region = find_root(regions, wide(ends[head, REGION]))
    regions[region, OPEN] -= 1
    first, last = ends[head, OTHER], ends[tail, OTHER]
    ends[head, LINK] = counters[END_FREE]
    counters[END_FREE] = head
    if first == tail:
        ends[tail, NODE] = node
        ends[tail, LINK] = regions[region, RINGS]
        regions[region, RINGS] = tail  # the last ring comes first: it is the shell
        regions[region, NODES] += length
        if regions[region, OPEN] == 0:
            finish_region(regions, counters, region)
    else:
        ends[first, OTHER] = last
        ends[last, OTHER] = first
        ends[first, LENGTH] += length
        ends[tail, LINK] = counters[END_FREE]
        counters[END_FREE] = tail


@kernel
def finish_region(regions: NDArray[np.int64], counters: NDArray[np.int64], region: int) -> None:
    """Append a region to the list of finished ones."""
    if counters[DONE_REGIONS] == 0:
        counters[DONE_FIRST] = region
    else:
        regions[counters[DONE_LAST], NEXT_DONE] = region
    counters[DONE_LAST] = region
    counters[DONE_REGIONS] += 1
    counters[DONE_NODES] += regions[region, NODES]


@kernel
def find_corners(
    above: NDArray[np.uint32], below: NDArray[np.uint32], corners: NDArray[np.int32]
) -> int:
    """List the column lines where a run begins or ends in either row; return their number."""
    n = 0
    for x in range(len(above) - 1):
        corners[n] = x
        n += (above[x] != above[x + 1]) | (below[x] != below[x + 1])
    return n


@kernel
def add_confidence(regions: NDArray[np.int64], region: int, run: NDArray[np.uint8]) -> None:
    total, count, lowest = 0, 0, NO_CONFIDENCE
    for value in run:
        known = value != NO_CONFIDENCE
        total += value * known
        count += known
        lowest = min(lowest, value)
    regions[region, SUM] += total
    regions[region, COUNT] += count
    regions[region, LOWEST] = min(regions[region, LOWEST], lowest)


@kernel
def add_uncertainty(regions: NDArray[np.int64], region: int, run: NDArray[np.uint8]) -> None:
    total, count = 0, 0
    for value in run:
        known = value != NO_CONFIDENCE
        total += value * known
        count += known
    regions[region, UNCERTAINTY_SUM] += total
    regions[region, UNCERTAINTY_COUNT] += count


@kernel
def sweep_row(
    state: SweepState,
    above: NDArray[np.uint32],
    below: NDArray[np.uint32],
    confidence: NDArray[np.uint8],
    uncertainty: NDArray[np.uint8],
    y: int,
    n: int,
    noded: bool,
) -> None:
    """Continue the outlines across row line `y`, from the row `above` to the row `below`, at `n` corners.

    noded: add a point where an outline passes the end of another one straight.

    The four pixels around a corner of the pixel grid are a b above c d. The outline of a pixel that differs from both
    of its neighbours turns here, and so does that of three equal ones around it.
    """
    nodes, ends, regions, counters, tails, heads, corners = state
    none = wide(-1)
    over = under = none  # regions right of the corner, above and below the row line
    head = tail = none  # open ends on the row line left of it, of the regions above and below
    start = 0
    for k in range(n):
        x = wide(corners[k])
        a, b, c, d = above[x], above[x + 1], below[x], below[x + 1]
        up, down, left, right = a != b, c != d, a != c, b != d  # the edges that meet here
        if up:
            over = wide(ends[heads[x], REGION]) if b > 0 else none
        if down:
            if under >= 0 and len(confidence) > 0:
                add_confidence(regions, under, confidence[start:x])
            if under >= 0 and len(uncertainty) > 0:
                add_uncertainty(regions, under, uncertainty[start:x])
            start = x
            under = none
            if d > 0:
                under = new_region(regions, counters, d, y) if right else over
        elif up and not right and d > 0:
            merge_regions(regions, over, under)
        if not (left or right):
            continue  # outlines continue straight down

        of_a = of_b = of_c = of_d = none
        if up and left:
            if a > 0:
                of_a = new_node(nodes, counters, x, y)
                join_chains(nodes, ends, regions, counters, head, wide(tails[x]), of_a)
            if not (down or right) and d > 0:
                node = new_node(nodes, counters, x, y)
                join_chains(nodes, ends, regions, counters, wide(heads[x]), tail, node)
        if up and right:
            if b > 0:
                of_b = new_node(nodes, counters, x, y)
                head = wide(heads[x])
                add_head(nodes, ends, head, of_b)
            if not (down or left) and c > 0:
                tail = wide(tails[x])
                add_tail(nodes, ends, tail, new_node(nodes, counters, x, y))
        if down and left:
            if c > 0:
                of_c = new_node(nodes, counters, x, y)
                add_tail(nodes, ends, tail, of_c)
                tails[x] = tail
            if not (up or right) and b > 0:
                add_head(nodes, ends, head, new_node(nodes, counters, x, y))
                heads[x] = head
        if down and right:
            if d > 0:
                of_d = new_node(nodes, counters, x, y)
                tail, heads[x] = new_chain(ends, regions, counters, under, of_d)
            if not (up or left) and a > 0:
                node = new_node(nodes, counters, x, y)
                tails[x], head = new_chain(ends, regions, counters, over, node)
        if noded and up + down + left + right == 3:
            if not up and a > 0:
                add_head(nodes, ends, head, new_node(nodes, counters, x, y))
            if not down and c > 0:
                add_tail(nodes, ends, tail, new_node(nodes, counters, x, y))
            if not left and a > 0:
                add_tail(nodes, ends, wide(tails[x]), new_node(nodes, counters, x, y))
            if not right and b > 0:
                add_head(nodes, ends, wide(heads[x]), new_node(nodes, counters, x, y))
        if up and down and left and right:
            if a == d and a > 0:
                nodes[of_a, TWIN] = of_d
                nodes[of_d, TWIN] = of_a
            if b == c and b > 0:
                nodes[of_b, TWIN] = of_c
                nodes[of_c, TWIN] = of_b


@kernel
def sweep(
    state: SweepState,
    labels: NDArray[np.uint32],
    confidence: NDArray[np.uint8],
    uncertainty: NDArray[np.uint8],
    first: int,
    y: int,
    noded: bool,
) -> int:
    """Sweep `labels` (rows, columns + 2) from row `first`, whose upper border is row line `y`.

    `confidence` and `uncertainty` have a row for each of them but the first, without columns if there is none. Returns
    the next row to sweep: if it is not len(labels), the tables have to grow first.
    """
    for row in range(first, len(labels)):
        n = find_corners(labels[row - 1], labels[row], state.corners)
        counters, room = state.counters, ROOM * n
        if (
            counters[NODE_USED] + room > len(state.nodes)
            or counters[END_USED] + room > len(state.ends)
            or counters[REGION_USED] + room > len(state.regions)
        ):
            return row
        line, k = y + row - first, row - 1
        sweep_row(state, labels[k], labels[row], confidence[k], uncertainty[k], line, n, noded)
    return len(labels)


@kernel
def oldest_row(state: SweepState, labels: NDArray[np.uint32], y: int) -> int:
    """Return the row line at which the oldest region begins that is open below the row `labels`; else `y`."""
    regions = state.regions
    top = wide(y)
    for x in range(len(labels) - 1):
        if labels[x] == labels[x + 1]:
            continue
        if labels[x + 1] > 0:
            top = min(
                top, regions[find_root(regions, wide(state.ends[state.heads[x], REGION])), TOP]
            )
        if labels[x] > 0:
            top = min(
                top, regions[find_root(regions, wide(state.ends[state.tails[x], REGION])), TOP]
            )
    return top


# Rings


@kernel
def cut_ring(
    nodes: NDArray[np.int32],
    start: int,
    xy: NDArray[np.int32],
    ring_offsets: NDArray[np.int64],
    ring: int,
    loops: NDArray[np.int32],
    loop_offsets: NDArray[np.int64],
    twins: NDArray[np.int32],
) -> int:
    """Write the ring through corner `start`, cut where it meets itself; return the index of the next ring.

    Where the ring returns to a corner, the loop since then is popped from the output; loops are nested, as the ring
    does not cross itself. The part with `start` comes first.
    """
    first = top = ring_offsets[ring]
    n_loops = in_loops = n_twins = 0
    node = start
    while True:
        twin = nodes[node, TWIN]
        if twin >= 0 and nodes[twin, TWIN] < -1:
            corner = first - 2 - nodes[twin, TWIN]
            for k in range(corner, top):
                loops[in_loops, 0] = xy[k, 0]
                loops[in_loops, 1] = xy[k, 1]
                in_loops += 1
            n_loops += 1
            loop_offsets[n_loops] = in_loops
            top = corner + 1
        else:
            xy[top, 0] = nodes[node, X]
            xy[top, 1] = nodes[node, Y]
            if twin >= 0:
                nodes[node, TWIN] = first - 2 - top
                twins[n_twins] = twin
                n_twins += 1
            top += 1
        node = nodes[node, LINK]
        if node == start:
            break
    for k in range(n_twins):  # a twin that was not met belongs to another region: no cut
        nodes[twins[k], TWIN] = -1
    xy[top, 0] = xy[first, 0]
    xy[top, 1] = xy[first, 1]
    top += 1
    ring_offsets[ring + 1] = top
    for loop in range(n_loops):
        begin, end = loop_offsets[loop], loop_offsets[loop + 1]
        for k in range(begin, end + 1):
            xy[top, 0] = loops[k if k < end else begin, 0]
            xy[top, 1] = loops[k if k < end else begin, 1]
            top += 1
        ring_offsets[ring + loop + 2] = top
    return ring + n_loops + 1


@kernel
def measure_ring(
    xy: NDArray[np.int32],
    first: int,
    last: int,
    width: int,
    attributes: NDArray[np.int64],
    polygon: int,
) -> None:
    """Add area (negative for holes), edges and contact with the border of the scene of a ring."""
    area = horizontal = vertical = edge = 0
    x, y = int(xy[first, 0]), int(xy[first, 1])
    for k in range(first + 1, last):
        next_x, next_y = int(xy[k, 0]), int(xy[k, 1])
        area += y * (next_x - x)
        horizontal += abs(next_x - x)
        vertical += abs(next_y - y)
        edge |= (x == 0) | (x == width) | (y == 0)
        x, y = next_x, next_y
    attributes[polygon, ATTR_PIXELS] += area
    attributes[polygon, ATTR_HORIZONTAL] += horizontal
    attributes[polygon, ATTR_VERTICAL] += vertical
    attributes[polygon, ATTR_EDGE] |= edge


@kernel
def collect_polygons(
    state: SweepState, buffer: PolygonBuffer, scratch: LoopBuffer, width: int, last: bool
) -> None:
    """Move the finished regions to the buffer, in the order in which they were finished.

    last: the scene has ended, so that all of them reach its lower border.
    """
    nodes, ends, regions, counters = state.nodes, state.ends, state.regions, state.counters
    attributes, polygon_offsets, ring_offsets, xy, counts = buffer
    loops, loop_offsets, twins = scratch
    polygon, ring = counts[N_POLYGONS], counts[N_RINGS]
    root = counters[DONE_FIRST]
    for _ in range(counters[DONE_REGIONS]):
        for column in range(ATTRIBUTES):
            attributes[polygon, column] = 0
        attributes[polygon, ATTR_VALUE] = regions[root, VALUE]
        attributes[polygon, ATTR_EDGE] = last
        attributes[polygon, ATTR_LOWEST] = NO_CONFIDENCE
        next_root = regions[root, NEXT_DONE]
        part = root
        while part >= 0:
            attributes[polygon, ATTR_SUM] += regions[part, SUM]
            attributes[polygon, ATTR_COUNT] += regions[part, COUNT]
            attributes[polygon, ATTR_LOWEST] = min(
                attributes[polygon, ATTR_LOWEST], regions[part, LOWEST]
            )
            attributes[polygon, ATTR_UNCERTAINTY_SUM] += regions[part, UNCERTAINTY_SUM]
            attributes[polygon, ATTR_UNCERTAINTY_COUNT] += regions[part, UNCERTAINTY_COUNT]
            end = regions[part, RINGS]
            while end >= 0:
                start = ends[end, NODE]
                next_ring = cut_ring(
                    nodes, start, xy, ring_offsets, ring, loops, loop_offsets, twins
                )
                while ring < next_ring:
                    first, behind = ring_offsets[ring], ring_offsets[ring + 1]
                    measure_ring(xy, first, behind, width, attributes, polygon)
                    ring += 1
                # the whole chain becomes free nodes, opened after its start
                rest = nodes[start, LINK]
                nodes[start, LINK] = counters[NODE_FREE]
                counters[NODE_FREE] = rest
                next_end = ends[end, LINK]
                ends[end, LINK] = counters[END_FREE]
                counters[END_FREE] = end
                end = next_end
            next_part = regions[part, LINK]
            regions[part, LINK] = counters[REGION_FREE]
            counters[REGION_FREE] = part
            part = next_part
        polygon += 1
        polygon_offsets[polygon] = ring
        root = next_root
    counts[N_POLYGONS] = polygon
    counts[N_RINGS] = ring
    counters[DONE_REGIONS] = 0
    counters[DONE_NODES] = 0


# Map coordinates and well-known binary


@kernel
def map_rings(
    mapped: NDArray[np.float64],
    xy: NDArray[np.int32] | NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    transform: tuple[float, ...],
) -> None:
    """Fill `mapped` (points, 2) with `xy` in map units; transform: a, b, c, d, e, f of the Affine.

    Rings keep their orientation as seen in a north-up scene: those of a mirrored scene are reversed.
    """
    a, b, c, d, e, f = transform
    mirrored = a * e - b * d > 0
    for ring in range(len(ring_offsets) - 1):
        begin, end = ring_offsets[ring], ring_offsets[ring + 1]
        for k in range(begin, end):
            point = begin + end - 1 - k if mirrored else k
            x, y = xy[point, 0], xy[point, 1]
            # in GDAL's order of terms, for equality to the last bit
            mapped[k, 0] = c + a * x + b * y
            mapped[k, 1] = f + d * x + e * y


def polygons_to_wkb(
    xy: NDArray[np.float64], ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64]
) -> pa.LargeBinaryArray:
    """Return little-endian WKB polygons of points (points, 2) with offsets as in GeoArrow."""
    polygons = len(polygon_offsets) - 1
    # a polygon: byte order, type and number of rings; a ring: number of points, points
    offsets = 9 * np.arange(polygons + 1) + 4 * polygon_offsets + 16 * ring_offsets[polygon_offsets]
    data = np.empty(offsets[-1], np.uint8)
    points = np.ascontiguousarray(xy, "<f8").view(np.uint8).ravel()
    rings = np.diff(polygon_offsets).astype("<u4").view(np.uint8)
    lengths = np.diff(ring_offsets).astype("<u4").view(np.uint8)
    fill_wkb(data, points, ring_offsets, lengths, polygon_offsets, rings)
    return pa.Array.from_buffers(
        pa.large_binary(), polygons, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


@kernel
def fill_wkb(
    data: NDArray[np.uint8],
    points: NDArray[np.uint8],
    ring_offsets: NDArray[np.int64],
    ring_lengths: NDArray[np.uint8],
    polygon_offsets: NDArray[np.int64],
    polygon_rings: NDArray[np.uint8],
) -> None:
    at = 0
    for polygon in range(len(polygon_offsets) - 1):
        data[at] = 1  # little-endian
        data[at + 1] = 3  # polygon
        data[at + 2] = data[at + 3] = data[at + 4] = 0
        at = copy_bytes(polygon_rings, 4 * polygon, 4 * polygon + 4, data, at + 5)
        for ring in range(polygon_offsets[polygon], polygon_offsets[polygon + 1]):
            at = copy_bytes(ring_lengths, 4 * ring, 4 * ring + 4, data, at)
            at = copy_bytes(points, 16 * ring_offsets[ring], 16 * ring_offsets[ring + 1], data, at)


@kernel
def copy_bytes(
    source: NDArray[np.uint8], begin: int, end: int, target: NDArray[np.uint8], at: int
) -> int:
    """Copy source[begin:end] to target[at:] and return its end; a loop compiles faster than a slice."""
    part, place = source[begin:end], target[at : at + end - begin]
    for k in range(len(part)):
        place[k] = part[k]
    return at + len(part)
