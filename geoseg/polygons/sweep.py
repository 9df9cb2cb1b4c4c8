"""The sweep: the outlines of all regions, followed from row to row.

An outline is a chain of corners, with two open ends on the row line that is being swept. Where it
turns, a corner is added at an end; where two ends meet, two chains become one; where the two ends
of one chain meet, a ring is closed. A region without open chains is finished.

On the screen, a region lies to the left of its outline. So an outline goes on from an end that is
on the left of its region or above it (a *head*), and comes from one on the right or below (a *tail*).

Pixels that touch only in a corner are not connected there, and the sweep leads the outline around
each of them. But they may turn out to be of one region, connected elsewhere, even further down the
scene. Its outline then passes that corner twice, and has to be cut there for a valid polygon. As
only the finished region tells, the sweep notes both corners as twins, and `rings.py` cuts.
"""

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.jit import kernel
from geoseg.polygons.tables import (
    COUNT,
    DONE_FIRST,
    DONE_LAST,
    DONE_NODES,
    DONE_REGIONS,
    END_FREE,
    END_USED,
    LABEL,
    LAST_PART,
    LENGTH,
    LINK,
    LOWEST,
    NEXT_DONE,
    NO_CONFIDENCE,
    NODE,
    NODE_FREE,
    NODE_USED,
    NODES,
    OPEN,
    OTHER,
    PARENT,
    REGION,
    REGION_FREE,
    REGION_USED,
    RINGS,
    ROOM,
    SUM,
    TOP,
    TWIN,
    Pool,
    Table,
    X,
    Y,
)

# A kernel passes its arrays on one by one: numba counts references to what it takes from a tuple,
# which costs more than what these small functions do. It also compiles them once for each mixture
# of int32, int64 and literals among their arguments, so that rows are int64 everywhere (`wide`).


@kernel
def wide(row: int) -> int:
    return int(np.int64(row))


@kernel
def take(table: Table, counters: NDArray[np.int64], free: int) -> int:
    row = int(counters[free])
    if row >= 0:
        counters[free] = table[row, LINK]
    else:
        row = int(counters[free + 1])
        counters[free + 1] += 1
    return row


@kernel
def new_node(nodes: NDArray[np.int32], counters: NDArray[np.int64], x: int, y: int) -> int:
    node = take(nodes, counters, NODE_FREE)
    nodes[node, X] = x
    nodes[node, Y] = y
    nodes[node, TWIN] = -1
    return node


@kernel
def new_region(regions: NDArray[np.int64], counters: NDArray[np.int64], label: int, y: int) -> int:
    region = take(regions, counters, REGION_FREE)
    regions[region, LINK] = -1
    regions[region, PARENT] = region
    regions[region, LAST_PART] = region
    regions[region, LABEL] = label
    regions[region, OPEN] = 0
    regions[region, RINGS] = -1
    regions[region, NODES] = 0
    regions[region, SUM] = 0
    regions[region, COUNT] = 0
    regions[region, LOWEST] = NO_CONFIDENCE
    regions[region, TOP] = y
    return region


@kernel
def find(regions: NDArray[np.int64], region: int) -> int:
    while regions[region, PARENT] != region:
        regions[region, PARENT] = regions[regions[region, PARENT], PARENT]
        region = regions[region, PARENT]
    return region


@kernel
def unite(regions: NDArray[np.int64], region: int, other: int) -> None:
    region = find(regions, region)
    other = find(regions, other)
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
    """Begin a chain of one corner -> its tail and its head."""
    tail = take(ends, counters, END_FREE)
    head = take(ends, counters, END_FREE)
    for end, other in ((tail, head), (head, tail)):
        ends[end, NODE] = node
        ends[end, OTHER] = other
        ends[end, REGION] = region
        ends[end, LENGTH] = 0
    ends[tail, LENGTH] = 1
    regions[find(regions, region), OPEN] += 1
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
def join(
    nodes: NDArray[np.int32],
    ends: NDArray[np.int32],
    regions: NDArray[np.int64],
    counters: NDArray[np.int64],
    head: int,
    tail: int,
    node: int,
) -> None:
    """Lead the chain that ends in `head` through the corner `node` into the one of `tail`."""
    add_head(nodes, ends, head, node)
    nodes[node, LINK] = ends[tail, NODE]
    length = ends[head, LENGTH] + ends[tail, LENGTH]
    region = find(regions, wide(ends[head, REGION]))
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
            finish(regions, counters, region)
    else:
        ends[first, OTHER] = last
        ends[last, OTHER] = first
        ends[first, LENGTH] += length
        ends[tail, LINK] = counters[END_FREE]
        counters[END_FREE] = tail


@kernel
def finish(regions: NDArray[np.int64], counters: NDArray[np.int64], region: int) -> None:
    """Put a region at the end of those that wait to be collected."""
    if counters[DONE_REGIONS] == 0:
        counters[DONE_FIRST] = region
    else:
        regions[counters[DONE_LAST], NEXT_DONE] = region
    counters[DONE_LAST] = region
    counters[DONE_REGIONS] += 1
    counters[DONE_NODES] += regions[region, NODES]


@kernel
def find_corners(
    above: NDArray[np.uint16], below: NDArray[np.uint16], corners: NDArray[np.int32]
) -> int:
    """List the column lines where a run begins or ends in either row -> how many."""
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
def sweep_row(
    pool: Pool,
    above: NDArray[np.uint16],
    below: NDArray[np.uint16],
    confidence: NDArray[np.uint8],
    live: NDArray[np.bool_],
    y: int,
    n: int,
    noded: bool,
) -> None:
    """Carry the outlines over row line `y` from the row `above` to the row `below`, at `n` corners.

    `noded`: where an outline goes straight past the end of another, it gets a point there too.

    The four pixels around a corner of the pixel grid are a b over c d. The outline of a pixel that
    differs from both its neighbours turns here, and so does that of three equal ones around it.
    """
    nodes, ends, regions, counters, tails, heads, corners = pool
    none = wide(-1)
    over = under = none  # regions right of the corner, above and below the row line
    head = tail = none  # open ends on the row line left of it, of the regions above and below
    start = 0
    for k in range(n):
        x = wide(corners[k])
        a, b, c, d = above[x], above[x + 1], below[x], below[x + 1]
        up, down, left, right = a != b, c != d, a != c, b != d  # the edges that meet here
        if up:
            over = wide(ends[heads[x], REGION]) if live[b] else none
        if down:
            if under >= 0 and len(confidence) > 0:
                add_confidence(regions, under, confidence[start:x])
            start = x
            under = none
            if live[d]:
                under = new_region(regions, counters, d, y) if right else over
        elif up and not right and live[d]:
            unite(regions, over, under)
        if not (left or right):
            continue  # outlines that go straight down

        of_a = of_b = of_c = of_d = none
        if up and left:
            if live[a]:
                of_a = new_node(nodes, counters, x, y)
                join(nodes, ends, regions, counters, head, wide(tails[x]), of_a)
            if not (down or right) and live[d]:
                node = new_node(nodes, counters, x, y)
                join(nodes, ends, regions, counters, wide(heads[x]), tail, node)
        if up and right:
            if live[b]:
                of_b = new_node(nodes, counters, x, y)
                head = wide(heads[x])
                add_head(nodes, ends, head, of_b)
            if not (down or left) and live[c]:
                tail = wide(tails[x])
                add_tail(nodes, ends, tail, new_node(nodes, counters, x, y))
        if down and left:
            if live[c]:
                of_c = new_node(nodes, counters, x, y)
                add_tail(nodes, ends, tail, of_c)
                tails[x] = tail
            if not (up or right) and live[b]:
                add_head(nodes, ends, head, new_node(nodes, counters, x, y))
                heads[x] = head
        if down and right:
            if live[d]:
                of_d = new_node(nodes, counters, x, y)
                tail, heads[x] = new_chain(ends, regions, counters, under, of_d)
            if not (up or left) and live[a]:
                node = new_node(nodes, counters, x, y)
                tails[x], head = new_chain(ends, regions, counters, over, node)
        if noded and up + down + left + right == 3:
            if not up and live[a]:
                add_head(nodes, ends, head, new_node(nodes, counters, x, y))
            if not down and live[c]:
                add_tail(nodes, ends, tail, new_node(nodes, counters, x, y))
            if not left and live[a]:
                add_tail(nodes, ends, wide(tails[x]), new_node(nodes, counters, x, y))
            if not right and live[b]:
                add_head(nodes, ends, wide(heads[x]), new_node(nodes, counters, x, y))
        if up and down and left and right:
            if a == d and live[a]:
                nodes[of_a, TWIN] = of_d
                nodes[of_d, TWIN] = of_a
            if b == c and live[b]:
                nodes[of_b, TWIN] = of_c
                nodes[of_c, TWIN] = of_b


@kernel
def sweep(
    pool: Pool,
    labels: NDArray[np.uint16],
    confidence: NDArray[np.uint8],
    live: NDArray[np.bool_],
    first: int,
    y: int,
    noded: bool,
) -> int:
    """Sweep the rows of `labels` (rows, columns + 2) from `first` on, which begins at row line `y`.

    `confidence` has a row for each but the first of them, empty if there is none.
    -> the next row to sweep; the tables have to grow first if it is not len(labels).
    """
    for row in range(first, len(labels)):
        n = find_corners(labels[row - 1], labels[row], pool.corners)
        counters, room = pool.counters, ROOM * n
        if (
            counters[NODE_USED] + room > len(pool.nodes)
            or counters[END_USED] + room > len(pool.ends)
            or counters[REGION_USED] + room > len(pool.regions)
        ):
            return row
        line = y + row - first
        sweep_row(pool, labels[row - 1], labels[row], confidence[row - 1], live, line, n, noded)
    return len(labels)


@kernel
def oldest(pool: Pool, labels: NDArray[np.uint16], live: NDArray[np.bool_], y: int) -> int:
    """The row line at which the oldest region begins that is still open below the row `labels`;
    `y` if none is."""
    regions = pool.regions
    top = wide(y)
    for x in range(len(labels) - 1):
        if labels[x] == labels[x + 1]:
            continue
        if live[labels[x + 1]]:
            top = min(top, regions[find(regions, wide(pool.ends[pool.heads[x], REGION])), TOP])
        if live[labels[x]]:
            top = min(top, regions[find(regions, wide(pool.ends[pool.tails[x], REGION])), TOP])
    return top
