"""Compact encoding of polygons and attributes for the HTML map; ``assets/map_data.js`` decodes it.

Coordinates are integers, stored as differences in variable-length encoding and base64.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

_BATCH = 20_000
_BITS = 7  # payload bits per byte; the eighth bit marks that more bytes follow


@dataclass(frozen=True, slots=True)
class Frame:
    """Integer coordinates of a map page: origin at the upper left, x to the right, y down."""

    left: float
    """X of the origin in map units."""

    top: float
    """Y of the origin in map units."""

    step_x: float
    """Map units per step; far below a pixel of the screen."""

    step_y: float
    """Map units per step."""

    def quantize(self, xy: NDArray[np.float64]) -> NDArray[np.int64]:
        """Convert (n, 2) map coordinates to steps."""
        steps = (xy - (self.left, self.top)) / (self.step_x, -self.step_y)
        return steps.round().astype(np.int64)


@dataclass(frozen=True, slots=True)
class PackedOutlines:
    """Rings of polygons as three lists of variable-length integers."""

    rings: bytes
    """Number of rings of each polygon."""

    vertices: bytes
    """Number of vertices of each ring; the first is not repeated at the end."""

    steps: bytes
    """X and y offsets from each vertex to the next, through all rings, zigzag encoded."""

    @property
    def size(self) -> int:
        """Bytes in the page, as base64."""
        return sum(-(-len(part) // 3) * 4 for part in (self.rings, self.vertices, self.steps))

    def to_json(self) -> dict[str, str]:
        """Return the three lists in base64."""
        return {n: encode_base64(getattr(self, n)) for n in ("rings", "vertices", "steps")}


def pack_outlines(
    geometry: NDArray[np.object_], frame: Frame, *, tolerance: float = 0.0
) -> PackedOutlines:
    """Pack the outlines of polygons and multipolygons.

    Parameters
    ----------
    geometry
        (n,) shapely polygons or multipolygons in map units.
    frame
        Integer coordinates of the page.
    tolerance
        Largest displacement of an outline by simplification, in steps of `frame`. Rings that collapse to a
        point are kept.
    """
    rings, vertices, steps = [], [], []
    last = np.zeros((1, 2), np.int64)
    for first in range(0, len(geometry), _BATCH):
        batch = geometry[first : first + _BATCH]
        if tolerance:
            batch = _simplify(batch, tolerance * frame.step_y)
        parts, owner = shapely.get_parts(batch, return_index=True)
        _, xy, (ring_starts, part_starts) = shapely.to_ragged_array(parts)
        counts, xy = _drop_repeats(frame.quantize(xy), ring_starts)
        rings.append(
            encode_varints(np.bincount(owner, np.diff(part_starts), len(batch)).astype(np.uint64))
        )
        vertices.append(encode_varints(counts))
        steps.append(encode_varints(encode_zigzag(np.diff(xy, axis=0, prepend=last).ravel())))
        last = xy[-1:]
    return PackedOutlines(*(b"".join(part) for part in (rings, vertices, steps)))


def _simplify(geometry: NDArray[np.object_], tolerance: float) -> NDArray[np.object_]:
    """Simplify without regard to topology, and with it those that would vanish."""
    simple: NDArray[np.object_] = shapely.simplify(geometry, tolerance, preserve_topology=False)
    vanished = shapely.is_empty(simple)
    simple[vanished] = shapely.simplify(geometry[vanished], tolerance)
    return simple


def _drop_repeats(
    xy: NDArray[np.int64], starts: NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return (rings,) numbers of vertices, and (n, 2) vertices that differ from their predecessor."""
    kept = np.append(True, (xy[1:] != xy[:-1]).any(axis=1))
    kept[starts[1:] - 1] = False  # the last vertex of a ring repeats its first
    kept[starts[:-1]] = True
    return np.add.reduceat(kept, starts[:-1]).astype(np.uint64), xy[kept]


def encode_zigzag(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Map 0, -1, 1, -2, 2, … to 0, 1, 2, 3, 4, …, so that small absolute values stay small."""
    return ((values << 1) ^ (values >> 63)).astype(np.uint64)


def encode_varints(values: NDArray[np.uint64]) -> bytes:
    """Encode integers below 2^35 with seven bits per byte, lowest bits first (LEB128)."""
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


def pack_column(name: str, values: NDArray[Any]) -> dict[str, Any]:
    """Pack an attribute of polygons as JSON data.

    Returns
    -------
    dict
        ``{name, kind, type, data}``. ``kind`` is number, boolean or text. ``type`` is f8, f4, i4, u4, u2
        or u1 (little endian). Text has ``words`` that the data index; word 0 is missing. Numbers may have a
        ``scale`` to divide by; NaN is missing.
    """
    values = _normalize(values)
    if values.dtype.kind == "b":
        return {"name": name, "kind": "boolean", **_array_json(values.astype(np.uint8))}
    if values.dtype.kind == "f" and _fits_thousandths(values):
        thousandths = (1000 * values).round().astype(np.int64)
        return {"name": name, "kind": "number", "scale": 1000, **_array_json(_shrink(thousandths))}
    if values.dtype.kind in "iuf":
        return {"name": name, "kind": "number", **_array_json(_shrink(values))}
    words, codes = np.unique(values.astype(str), return_inverse=True)
    if len(words) == 0 or words[0] != "":
        words, codes = np.append("", words), codes + 1
    return {"name": name, "kind": "text", "words": words.tolist(), **_array_json(_shrink(codes))}


def column_size(column: dict[str, Any]) -> int:
    """Estimate the bytes of a packed column in the page."""
    return len(column["data"]) + sum(len(word) + 3 for word in column.get("words", ()))


def encode_base64(data: bytes) -> str:
    """Encode bytes as base64 text."""
    return base64.b64encode(data).decode()


def format_values(values: NDArray[Any]) -> NDArray[np.object_]:
    """Format (n,) values as text; missing ones become "".

    Whole numbers have no decimal point, also where missing cells turned a column into floats.
    """
    if values.dtype.kind == "f" and (np.isnan(values) | (values == values.round())).all():
        return np.array(["" if np.isnan(v) else str(int(v)) for v in values], object)
    if values.dtype.kind == "M":
        values = np.where(np.isnat(values), "", values.astype(str))
    return np.array(["" if _is_missing(v) else str(v) for v in values.tolist()], object)


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # of pandas


def _normalize(values: NDArray[Any]) -> NDArray[Any]:
    """Convert values to booleans, numbers (NaN is missing) or text ("" is missing)."""
    if values.dtype.kind in "biuf":
        return values
    items = values.tolist() if values.dtype.kind == "O" else [""]
    known = [v for v in items if not _is_missing(v)]
    if known and all(isinstance(v, bool) for v in known) and len(known) == len(items):
        return values.astype(bool)
    if known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        return np.array([nan if _is_missing(v) else float(v) for v in items])
    return format_values(values)


def _fits_thousandths(values: NDArray[Any]) -> bool:
    """True if thousandths hold all values exactly, as for confidences."""
    scaled = 1000 * values
    known = np.isfinite(values).all() and (values >= 0).all() and (values <= 65).all()
    return bool(known and np.allclose(scaled, scaled.round(), rtol=0, atol=1e-6))


def _shrink(values: NDArray[Any]) -> NDArray[Any]:
    """Convert numbers to the smallest type that holds them."""
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


def _array_json(values: NDArray[Any]) -> dict[str, str]:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return {"type": values.dtype.str[1:], "data": encode_base64(little.tobytes())}
