"""Run-length encoded masks as COCO has them, and their outlines.

Runs of pixels outside and inside the mask by turns, counted down the columns from left to right, the first
run outside. Compressed, each count is a little-endian base-32 number of ASCII characters (from ``0``; bit 5:
more follow; the last one's bit 4: negative), from the fourth count on less the count two before.
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

_FIRST = 48  # of the characters
_DIGITS = 7  # of the largest count that fits into 32 bits
_PIXELS = 1 << 22  # decoded at a time


def counts_of(text: str) -> NDArray[np.int64]:
    """Lengths of the runs that compressed `text` stands for. Raises ValueError when it is none."""
    try:
        digits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _FIRST
    except UnicodeEncodeError as fault:
        raise ValueError("its counts are no compressed run lengths") from fault
    if not len(digits):
        return digits
    last = digits & 32 == 0
    if digits.min() < 0 or digits.max() > 63 or not last[-1]:
        raise ValueError("its counts are no compressed run lengths")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    length = ends - starts + 1
    if length.max() > _DIGITS:
        raise ValueError("its counts are no compressed run lengths")
    place = np.arange(len(digits)) - np.repeat(starts, length)
    numbers = np.add.reduceat((digits & 31) << (5 * place), starts)
    numbers -= np.where(digits[ends] & 16, np.int64(1) << (5 * length), 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def outline(height: int, width: int, counts: Any) -> shapely.Geometry:
    """The mask's outline along the edges of its pixels, in pixels of the image; empty for an empty mask.

    `counts` is a list of integers, or compressed text. Raises ValueError when they do not make up an image of
    `height` x `width` pixels.
    """
    runs = counts_of(counts) if isinstance(counts, str) else _plain(counts)
    pixels = height * width
    if (len(runs) and not 0 <= runs.min() <= runs.max() <= pixels) or runs.sum() != pixels:
        raise ValueError(
            f"its runs have {int(runs.sum()):,} pixels, the image {pixels:,} ({width} x {height})"
        )
    edges = np.cumsum(runs)
    stops = edges[1::2]
    starts = edges[0::2][: len(stops)]
    some = stops > starts
    starts, stops = starts[some], stops[some]
    if not len(starts):
        return shapely.Polygon()
    left, top, bottom = int(starts[0] // height), *_rows(starts, stops, height)
    # what follows sees only the columns and rows that the mask reaches
    starts, last = (_moved(n, height, left, top, bottom) for n in (starts, stops - 1))
    turned = Affine(0, 1, left, 1, 0, top)  # rows of what is traced are columns of the image
    strips = _columns(starts, last + 1, bottom - top)
    polygons = np.concatenate([batch.geometry(turned) for batch in trace(strips)])
    return polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)


def _plain(counts: Any) -> NDArray[np.int64]:
    if not isinstance(counts, list) or not set(map(type, counts)) <= {int}:
        raise ValueError("its counts are neither integers nor compressed text")
    try:
        return np.array(counts, np.int64)
    except OverflowError as fault:
        raise ValueError("its counts are too large") from fault


def _rows(starts: NDArray[np.int64], stops: NDArray[np.int64], height: int) -> tuple[int, int]:
    """First row of the mask and the one after its last; all rows when a run goes on in the next column."""
    if (starts // height != (stops - 1) // height).any():
        return 0, height
    return int((starts % height).min()), int(((stops - 1) % height).max()) + 1


def _moved(
    pixels: NDArray[np.int64], height: int, left: int, top: int, bottom: int
) -> NDArray[np.int64]:
    """Numbers of pixels, counted down the columns, where others are left out."""
    column, row = np.divmod(pixels, height)
    return (column - left) * (bottom - top) + row - top


def _columns(
    starts: NDArray[np.int64], stops: NDArray[np.int64], height: int
) -> Iterator[tuple[NDArray[np.uint8], None]]:
    """(columns, rows) of a mask, a few columns at a time."""
    step = max(1, _PIXELS // height)
    end = int((stops[-1] - 1) // height) + 1
    for left in range(0, end, step):
        first, last = left * height, min(left + step, end) * height
        change = np.zeros(last - first + 1, np.int8)
        here = slice(np.searchsorted(stops, first, "right"), np.searchsorted(starts, last))
        change[starts[here].clip(first) - first] += 1
        change[stops[here].clip(None, last) - first] -= 1
        yield np.cumsum(change[:-1], dtype=np.int8).reshape(-1, height).view(np.uint8), None


# COCO's run lengths: columns from left to right, in them rows from above, beginning with what is not set.


def run_lengths(geometry: shapely.Geometry, height: int, width: int) -> list[int]:
    """Of the pixels whose centres lie in a geometry, which lies in an image of `height` x `width` pixels."""
    left, top, right, bottom = (int(v) for v in np.floor(geometry.bounds))
    right, bottom = min(right + 1, width), min(bottom + 1, height)
    alone = Annotations(np.array([geometry], object), np.ones(1, np.uint8), np.zeros(1, np.bool_))
    pixels = burn(
        alone, bottom - top, right - left, transform=Affine.translation(-left, -top)
    ).astype(np.bool_)
    column, row = np.nonzero(pixels.T)
    return _lengths((column + left) * height + row + top, height * width)


def _lengths(ones: NDArray[np.int64], total: int) -> list[int]:
    """Lengths of runs of zeros and ones by turns, for the ascending places of the ones among `total`."""
    if not len(ones):
        return [total]
    breaks = np.flatnonzero(np.diff(ones) > 1)
    starts = ones[np.concatenate([[0], breaks + 1])]
    ends = ones[np.concatenate([breaks, [len(ones) - 1]])] + 1
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [total]])
    lengths: list[int] = np.diff(edges).tolist()
    return lengths if lengths[-1] else lengths[:-1]
