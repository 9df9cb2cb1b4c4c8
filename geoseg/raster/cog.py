"""Rasters to work on: written by windows, read once more, and then gone."""

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


# Overviews of working rasters: each half of the one before.
#
# GDAL makes those of a raster with a colour table from whole rows, which takes 3 GB at 100,000 pixels a side, and
# cannot be stopped while it makes the others. These are made by blocks.

Pixels = NDArray[np.uint8]
Resampling = Literal["mode", "average"]

_READ = 8 * BLOCK


def write_overviews(source: Path, folder: Path, resampling: Resampling) -> list[Path]:
    """Rasters of half of the size of `source`, rounded up, a quarter, …, until all of it is one block, written to
    `folder`, the largest first. `source` is uint8, IGNORE where it holds nothing; that counts for no
    overview as long as another pixel holds something.
    """
    levels: list[Path] = []
    while _longer_side(finest := levels[-1] if levels else source) > BLOCK:
        levels.append(folder / f"{2 ** (len(levels) + 1)}.tif")
        _halve(finest, levels[-1], {"mode": most_frequent, "average": average}[resampling])
    return levels


def most_frequent(pixels: Pixels) -> Pixels:
    """(h, w) → (⌈h / 2⌉, ⌈w / 2⌉), of each square of 2 x 2 pixels the label that most of them have; of labels that
    are as frequent, the one that is so first, row by row."""
    a, b, c, d = quarters = _quarters(pixels)
    found = d.copy()
    for one in reversed(quarters):
        np.copyto(found, one, where=one != IGNORE)
    # from the pair that is complete last to the one that is complete first
    for one, other in ((c, d), (b, d), (a, d), (b, c), (a, c), (a, b)):
        np.copyto(found, one, where=(one == other) & (one != IGNORE))
    return found


def average(pixels: Pixels) -> Pixels:
    """(h, w) → (⌈h / 2⌉, ⌈w / 2⌉), means of squares of 2 x 2 pixels, a half rounded up."""
    quarters = np.stack(_quarters(pixels)).astype(np.uint16)
    holds = quarters != IGNORE
    count = holds.sum(0, dtype=np.uint16)
    total = quarters.sum(0, where=holds, dtype=np.uint16)
    means = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, means, IGNORE).astype(np.uint8)


def _quarters(pixels: Pixels) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """The upper left pixel of each square, the upper right, the lower left, the lower right."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), constant_values=IGNORE)
    return even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]


def _longer_side(raster: Path) -> int:
    with rasterio.open(raster.absolute()) as dataset:
        return max(int(dataset.width), int(dataset.height))


def _halve(source: Path, output: Path, halved: Callable[[Pixels], Pixels]) -> None:
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
                    made = halved(pixels)
                    place = Window(window.col_off // 2, window.row_off // 2, *made.shape[::-1])
                    coarse.write(made, band, window=place)


def _windows(width: int, height: int) -> Iterator[Window]:
    for row in range(0, height, _READ):
        for column in range(0, width, _READ):
            yield Window(column, row, min(_READ, width - column), min(_READ, height - row))


# The raster that a user keeps: a cloud optimised GeoTIFF, made of a working raster.


def write_cog(source: Path, output: Path, *, overviews: Resampling) -> None:
    """Copy a working raster to a cloud optimised GeoTIFF with overviews. Raises OutputError when
    the disk does not take it.
    """
    folder = output.with_name(f"{output.name}.overviews")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        folder.mkdir()
        with no_georeference_is_fine(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            levels = write_overviews(source, folder, overviews)
            copy(
                str(_joined(source, levels, folder / "all.vrt").absolute()),
                str(output.absolute()),
                driver="COG",
                compress="deflate",
                blocksize=BLOCK,
                num_threads="all_cpus",
                bigtiff="if_safer",
            )
            if not _is_whole(output):
                raise unwritable(output)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise unwritable(output) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _joined(source: Path, overviews: Sequence[Path], output: Path) -> Path:
    """A raster that is `source` and has `overviews`, which lie beside `output`."""
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


def _is_whole(cog: Path) -> bool:
    """False where blocks are missing: GDAL does not tell when the disk refuses what its threads have compressed."""
    size = cog.stat().st_size
    with rasterio.open(cog.absolute()) as made:
        rows, columns = (range(-(-side // BLOCK)) for side in made.shape)
        places = product(columns, rows, made.indexes)
        return all(
            (block := stored_block(made, *place)) is not None and sum(block) <= size
            for place in places
        )
