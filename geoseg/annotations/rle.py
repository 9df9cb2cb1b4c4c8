"""Run-length encoded masks of COCO: decode to outlines, encode from polygons.

A mask is stored as the lengths of runs of pixels, alternately outside and inside the mask, counted down the columns
from left to right; the first run is outside. In compressed form each count is a little-endian base-32 number of ASCII
characters from ``0`` (bit 5: more characters follow; bit 4 of the last one: negative). From the fourth count on, the
number stored is the difference to the count two before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, burn
from geoseg.polygons.trace import trace

_ZERO = ord("0")
_MAX_DIGITS = 7  # of a count that fits into 32 bits
_PIXELS = 1 << 22  # decoded at a time


def decode_outline(height: int, width: int, counts: Any) -> shapely.Geometry:
    """Trace the outline of a mask along the edges of its pixels.

    Parameters
    ----------
    height, width
        Shape of the image.
    counts
        List of integers, or compressed text.

    Returns
    -------
    Polygon or MultiPolygon
        In pixels of the image; empty for an empty mask.

    Raises
    ------
    ValueError
        If the counts do not add up to an image of this shape.
    """
    runs = decode_counts(counts) if isinstance(counts, str) else _read_counts(counts)
    pixels = height * width
    if (len(runs) and not 0 <= runs.min() <= runs.max() <= pixels) or runs.sum() != pixels:
        raise ValueError(
            f"its runs have {int(runs.sum()):,} pixels, the image {pixels:,} ({width} x {height})"
        )
    edges = np.cumsum(runs)
    stops = edges[1::2]
    starts = edges[0::2][: len(stops)]
    nonempty = stops > starts
    starts, stops = starts[nonempty], stops[nonempty]
    if not len(starts):
        return shapely.Polygon()
    left, top, bottom = int(starts[0] // height), *_row_range(starts, stops, height)
    # crop to the columns and rows of the mask
    starts, last = (_crop(n, height, left, top, bottom) for n in (starts, stops - 1))
    transpose = Affine(0, 1, left, 1, 0, top)  # traced rows are columns of the image
    strips = _read_columns(starts, last + 1, bottom - top)
    polygons = np.concatenate([batch.geometry(transpose) for batch in trace(strips)])
    return polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)


def decode_counts(text: str) -> NDArray[np.int64]:
    """Decode compressed run lengths. Raises ValueError if `text` is malformed."""
    try:
        digits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _ZERO
    except UnicodeEncodeError as error:
        raise ValueError("its counts are not compressed run lengths") from error
    if not len(digits):
        return digits
    last = digits & 32 == 0
    if digits.min() < 0 or digits.max() > 63 or not last[-1]:
        raise ValueError("its counts are not compressed run lengths")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    length = ends - starts + 1
    if length.max() > _MAX_DIGITS:
        raise ValueError("its counts are not compressed run lengths")
    place = np.arange(len(digits)) - np.repeat(starts, length)
    numbers = np.add.reduceat((digits & 31) << (5 * place), starts)
    numbers -= np.where(digits[ends] & 16, np.int64(1) << (5 * length), 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def encode_counts(geometry: shapely.Geometry, height: int, width: int) -> list[int]:
    """Encode the pixels whose centres lie in a geometry as uncompressed run lengths.

    The geometry lies within an image of `height` x `width` pixels.
    """
    left, top, right, bottom = (int(v) for v in np.floor(geometry.bounds))
    right, bottom = min(right + 1, width), min(bottom + 1, height)
    alone = Annotations(np.array([geometry], object), np.ones(1, np.uint8), np.zeros(1, np.bool_))
    pixels = burn(
        alone, bottom - top, right - left, transform=Affine.translation(-left, -top)
    ).astype(np.bool_)
    column, row = np.nonzero(pixels.T)
    return _count_runs((column + left) * height + row + top, height * width)


def _read_counts(counts: Any) -> NDArray[np.int64]:
    """Check uncompressed counts."""
    if not isinstance(counts, list) or not set(map(type, counts)) <= {int}:
        raise ValueError("its counts are neither integers nor compressed text")
    try:
        return np.array(counts, np.int64)
    except OverflowError as error:
        raise ValueError("its counts are too large") from error


def _row_range(starts: NDArray[np.int64], stops: NDArray[np.int64], height: int) -> tuple[int, int]:
    """Return the first row of the mask and the one after its last; all rows if a run spans columns."""
    if (starts // height != (stops - 1) // height).any():
        return 0, height
    return int((starts % height).min()), int(((stops - 1) % height).max()) + 1


def _crop(
    pixels: NDArray[np.int64], height: int, left: int, top: int, bottom: int
) -> NDArray[np.int64]:
    """Renumber pixels, counted down the columns, in the part of the image from `left` and `top` to `bottom`."""
    column, row = np.divmod(pixels, height)
    return (column - left) * (bottom - top) + row - top


def _read_columns(
    starts: NDArray[np.int64], stops: NDArray[np.int64], height: int
) -> Iterator[tuple[NDArray[np.uint8], None]]:
    """Yield the (columns, rows) pixels of a mask, some columns at a time."""
    step = max(1, _PIXELS // height)
    end = int((stops[-1] - 1) // height) + 1
    for left in range(0, end, step):
        first, last = left * height, min(left + step, end) * height
        change = np.zeros(last - first + 1, np.int8)
        here = slice(np.searchsorted(stops, first, "right"), np.searchsorted(starts, last))
        change[starts[here].clip(first) - first] += 1
        change[stops[here].clip(None, last) - first] -= 1
        yield np.cumsum(change[:-1], dtype=np.int8).reshape(-1, height).view(np.uint8), None


def _count_runs(ones: NDArray[np.int64], total: int) -> list[int]:
    """Count runs of zeros and ones, for the ascending positions of the ones among `total`."""
    if not len(ones):
        return [total]
    breaks = np.flatnonzero(np.diff(ones) > 1)
    starts = ones[np.concatenate([[0], breaks + 1])]
    ends = ones[np.concatenate([breaks, [len(ones) - 1]])] + 1
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [total]])
    lengths: list[int] = np.diff(edges).tolist()
    return lengths if lengths[-1] else lengths[:-1]
