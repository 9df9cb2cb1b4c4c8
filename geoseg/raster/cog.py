"""Write Cloud Optimized GeoTIFFs with bounded memory.

A product is first written by windows to a temporary raster, then copied to a COG with its overviews. GDAL would
compute the overviews of a raster with a colour table from whole rows, which takes 3 GB at 100,000 columns, and cannot
be interrupted while it computes them; here they are computed by blocks.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter
from rasterio.shutil import copy
from rasterio.windows import Window

from geoseg.errors import OutputError
from geoseg.legend import IGNORE
from geoseg.raster.checks import stored_block
from geoseg.raster.scene import CACHE_BYTES, SceneInfo

BLOCK = 512

_READ = 8 * BLOCK

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
"""Creation options of temporary rasters."""

Colormap = Mapping[int, tuple[int, int, int, int]]
"""Value to red, green, blue, alpha."""

Pixels = NDArray[np.uint8]

Resampling = Literal["mode", "average"]


@contextmanager
def create_working_raster(
    path: Path,
    info: SceneInfo,
    *,
    bands: Sequence[str] = ("",),
    tags: Mapping[str, str] | None = None,
    colormap: Colormap | None = None,
) -> Iterator[DatasetWriter]:
    """Create a temporary uint8 GeoTIFF on the grid of a scene, to be written by windows.

    Parameters
    ----------
    path
        File to create.
    info
        Scene with the size, CRS and transform.
    bands
        Descriptions of the bands.
    tags
        GDAL metadata items.
    colormap
        Colour table of the first band.

    Yields
    ------
    DatasetWriter
        Raster whose unwritten blocks read as IGNORE.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    try:
        with (
            ignore_missing_georeference(),
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
        raise disk_full_error(path) from error


def disk_full_error(path: Path) -> OutputError:
    """Return the error for a raster that GDAL could not write."""
    return OutputError(
        f"{path.parent}: a raster could not be written. Check whether the disk is full"
    )


@contextmanager
def ignore_missing_georeference() -> Iterator[None]:
    """Suppress the warning of rasterio about rasters without georeference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


# Overviews


def write_overviews(source: Path, folder: Path, resampling: Resampling) -> list[Path]:
    """Write overviews of a raster, each half the size of the one before, until one fits into a block.

    Parameters
    ----------
    source
        uint8 raster, IGNORE where there is no data. Such pixels count only if all four are.
    folder
        Existing folder for the overviews.
    resampling
        "mode" for classes, "average" for values.

    Returns
    -------
    list of Path
        Overviews, the largest first.
    """
    levels: list[Path] = []
    while _longer_side(finest := levels[-1] if levels else source) > BLOCK:
        levels.append(folder / f"{2 ** (len(levels) + 1)}.tif")
        _halve(finest, levels[-1], {"mode": reduce_by_mode, "average": reduce_by_mean}[resampling])
    return levels


def reduce_by_mode(pixels: Pixels) -> Pixels:
    """Return (⌈h / 2⌉, ⌈w / 2⌉) most frequent labels of 2 x 2 pixels; of a tie the first one, row by row."""
    a, b, c, d = quarters = _quarters(pixels)
    found = d.copy()
    for one in reversed(quarters):
        np.copyto(found, one, where=one != IGNORE)
    # from the pair that completes last to the one that completes first
    for one, other in ((c, d), (b, d), (a, d), (b, c), (a, c), (a, b)):
        np.copyto(found, one, where=(one == other) & (one != IGNORE))
    return found


def reduce_by_mean(pixels: Pixels) -> Pixels:
    """Return (⌈h / 2⌉, ⌈w / 2⌉) means of 2 x 2 pixels, halves rounded up."""
    quarters = np.stack(_quarters(pixels)).astype(np.uint16)
    holds = quarters != IGNORE
    count = holds.sum(0, dtype=np.uint16)
    total = quarters.sum(0, where=holds, dtype=np.uint16)
    means = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, means, IGNORE).astype(np.uint8)


def _quarters(pixels: Pixels) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """Return upper left, upper right, lower left and lower right pixels of all squares of 2 x 2."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), constant_values=IGNORE)
    return even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]


def _longer_side(raster: Path) -> int:
    with rasterio.open(raster.absolute()) as dataset:
        return max(int(dataset.width), int(dataset.height))


def _halve(source: Path, output: Path, reduce: Callable[[Pixels], Pixels]) -> None:
    with (
        rasterio.open(source.absolute()) as fine,
        rasterio.open(
            output.absolute(),
            "w",
            width=-(-fine.width // 2),
            height=-(-fine.height // 2),
            count=fine.count,
            **WORKING,
        ) as coarse,
    ):
        for window in _windows(fine.width, fine.height):
            for band in fine.indexes:
                pixels = fine.read(band, window=window)
                if (pixels != IGNORE).any():
                    reduced = reduce(pixels)
                    place = Window(window.col_off // 2, window.row_off // 2, *reduced.shape[::-1])
                    coarse.write(reduced, band, window=place)


def _windows(width: int, height: int) -> Iterator[Window]:
    for row in range(0, height, _READ):
        for column in range(0, width, _READ):
            yield Window(column, row, min(_READ, width - column), min(_READ, height - row))


# Cloud Optimized GeoTIFF


def write_cog(source: Path, output: Path, *, overviews: Resampling) -> None:
    """Copy a raster to a Cloud Optimized GeoTIFF with overviews.

    Parameters
    ----------
    source
        uint8 raster, as `create_working_raster` writes it.
    output
        COG to create.
    overviews
        Resampling of the overviews.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    folder = output.with_name(f"{output.name}.overviews")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        folder.mkdir()
        with ignore_missing_georeference(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            levels = write_overviews(source, folder, overviews)
            copy(
                str(_build_vrt(source, levels, folder / "all.vrt").absolute()),
                str(output.absolute()),
                driver="COG",
                compress="deflate",
                blocksize=BLOCK,
                num_threads="all_cpus",
                bigtiff="if_safer",
            )
            if not _is_complete(output):
                raise disk_full_error(output)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise disk_full_error(output) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build_vrt(source: Path, overviews: Sequence[Path], output: Path) -> Path:
    """Write a VRT of `source` with `overviews`, which are in the same folder."""
    copy(str(source.absolute()), str(output.absolute()), driver="VRT")
    tree = ElementTree.parse(output)
    for band in tree.iter("VRTRasterBand"):
        for overview in overviews:
            element = ElementTree.SubElement(band, "Overview")
            name = ElementTree.SubElement(element, "SourceFilename", relativeToVRT="1")
            name.text = overview.name
            ElementTree.SubElement(element, "SourceBand").text = band.get("band")
    tree.write(output)
    return output


def _is_complete(cog: Path) -> bool:
    """Return False if blocks are missing: GDAL reports no error when its threads cannot write them."""
    size = cog.stat().st_size
    with rasterio.open(cog.absolute()) as dataset:
        rows, columns = (range(-(-side // BLOCK)) for side in dataset.shape)
        places = product(columns, rows, dataset.indexes)
        return all(
            (block := stored_block(dataset, *place)) is not None and sum(block) <= size
            for place in places
        )
