"""The tracer's memory: tables of integers, whose free rows are linked into lists and used again.

The sweep needs pointers, cheap growth and one compiled signature; arrays with named columns give
all three. Numba compiles the column numbers into the kernels and looks for changes in a kernel's
own file only: who changes a number here clears `__pycache__`.
"""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Table = TypeVar("Table", NDArray[np.int32], NDArray[np.int64])

OUTSIDE = 256
"""The label around the scene."""

PART = 512
"""Labels of the parts of split objects are their class and a multiple of this."""

LABELS = 1 << 16
"""Labels there can be."""

NO_CONFIDENCE = 255
"""Confidence of a pixel that has none."""

ROOM = 4
"""Rows of a table that one corner of the pixel grid takes, at most."""

LINK = 0  # in every table: the next free row

# nodes: corners of outlines; LINK is the next corner of the outline
X, Y, TWIN = range(1, 4)
NODE_COLUMNS = 4

# ends: open ends of chains; a closed ring keeps one of its ends, LINK is the region's next ring
NODE, OTHER, REGION, LENGTH = range(1, 5)
END_COLUMNS = 5

# regions: or parts of one, found to be connected; LINK is the region's next part
PARENT, LAST_PART, LABEL, OPEN, RINGS, NODES, NEXT_DONE, SUM, COUNT, LOWEST, TOP = range(1, 12)
REGION_COLUMNS = 12

# counters: first free row and number of rows ever used; finished regions
NODE_FREE, NODE_USED, END_FREE, END_USED, REGION_FREE, REGION_USED = range(6)
DONE_FIRST, DONE_LAST, DONE_REGIONS, DONE_NODES = range(6, 10)
COUNTERS = 10

# facts: what is told of a polygon
F_LABEL, F_PIXELS, F_HORIZONTAL, F_VERTICAL, F_EDGE, F_SUM, F_COUNT, F_LOWEST = range(8)
FACTS = 8

# filled: what a batch holds
POLYGONS, POLYGON_RINGS = range(2)


class Pool(NamedTuple):
    """All that is known of unfinished outlines and regions."""

    nodes: NDArray[np.int32]
    ends: NDArray[np.int32]
    regions: NDArray[np.int64]
    counters: NDArray[np.int64]
    tails: NDArray[np.int32]
    """For each vertical line of the grid: the end at the row line, of the region left of it."""
    heads: NDArray[np.int32]
    """The same of the region right of it."""
    corners: NDArray[np.int32]
    """Scratch: the vertical lines where something happens."""


class Batch(NamedTuple):
    """Finished polygons; offsets as in GeoArrow."""

    facts: NDArray[np.int64]
    polygon_offsets: NDArray[np.int64]
    ring_offsets: NDArray[np.int64]
    xy: NDArray[np.int32]
    filled: NDArray[np.int64]


class Scratch(NamedTuple):
    """Loops cut off one ring, and corners it has met once."""

    loops: NDArray[np.int32]
    loop_offsets: NDArray[np.int64]
    twins: NDArray[np.int32]


def empty_pool(width: int) -> Pool:
    counters = np.zeros(COUNTERS, np.int64)
    counters[[NODE_FREE, END_FREE, REGION_FREE]] = -1
    return Pool(
        nodes=np.empty((1 << 12, NODE_COLUMNS), np.int32),
        ends=np.empty((1 << 12, END_COLUMNS), np.int32),
        regions=np.empty((1 << 12, REGION_COLUMNS), np.int64),
        counters=counters,
        tails=np.empty(width + 1, np.int32),
        heads=np.empty(width + 1, np.int32),
        corners=np.empty(width + 1, np.int32),
    )


def grown_pool(pool: Pool) -> Pool:
    """The pool with room for another row line in each table."""
    room = ROOM * len(pool.corners)
    used = pool.counters
    return pool._replace(
        nodes=grown(pool.nodes, int(used[NODE_USED]), room),
        ends=grown(pool.ends, int(used[END_USED]), room),
        regions=grown(pool.regions, int(used[REGION_USED]), room),
    )


def grown(table: Table, used: int, room: int) -> Table:
    if len(table) >= used + room:
        return table
    longer = np.empty((max(used + room, len(table) * 3 // 2), table.shape[1]), table.dtype)
    longer[:used] = table[:used]
    return longer


def rings_of(corners: int) -> int:
    """How many rings these corners make, at most."""
    return corners // 4


def points_of(corners: int) -> int:
    """How many points their rings have, at most: each is closed by another point."""
    return corners + rings_of(corners)


def empty_batch(corners: int) -> Batch:
    rings = rings_of(corners)
    return Batch(
        facts=np.empty((rings, FACTS), np.int64),
        polygon_offsets=np.zeros(rings + 1, np.int64),
        ring_offsets=np.zeros(rings + 1, np.int64),
        xy=np.empty((points_of(corners), 2), np.int32),
        filled=np.zeros(2, np.int64),
    )


def scratch(corners: int) -> Scratch:
    return Scratch(
        loops=np.empty((corners, 2), np.int32),
        loop_offsets=np.zeros(rings_of(corners) + 1, np.int64),
        twins=np.empty(corners, np.int32),
    )
