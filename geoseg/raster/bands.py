"""Bands of a raster: names, choice by number or name, and statistics of their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from geoseg.errors import SceneError
from geoseg.files import ScenePath
from geoseg.options import Bands

RGB = ("red", "green", "blue")
"""Names of the bands of a colour image."""

_ALIASES = {
    "coastal": ("coastalaerosol", "coastalblue", "aerosol", "b01"),
    "blue": ("b", "b02"),
    "green": ("g", "b03"),
    "red": ("r", "b04"),
    "rededge1": ("b05", "vegetationrededge1"),
    "rededge2": ("b06", "vegetationrededge2"),
    "rededge3": ("b07", "vegetationrededge3"),
    "nir": ("nearinfrared", "nearir", "infrared", "nir1", "n", "b08"),
    "nir08": ("b8a", "b08a", "narrownir", "nirnarrow"),
    "nir09": ("b09", "watervapour", "watervapor"),
    "cirrus": ("b10",),
    "swir1": ("swir16", "shortwaveinfrared1", "b11"),
    "swir2": ("swir22", "shortwaveinfrared2", "b12"),
    "pan": ("panchromatic",),
    "lwir": ("thermal", "thermalinfrared", "tir"),
}
"""Other names of a band, without spaces: those of Sentinel-2 with two digits, of STAC, and of sensors in common use. B2
or B4 alone is not among them: it is another colour in Landsat 7 than in Landsat 8 and Sentinel-2."""

_NAME_OF = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}
_NUMBERED = re.compile(r"(band|layer|channel)?\d*")
_WITHOUT_MEANING = (
    ColorInterp.undefined,
    ColorInterp.gray,
    ColorInterp.palette,
    ColorInterp.alpha,
)


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


def describe_bands(names: Sequence[str], dtype: str) -> str:
    """Return a phrase with the number, data type and names of bands.

    >>> describe_bands(("red", "", "nir"), "uint16")
    '3 bands of uint16 (red, 2, nir)'
    >>> describe_bands(("",), "float32")
    '1 band of float32'
    """
    count = f"{len(names)} {'band' if len(names) == 1 else 'bands'} of {dtype}"
    listed = ", ".join(name or str(number) for number, name in enumerate(names, start=1))
    return f"{count} ({listed})" if any(names) else count


def normalize_band_name(text: str) -> str:
    """Return the name of a band in lower case, without what follows a comma, and aliases by their usual name.

    "" for a name that is only a number, such as ``Band 1``.

    >>> [normalize_band_name(text) for text in ("R", "Near-Infrared", "B08", "Band 4", "NDVI mean")]
    ['red', 'nir', 'nir', '', 'ndvi mean']
    """
    name = " ".join(text.partition(",")[0].lower().split())
    compact = re.sub(r"[\s_-]", "", name)
    return "" if _NUMBERED.fullmatch(compact) else _NAME_OF.get(compact, name)


def read_band_names(dataset: DatasetReader) -> tuple[str, ...]:
    """Return the name of every band of an open raster: its description, else its colour; "" if it has neither."""
    return tuple(
        normalize_band_name(description or "")
        or ("" if colour in _WITHOUT_MEANING else normalize_band_name(colour.name))
        for description, colour in zip(dataset.descriptions, dataset.colorinterp, strict=True)
    )


def find_bands(bands: Bands, names: Sequence[str], file: ScenePath) -> tuple[int, ...]:
    """Return the numbers, from 1, of bands that are given by number or name.

    Parameters
    ----------
    bands
        Numbers and names, or both: ``red=3``.
    names
        Name of every band of the raster; "" if unknown.
    file
        Raster, for messages.

    Raises
    ------
    SceneError
        If the raster has no such band, or several.
    """
    return tuple(_find_band(band, names, file) for band in bands)


def assign_names(bands: Bands, indexes: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all bands of a raster with those that are given by name and number, such as ``red=3``.

    Parameters
    ----------
    bands
        Bands as given.
    indexes
        Their numbers, from `find_bands`.
    names
        Name of every band of the raster; "" if unknown.
    """
    assigned = list(names)
    for band, index in zip(bands, indexes, strict=True):
        if isinstance(band, str) and "=" in band:
            assigned[index - 1] = normalize_band_name(band.rpartition("=")[0])
    return tuple(assigned)


def _find_band(band: int | str, names: Sequence[str], file: ScenePath) -> int:
    if isinstance(band, str) and "=" in band:
        band = int(band.rpartition("=")[2])
    if isinstance(band, int):
        if not 1 <= band <= len(names):
            raise SceneError(
                f"{file}: has no band {band}; {list_bands(names)}. Pass some of these to --bands"
            )
        return band
    name = normalize_band_name(band)
    if names.count(name) > 1:
        raise SceneError(f"{file}: has several bands {band!r}. Pass their numbers to --bands")
    if not name or name not in names:
        raise SceneError(
            f"{file}: has no band {band!r}; {list_bands(names)}. Pass some of these to --bands, by "
            "number or name"
        )
    return names.index(name) + 1


def match_bands(
    wanted: Sequence[str], names: Sequence[str], alpha: int | None, file: ScenePath
) -> tuple[int, ...] | None:
    """Find the bands of a raster that have the names of a model's or dataset's bands.

    Parameters
    ----------
    wanted
        Names of the bands of the model or dataset.
    names
        Name of every band of the raster.
    alpha
        Alpha band, if there is one.
    file
        Raster, for messages.

    Returns
    -------
    tuple of int or None
        Band numbers in the order of `wanted`; None if a name is unknown on either side, so that names decide nothing.

    Raises
    ------
    SceneError
        If all bands are named, and not those of `wanted` among them.
    """
    if not wanted or not all(wanted) or len(set(wanted)) < len(wanted):
        return None
    if all(names.count(name) == 1 for name in wanted):
        return tuple(names.index(name) + 1 for name in wanted)
    others = [band for band in range(1, len(names) + 1) if band != alpha]
    if not all(names[band - 1] for band in others):
        return None
    needed = f"{file}: need the bands {', '.join(wanted)}; {list_bands(names)}"
    if len(others) < len(wanted):
        raise SceneError(f"{needed}. Use a scene that has them")
    few = ",".join(map(str, others[: len(wanted)]))
    raise SceneError(f"{needed}. Choose them by number, for example --bands {few}")


def list_bands(names: Sequence[str]) -> str:
    """Return a clause that lists the bands of a raster, for messages.

    >>> list_bands(("red", ""))
    'its bands are 1 red, 2'
    """
    if not any(names):
        several = f"its bands 1 to {len(names)} have no names"
        return several if len(names) > 1 else "its band has no name"
    bands = (f"{number} {name}".rstrip() for number, name in enumerate(names, start=1))
    return f"its bands are {', '.join(bands)}"
