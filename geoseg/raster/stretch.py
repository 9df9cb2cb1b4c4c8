"""Value ranges of bands, and pictures by them: which bands are red, green and blue, which values black and white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.bands import RGB, BandStatistics

_PERCENTILES = (2.0, 98.0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Linear stretch of one or three bands to a picture."""

    bands: tuple[int, ...]
    """Positions of the bands that become red, green and blue, or of the one that becomes grey, from 0."""

    ranges: tuple[tuple[float, float], ...] | None = None
    """Values that become black and white, for each of `bands`; None: 0 and 255."""

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert (h, w, bands) pixels to (h, w, 3) red, green, blue. uint8 is unchanged without `ranges`."""
        chosen = pixels[..., list(self.bands if len(self.bands) == len(RGB) else self.bands * 3)]
        if self.ranges is None:
            return np.asarray(chosen.clip(0, 255), np.uint8)
        low, high = np.array(self.ranges, np.float64).T  # (1,) or (3,)
        scaled = (chosen - low) / (high - low)
        return np.asarray(scaled.clip(0, 1) * 255, np.uint8)


def choose_stretch(
    names: Sequence[str], dtype: str, statistics: Sequence[BandStatistics]
) -> Stretch:
    """Choose the stretch of a picture.

    Parameters
    ----------
    names
        Name of each band, see `locate_colours`.
    dtype
        Data type of the pixels. uint8 is shown unchanged.
    statistics
        Values of each band. Others than uint8 are stretched from the 2nd to the 98th percentile.
    """
    bands = locate_colours(names)
    if dtype == "uint8" or not statistics:
        return Stretch(bands)
    return Stretch(bands, tuple(value_range(statistics[band]) for band in bands))


def stretch_to(bands: tuple[int, ...], pixels: NDArray[Any], valid: NDArray[np.bool_]) -> Stretch:
    """Return a stretch from the 2nd to the 98th percentile of valid pixels; uint8 is shown unchanged.

    Parameters
    ----------
    bands
        Positions of the bands to show.
    pixels
        (h, w, bands).
    valid
        (h, w).
    """
    if pixels.dtype == np.uint8 or not valid.any():
        return Stretch(bands)
    ranges = []
    for band in bands:
        low, high = np.percentile(pixels[valid, band].astype(np.float64), _PERCENTILES)
        ranges.append((float(low), float(high) if high > low else float(low) + 1))
    return Stretch(bands, tuple(ranges))


def locate_colours(names: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of the bands that a picture shows.

    Those named red, green and blue; else the first three; of fewer than three bands the first, as grey.

    >>> locate_colours(["blue", "green", "red", "nir"])
    (2, 1, 0)
    >>> locate_colours(["", ""])
    (0,)
    """
    if all(colour in names for colour in RGB):
        return tuple(names.index(colour) for colour in RGB)
    return (0, 1, 2) if len(names) >= len(RGB) else (0,)


def is_rgb(names: Sequence[str], dtype: str) -> bool:
    """Return True for bands named red, green, blue in this order, and for three unnamed bands of uint8."""
    unnamed = len(names) == len(RGB) and not any(names) and dtype == "uint8"
    return tuple(names) == RGB or unnamed


def value_range(statistics: BandStatistics) -> tuple[float, float]:
    """Return the 2nd and 98th percentile of a band; if they are equal, the mean minus and plus a deviation or 1."""
    if statistics.p98 > statistics.p2:
        return statistics.p2, statistics.p98
    half = statistics.std if statistics.std > 0 else 1.0
    return statistics.mean - half, statistics.mean + half
