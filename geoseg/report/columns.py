"""Attributes of polygons as JSON that is small; the inverse is ``map_data.js``."""

from __future__ import annotations

import base64
from math import isnan, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
