"""Polygons in few bytes: whole numbers, differences, base64; the inverse is ``map_data.js``."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

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


# Attributes of polygons as JSON that is small; the inverse is ``map_data.js``.


def packed_column(name: str, values: NDArray[Any]) -> dict[str, Any]:
    """An attribute as JSON: ``{name, kind: number | truth | text, type, data}``, text with its ``words``,
    numbers perhaps with a ``scale`` to divide them by.

    type: f8, f4, i4, u4, u2, u1 (little endian). Nothing known is nan, word 0 is none.
    """
    values = _plain(values)
    if values.dtype.kind == "b":
        return {"name": name, "kind": "truth", **_array(values.astype(np.uint8))}
    if values.dtype.kind == "f" and _in_thousandths(values):
        thousandths = (1000 * values).round().astype(np.int64)
        return {"name": name, "kind": "number", "scale": 1000, **_array(_small(thousandths))}
    if values.dtype.kind in "iuf":
        return {"name": name, "kind": "number", **_array(_small(values))}
    words, codes = np.unique(values.astype(str), return_inverse=True)
    if len(words) == 0 or words[0] != "":
        words, codes = np.append("", words), codes + 1
    return {"name": name, "kind": "text", "words": words.tolist(), **_array(_small(codes))}


def size_of(column: dict[str, Any]) -> int:
    """Bytes of a packed column on the page, about."""
    return len(column["data"]) + sum(len(word) + 3 for word in column.get("words", ()))


def encoded(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def in_words(values: NDArray[Any]) -> NDArray[np.object_]:
    """(n,) the values as text, "" where there is none; whole numbers without a point, also where
    empty cells have made them floats."""
    if values.dtype.kind == "f" and (np.isnan(values) | (values == values.round())).all():
        return np.array(["" if np.isnan(v) else str(int(v)) for v in values], object)
    if values.dtype.kind == "M":
        values = np.where(np.isnat(values), "", values.astype(str))
    return np.array(["" if _missing(v) else str(v) for v in values.tolist()], object)


def _missing(value: Any) -> bool:
    if isinstance(value, float):
        return isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # of pandas


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Truth values, numbers (nan: none) or text ("": none)."""
    if values.dtype.kind in "biuf":
        return values
    found = values.tolist() if values.dtype.kind == "O" else [""]
    known = [v for v in found if not _missing(v)]
    if known and all(isinstance(v, bool) for v in known) and len(known) == len(found):
        return values.astype(bool)
    if known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        return np.array([nan if _missing(v) else float(v) for v in found])
    return in_words(values)


def _in_thousandths(values: NDArray[Any]) -> bool:
    """True for the likes of confidences."""
    scaled = 1000 * values
    known = np.isfinite(values).all() and (values >= 0).all() and (values <= 65).all()
    return bool(known and np.allclose(scaled, scaled.round(), rtol=0, atol=1e-6))


def _small(values: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in a smaller type."""
    if values.dtype.kind == "f":
        single = values.astype(np.float32)
        whole = np.array_equal(values, values.round(), equal_nan=True)
        lossy = whole and not np.array_equal(single, values, equal_nan=True)
        return values if lossy or np.isinf(single).any() else single
    low, high = (values.min(), values.max()) if len(values) else (0, 0)
    for kind in (np.uint8, np.uint16, np.uint32, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.float64)


def _array(values: NDArray[Any]) -> dict[str, str]:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return {"type": values.dtype.str[1:], "data": encoded(little.tobytes())}
