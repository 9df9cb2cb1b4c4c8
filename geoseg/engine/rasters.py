"""Rasters to work on: written by windows, read once more, and then gone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter

from geoseg.errors import OutputError
from geoseg.legend import IGNORE
from geoseg.scene import SceneInfo

BLOCK = 512
WORKING: Mapping[str, Any] = {
    "driver": "GTiff",
    "dtype": "uint8",
    "nodata": IGNORE,
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "compress": "deflate",
    "zlevel": 1,
    "sparse_ok": True,
    "bigtiff": "if_safer",
    "interleave": "band",
    "photometric": "minisblack",
}
"""How rasters are written that are read once more and then go."""

Colormap = Mapping[int, tuple[int, int, int, int]]


@contextmanager
def working_raster(
    path: Path,
    info: SceneInfo,
    *,
    bands: Sequence[str] = ("",),
    tags: Mapping[str, str] | None = None,
    colormap: Colormap | None = None,
) -> Iterator[DatasetWriter]:
    """A new uint8 GeoTIFF on the scene's own grid with `bands` of these names, to be written by windows;
    what is never written reads as IGNORE.

    Raises OutputError when the disk does not take it.
    """
    try:
        with (
            no_georeference_is_fine(),
            rasterio.open(
                str(path.absolute()),
                "w",
                width=info.width,
                height=info.height,
                count=len(bands),
                crs=info.crs,
                transform=info.transform,
                **WORKING,
            ) as raster,
        ):
            for number, name in enumerate(bands, start=1):
                raster.set_band_description(number, name)
            if tags:
                raster.update_tags(**tags)
            if colormap:
                raster.write_colormap(1, dict(colormap))
            yield raster
    except (RasterioError, CPLE_BaseError) as error:
        raise unwritable(path) from error


def unwritable(path: Path) -> OutputError:
    """What to raise when the disk does not take `path`."""
    return OutputError(f"{path.parent}: labels could not be written there. is the disk full?")


@contextmanager
def no_georeference_is_fine() -> Iterator[None]:
    """Scenes need not lie anywhere: rasterio's warning of it is not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
