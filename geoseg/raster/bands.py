"""Bands of a raster: names, choice by number or name, and statistics of their values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

RGB = ("red", "green", "blue")
"""Names of the bands of a colour image."""


@dataclass(frozen=True, slots=True)
class BandStatistics:
    """Values of one band over the valid pixels of several scenes, in units of the pixels."""

    minimum: float

    p2: float
    """2nd percentile."""

    p98: float
    """98th percentile."""

    maximum: float
    mean: float

    std: float
    """Standard deviation of the population."""

    def to_json(self) -> dict[str, float]:
        """Convert to JSON data, by the names of the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> BandStatistics:
        """Read JSON data. Raises KeyError, TypeError or ValueError if they are not those of `to_json`."""
        return cls(**{name: float(data[name]) for name in cls.__slots__})


def default_band_names(count: int, dtype: str) -> tuple[str, ...]:
    """Return the names of bands of which none are stored: red, green, blue for three of uint8, else empty ones."""
    return RGB if count == len(RGB) and dtype == "uint8" else ("",) * count
