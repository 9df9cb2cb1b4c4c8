"""The rasters a scene's labels go to: one to work on, and the cloud optimised one that a user
keeps.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter
from rasterio.shutil import copy

from geoseg.errors import OutputError
from geoseg.legend import IGNORE
from geoseg.scene import CACHE_BYTES, SceneInfo

_BLOCK = 512

Colormap = Mapping[int, tuple[int, int, int, int]]


@contextmanager
def working_raster(
    path: Path,
    info: SceneInfo,
    *,
    bands: Sequence[str] = ("",),
    tags: Mapping[str, str] | None = None,
) -> Iterator[DatasetWriter]:
    """A new uint8 GeoTIFF on the scene's own grid with `bands` of these names, to be written by windows;
    what is never written reads as IGNORE.

    Raises OutputError when the disk does not take it.
    """
    try:
        with (
            _no_georeference_is_fine(),
            rasterio.open(
                str(path.absolute()),
                "w",
                driver="GTiff",
                width=info.width,
                height=info.height,
                count=len(bands),
                dtype="uint8",
                crs=info.crs,
                transform=info.transform,
                nodata=IGNORE,
                tiled=True,
                blockxsize=_BLOCK,
                blockysize=_BLOCK,
                compress="deflate",
                zlevel=1,
                sparse_ok=True,
                bigtiff="if_safer",
                interleave="band",
                photometric="minisblack",
            ) as raster,
        ):
            for number, name in enumerate(bands, start=1):
                raster.set_band_description(number, name)
            if tags:
                raster.update_tags(**tags)
            yield raster
    except RasterioError as error:
        raise _unwritable(path) from error


def write_cog(
    source: Path,
    output: Path,
    *,
    overviews: Literal["mode", "average"],
    colormap: Colormap | None = None,
) -> None:
    """Copy a working raster to a cloud optimised GeoTIFF with overviews and, if given, a colour table. The working
    raster gets them too: first the overviews, of which GDAL makes those of a raster that has a colour table from
    whole rows, 3 GB at 100,000 pixels a side.

    Raises OutputError when the disk does not take it.
    """
    try:
        with (
            _no_georeference_is_fine(),
            rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS="ALL_CPUS"),
        ):
            with rasterio.open(source.absolute(), "r+") as raster:
                if factors := _factors(max(raster.shape)):
                    raster.build_overviews(factors, Resampling[overviews])
                if colormap:
                    raster.write_colormap(1, dict(colormap))
            copy(
                str(source.absolute()),
                str(output.absolute()),
                driver="COG",
                compress="deflate",
                blocksize=_BLOCK,
                bigtiff="if_safer",
            )
    except RasterioError as error:
        raise _unwritable(output) from error


def _factors(side: int) -> list[int]:
    """By which a raster is made smaller, until all of it is one block."""
    return [2**n for n in range(1, 32) if side > _BLOCK * 2 ** (n - 1)]


def _unwritable(path: Path) -> OutputError:
    return OutputError(f"{path.parent}: labels could not be written there. is the disk full?")


@contextmanager
def _no_georeference_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
