"""Histograms of the values of a band, from which statistics follow whatever the order of the pixels.

Integers of up to 16 bits are counted exactly. Floats are counted in bins of 1/2048 of their power of two, so that a
percentile is off by at most 0.05 %, in bounded memory; their minimum, maximum, mean and standard deviation are exact.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.raster.bands import BandStatistics

DTYPES = ("uint8", "uint16", "int16", "float32")
"""Data types of the pixels of a dataset."""

_BITS = 12
"""Low bits of a float32 that are not counted; 11 of its mantissa remain."""


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Values of one band, counted."""

    floats: bool
    """True for float32."""

    bins: NDArray[np.int64]
    """(n,) values, or for floats the upper bits of their values, sorted, each once."""

    counts: NDArray[np.int64]
    """(n,) number of pixels in each bin."""

    minimum: float = inf
    maximum: float = -inf

    total: float = 0.0
    """Sum of the values of floats; integers are summed when statistics are computed."""

    squares: float = 0.0
    """Sum of their squares."""

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON data; bins and counts are compressed."""
        return {
            "floats": self.floats,
            "bins": _pack(np.diff(self.bins, prepend=0)),
            "counts": _pack(self.counts),
            **({"range": [self.minimum, self.maximum]} if len(self.bins) else {}),
            "sums": [self.total, self.squares],
        }

    @classmethod
    def from_json(cls, data: Any) -> Histogram:
        """Read JSON data from `to_json`."""
        bins, counts = np.cumsum(_unpack(data["bins"])), _unpack(data["counts"])
        return cls(
            bool(data["floats"]), bins, counts, *data.get("range", (inf, -inf)), *data["sums"]
        )


def count_values(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[Histogram, ...]:
    """Count the values of each band where they are valid.

    Parameters
    ----------
    pixels
        (bands, h, w) of one of `DTYPES`.
    valid
        (h, w) True for pixels that count.
    """
    if pixels.dtype.kind == "f":
        return tuple(_count_floats(band[valid].astype(np.float32)) for band in pixels)
    return tuple(_count_integers(band[valid]) for band in pixels)


def empty_histograms(bands: int, dtype: DTypeLike) -> tuple[Histogram, ...]:
    """Return the histograms of no pixels."""
    return count_values(np.zeros((bands, 0, 0), dtype), np.zeros((0, 0), bool))


def add_histograms(parts: Sequence[Histogram]) -> Histogram:
    """Add histograms of one band; their order does not matter."""
    bins, which = np.unique(np.concatenate([p.bins for p in parts]), return_inverse=True)
    counts = np.zeros(len(bins), np.int64)
    np.add.at(counts, which, np.concatenate([p.counts for p in parts]))
    return Histogram(
        parts[0].floats,
        bins,
        counts,
        min(p.minimum for p in parts),
        max(p.maximum for p in parts),
        fsum(p.total for p in parts),
        fsum(p.squares for p in parts),
    )


def compute_statistics(scenes: Iterable[Sequence[Histogram]]) -> tuple[BandStatistics, ...]:
    """Compute the statistics of every band over all scenes; zeros if no pixel is valid.

    Notes
    -----
    Percentiles are interpolated between the two nearest pixels, as by `numpy.percentile`.
    """
    return tuple(map(_describe, map(add_histograms, zip(*scenes, strict=True))))


def _describe(histogram: Histogram) -> BandStatistics:
    pixels = int(histogram.counts.sum())
    if not pixels:
        return BandStatistics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    values = _bin_values(histogram)
    total, squares = histogram.total, histogram.squares
    if not histogram.floats:  # exact: Python's integers have no limit
        pairs = list(zip(histogram.bins.tolist(), histogram.counts.tolist(), strict=True))
        total, squares = sum(v * n for v, n in pairs), sum(v * v * n for v, n in pairs)
    mean = total / pixels
    variance = squares / pixels - mean**2
    if not histogram.floats:
        variance = (squares * pixels - total * total) / pixels**2
    return BandStatistics(
        minimum=float(histogram.minimum),
        p2=_interpolate(values, histogram.counts, 0.02),
        p98=_interpolate(values, histogram.counts, 0.98),
        maximum=float(histogram.maximum),
        mean=mean,
        std=sqrt(max(variance, 0.0)),
    )


def _interpolate(values: NDArray[np.float64], counts: NDArray[np.int64], share: float) -> float:
    """Return the quantile of sorted values of which each occurs `counts` times."""
    ends = np.cumsum(counts)
    position = share * (int(ends[-1]) - 1)
    lower = int(position)
    below, above = values[np.searchsorted(ends, [lower, min(lower + 1, ends[-1] - 1)], "right")]
    return float(below + (above - below) * (position - lower))


def _bin_values(histogram: Histogram) -> NDArray[np.float64]:
    """Return the value of each bin; of floats the middle, within the range of the values."""
    if not histogram.floats:
        return histogram.bins.astype(np.float64)
    middle = (histogram.bins << _BITS) + (1 << (_BITS - 1))
    bits = np.where(middle < 0, ~(middle + (1 << 31)) & 0xFFFFFFFF, middle).astype(np.uint32)
    values = bits.view(np.float32).astype(np.float64)
    return np.clip(values, histogram.minimum, histogram.maximum)


def _count_integers(values: NDArray[Any]) -> Histogram:
    limits = np.iinfo(values.dtype)
    dense = np.bincount(values.astype(np.int64) - limits.min, minlength=limits.max - limits.min + 1)
    bins = np.flatnonzero(dense)
    extent = (float(bins[0] + limits.min), float(bins[-1] + limits.min)) if len(bins) else ()
    return Histogram(False, bins + limits.min, dense[bins].astype(np.int64), *extent)


def _count_floats(values: NDArray[np.float32]) -> Histogram:
    bits = values.view(np.int32).astype(np.int64)
    order = np.where(bits < 0, ~bits - (1 << 31), bits)  # of integers as of the floats
    bins, counts = np.unique(order >> _BITS, return_counts=True)
    if not len(values):
        return Histogram(True, bins, counts.astype(np.int64))
    exact = values.astype(np.float64)
    extent = float(exact.min()), float(exact.max())
    total, squares = float(exact.sum()), float(np.square(exact).sum())
    return Histogram(True, bins, counts.astype(np.int64), *extent, total, squares)


def _pack(numbers: NDArray[np.int64]) -> str:
    return b64encode(zlib.compress(numbers.astype("<i8").tobytes())).decode("ascii")


def _unpack(text: str) -> NDArray[np.int64]:
    return np.frombuffer(zlib.decompress(b64decode(text)), "<i8").astype(np.int64)
