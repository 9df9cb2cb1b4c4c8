"""Which bands of a raster are its picture, and which tells where it is transparent."""

from __future__ import annotations

import logging

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.files import Source

log = logging.getLogger(__name__)

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_SAMPLES = 16  # windows of 256 x 256 pixels that decide whether a band called alpha is one
_MASK_LIKE = 0.95


def alpha_band(dataset: DatasetReader, file: Source) -> int | None:
    """The band that says where the scene is transparent, if there is one.

    GDAL calls the fourth band of a uint8 file alpha unless told otherwise, so a near-infrared
    band often carries that name. It is believed when nearly all of its values mean transparent or
    opaque.
    """
    bands = [b for b, c in enumerate(dataset.colorinterp, start=1) if c == ColorInterp.alpha]
    if not bands or dataset.count == 1:
        return None
    band = bands[-1]
    values = np.concatenate([dataset.read(band, window=w).ravel() for w in _sample(dataset)])
    top = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    extreme = np.count_nonzero((values == 0) | (values == top)) / values.size
    if extreme >= _MASK_LIKE or len(np.unique(values)) <= 2:
        return band
    log.warning(
        "%s: band %d is called alpha, but holds data; it is not taken for transparency", file, band
    )
    return None


def picture_bands(
    dataset: DatasetReader, alpha: int | None, *, bands: int | None, file: Source
) -> tuple[int, ...]:
    """The bands to read, numbered from 1: all but alpha, reds before greens before blues.

    Raises SceneError when there are not `bands` of them.
    """
    found = tuple(b for b in dataset.indexes if b != alpha)
    if bands is not None and len(found) != bands:
        few = ",".join(map(str, found[:bands])) if len(found) > bands else ",".join(["1"] * bands)
        raise SceneError(
            f"{file}: has {len(found)} {'band' if len(found) == 1 else 'bands'}, the model wants "
            f"{bands}. say which to use, for example --bands {few}"
        )
    colours = [dataset.colorinterp[b - 1] for b in found]
    if len(found) == len(_RGB) and set(colours) == set(_RGB):
        return tuple(found[colours.index(colour)] for colour in _RGB)
    return found


def _sample(dataset: DatasetReader) -> list[Window]:
    """Windows spread evenly over the scene; all of it when it is small."""
    side = 256
    across = np.linspace(0, max(dataset.width - side, 0), int(_SAMPLES**0.5)).astype(int)
    down = np.linspace(0, max(dataset.height - side, 0), int(_SAMPLES**0.5)).astype(int)
    return [
        Window(int(x), int(y), min(side, dataset.width), min(side, dataset.height))
        for y in np.unique(down)
        for x in np.unique(across)
    ]
