"""From the chains of finished regions to rings and facts, in flat arrays."""

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.jit import kernel
from geoseg.polygons.tables import (
    COUNT,
    DONE_FIRST,
    DONE_NODES,
    DONE_REGIONS,
    END_FREE,
    F_COUNT,
    F_EDGE,
    F_HORIZONTAL,
    F_LABEL,
    F_LOWEST,
    F_PIXELS,
    F_SUM,
    F_VERTICAL,
    FACTS,
    LABEL,
    LINK,
    LOWEST,
    NEXT_DONE,
    NO_CONFIDENCE,
    NODE,
    NODE_FREE,
    POLYGON_RINGS,
    POLYGONS,
    REGION_FREE,
    RINGS,
    SUM,
    TWIN,
    Batch,
    Pool,
    Scratch,
    X,
    Y,
)


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
    """Write the ring through corner `start`, cut where it meets itself -> index of the next ring.

    Where the ring comes back to a corner, the loop since then is popped from what is written so
    far; loops are nested, as the ring does not cross itself. The part with `start` comes first.
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
    for k in range(n_twins):  # a twin not met is another region's, and nothing is to be cut there
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
def measure(
    xy: NDArray[np.int32],
    first: int,
    last: int,
    width: int,
    facts: NDArray[np.int64],
    polygon: int,
) -> None:
    """Add the area (holes count negative), edges and contact with the border of a ring."""
    area = horizontal = vertical = edge = 0
    x, y = int(xy[first, 0]), int(xy[first, 1])
    for k in range(first + 1, last):
        next_x, next_y = int(xy[k, 0]), int(xy[k, 1])
        area += y * (next_x - x)
        horizontal += abs(next_x - x)
        vertical += abs(next_y - y)
        edge |= (x == 0) | (x == width) | (y == 0)
        x, y = next_x, next_y
    facts[polygon, F_PIXELS] += area
    facts[polygon, F_HORIZONTAL] += horizontal
    facts[polygon, F_VERTICAL] += vertical
    facts[polygon, F_EDGE] |= edge


@kernel
def collect(pool: Pool, batch: Batch, scratch: Scratch, width: int, last: bool) -> None:
    """Add the finished regions to the batch, in the order they were finished, and forget them.

    `last`: the scene has ended, and they all reach its lower border.
    """
    nodes, ends, regions, counters = pool.nodes, pool.ends, pool.regions, pool.counters
    facts, polygon_offsets, ring_offsets, xy, filled = batch
    loops, loop_offsets, twins = scratch
    polygon, ring = filled[POLYGONS], filled[POLYGON_RINGS]
    root = counters[DONE_FIRST]
    for _ in range(counters[DONE_REGIONS]):
        for column in range(FACTS):
            facts[polygon, column] = 0
        facts[polygon, F_LABEL] = regions[root, LABEL]
        facts[polygon, F_EDGE] = last
        facts[polygon, F_LOWEST] = NO_CONFIDENCE
        next_root = regions[root, NEXT_DONE]
        part = root
        while part >= 0:
            facts[polygon, F_SUM] += regions[part, SUM]
            facts[polygon, F_COUNT] += regions[part, COUNT]
            facts[polygon, F_LOWEST] = min(facts[polygon, F_LOWEST], regions[part, LOWEST])
            end = regions[part, RINGS]
            while end >= 0:
                start = ends[end, NODE]
                next_ring = cut_ring(
                    nodes, start, xy, ring_offsets, ring, loops, loop_offsets, twins
                )
                while ring < next_ring:
                    first, behind = ring_offsets[ring], ring_offsets[ring + 1]
                    measure(xy, first, behind, width, facts, polygon)
                    ring += 1
                # the chain goes to the free nodes as it is, opened behind its start
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
    filled[POLYGONS] = polygon
    filled[POLYGON_RINGS] = ring
    counters[DONE_REGIONS] = 0
    counters[DONE_NODES] = 0
