"""Polygons in few bytes: whole numbers, differences, base64; the inverse is ``map_data.js``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.report.columns import encoded

_BATCH = 20_000
_BITS = 7  # of a number in every byte; the eighth says that more follow


@dataclass(frozen=True, slots=True)
class Frame:
    """The coordinates of a page: whole numbers from the upper left corner, x right, y down."""

    left: float
    top: float

    step_x: float
    """Units of the map between two of them; so small that nobody sees it."""

    step_y: float

    def place(self, xy: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n, 2) map coordinates -> whole numbers."""
        steps = (xy - (self.left, self.top)) / (self.step_x, -self.step_y)
        return steps.round().astype(np.int64)


@dataclass(frozen=True, slots=True)
class Outlines:
    """Rings of polygons: three lists of variable-length numbers."""

    rings: bytes
    """How many of each polygon"""

    vertices: bytes
    """How many of each ring; the last is not the first again"""

    steps: bytes
    """x and y from each vertex to the next, through all rings, as zigzag numbers"""

    @property
    def size(self) -> int:
        """Bytes on the page."""
        return sum(-(-len(part) // 3) * 4 for part in (self.rings, self.vertices, self.steps))

    def to_json(self) -> dict[str, str]:
        """In base64."""
        return {n: encoded(getattr(self, n)) for n in ("rings", "vertices", "steps")}


def packed_outlines(
    geometry: NDArray[np.object_], frame: Frame, *, tolerance: float = 0.0
) -> Outlines:
    """Polygons and multipolygons, no line further from its place than `tolerance` (in `frame`'s steps).

    A ring that becomes a point stays as one.
    """
    rings, vertices, steps = [], [], []
    last = np.zeros((1, 2), np.int64)
    for first in range(0, len(geometry), _BATCH):
        batch = geometry[first : first + _BATCH]
        if tolerance:
            batch = _simplified(batch, tolerance * frame.step_y)
        parts, owner = shapely.get_parts(batch, return_index=True)
        _, xy, (ring_starts, part_starts) = shapely.to_ragged_array(parts)
        counts, xy = _without_repeats(frame.place(xy), ring_starts)
        rings.append(
            varints(np.bincount(owner, np.diff(part_starts), len(batch)).astype(np.uint64))
        )
        vertices.append(varints(counts))
        steps.append(varints(zigzag(np.diff(xy, axis=0, prepend=last).ravel())))
        last = xy[-1:]
    return Outlines(*(b"".join(part) for part in (rings, vertices, steps)))


def _simplified(geometry: NDArray[np.object_], tolerance: float) -> NDArray[np.object_]:
    """In the fast way, and in the careful one what that would have made vanish."""
    simple: NDArray[np.object_] = shapely.simplify(geometry, tolerance, preserve_topology=False)
    lost = shapely.is_empty(simple)
    simple[lost] = shapely.simplify(geometry[lost], tolerance)
    return simple


def _without_repeats(
    xy: NDArray[np.int64], starts: NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(rings,) number of vertices and (n, 2) vertices that differ from those before them."""
    kept = np.append(True, (xy[1:] != xy[:-1]).any(axis=1))
    kept[starts[1:] - 1] = False  # the last of a ring is its first again
    kept[starts[:-1]] = True
    return np.add.reduceat(kept, starts[:-1]).astype(np.uint64), xy[kept]


def zigzag(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """0, -1, 1, -2, 2, … -> 0, 1, 2, 3, 4, …: small numbers stay small, whatever their sign."""
    return ((values << 1) ^ (values >> 63)).astype(np.uint64)


def varints(values: NDArray[np.uint64]) -> bytes:
    """Numbers below 2^35 in as few bytes as they need, seven bits in each, the lowest first."""
    length = np.ones(len(values), np.int64)
    for more in range(1, 5):
        length += values >= np.uint64(1 << (_BITS * more))
    ends = np.cumsum(length)
    out = np.zeros(ends[-1] if len(ends) else 0, np.uint8)
    for k in range(5):
        long = length > k
        bits = (values[long] >> np.uint64(_BITS * k)) & np.uint64(127)
        out[(ends - length)[long] + k] = bits.astype(np.uint8) | (128 * (length[long] > k + 1))
    return out.tobytes()
