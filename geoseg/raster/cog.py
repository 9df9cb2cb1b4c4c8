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
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter
from rasterio.shutil import copy
from rasterio.windows import Window

from geoseg.errors import ConfigError, OutputError
from geoseg.legend import IGNORE
from geoseg.raster.checks import stored_block
from geoseg.raster.scene import CACHE_BYTES, SceneInfo

BLOCK = 512

ROWS = 64
"""Rows of a block of `RowWriter`."""

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

Pixels = NDArray[Any]
"""Pixels of one band, of any integer type."""

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
                transform=stored_transform(info.transform),
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


def stored_transform(transform: Affine | None) -> Affine | None:
    """Return the geotransform to write: none where a raster has none.

    GDAL stores an identity as a geotransform with y pointing down, and QGIS would place the product above the scene.
    """
    return None if transform == Affine.identity() else transform


class RowWriter:
    """Writes rows of any heights, from top to bottom, to a temporary GeoTIFF of IDs.

    Parameters
    ----------
    path
        File to create.
    shape
        Rows and columns.
    dtype
        ``int32`` or ``uint32``. 0 is nodata.
    crs, transform
        Georeference, if there is one.

    Notes
    -----
    Rows are buffered until they fill blocks, as a block that is written twice is stored twice.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        dtype: str,
        *,
        crs: CRS | None = None,
        transform: Affine | None = None,
    ) -> None:
        height, width = shape
        options = {**WORKING, "dtype": dtype, "nodata": 0, "blockysize": ROWS}
        self._path = path
        self._pending: list[Pixels] = []
        self._row = 0
        with _translate_errors(path), ignore_missing_georeference():
            self._raster = rasterio.open(
                path.absolute(), "w", width=width, height=height, count=1, crs=crs,
                transform=stored_transform(transform), **options,
            )  # fmt: skip

    def write(self, rows: Pixels) -> None:
        """Write the next rows. Raises OutputError if the disk is full."""
        self._pending.append(rows)
        buffered = sum(map(len, self._pending))
        if buffered < ROWS:
            return
        pixels = np.concatenate(self._pending)
        whole = buffered // ROWS * ROWS
        self._flush(pixels[:whole])
        self._pending = [pixels[whole:].copy()]

    def close(self) -> None:
        """Write what is buffered and close the file. Raises OutputError if the disk is full."""
        self._flush(np.concatenate(self._pending) if self._pending else np.empty((0, 0)))
        self._pending = []
        with _translate_errors(self._path):
            self._raster.close()

    def _flush(self, pixels: Pixels) -> None:
        if not pixels.any():
            self._row += len(pixels)
            return
        with _translate_errors(self._path):
            height, width = pixels.shape
            self._raster.write(pixels, 1, window=Window(0, self._row, width, height))
        self._row += height


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
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
        Raster with a nodata value. Pixels of nodata count only if all four are.
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


def reduce_by_mode(pixels: Pixels, nodata: int = IGNORE) -> Pixels:
    """Return (⌈h / 2⌉, ⌈w / 2⌉) most frequent labels of 2 x 2 pixels; of a tie the first one, row by row."""
    a, b, c, d = quarters = _quarters(pixels, nodata)
    found = d.copy()
    for one in reversed(quarters):
        np.copyto(found, one, where=one != nodata)
    # from the pair that completes last to the one that completes first
    for one, other in ((c, d), (b, d), (a, d), (b, c), (a, c), (a, b)):
        np.copyto(found, one, where=(one == other) & (one != nodata))
    return found


def reduce_by_mean(pixels: Pixels, nodata: int = IGNORE) -> Pixels:
    """Return (⌈h / 2⌉, ⌈w / 2⌉) means of 2 x 2 uint8 pixels, halves rounded up."""
    quarters = np.stack(_quarters(pixels, nodata)).astype(np.uint16)
    holds = quarters != nodata
    count = holds.sum(0, dtype=np.uint16)
    total = quarters.sum(0, where=holds, dtype=np.uint16)
    means = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, means, nodata).astype(np.uint8)


def _quarters(pixels: Pixels, nodata: int) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """Return upper left, upper right, lower left and lower right pixels of all squares of 2 x 2."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), constant_values=nodata)
    return even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]


def _longer_side(raster: Path) -> int:
    with rasterio.open(raster.absolute()) as dataset:
        return max(int(dataset.width), int(dataset.height))


def _halve(source: Path, output: Path, reduce: Callable[[Pixels, int], Pixels]) -> None:
    with (
        rasterio.open(source.absolute()) as fine,
        rasterio.open(
            output.absolute(),
            "w",
            width=-(-fine.width // 2),
            height=-(-fine.height // 2),
            count=fine.count,
            **{**WORKING, "dtype": fine.dtypes[0], "nodata": fine.nodata},
        ) as coarse,
    ):
        nodata = int(fine.nodata)
        for window in _windows(fine.width, fine.height):
            for band in fine.indexes:
                pixels = fine.read(band, window=window)
                if (pixels != nodata).any():
                    reduced = reduce(pixels, nodata)
                    place = Window(window.col_off // 2, window.row_off // 2, *reduced.shape[::-1])
                    coarse.write(reduced, band, window=place)


def _windows(width: int, height: int) -> Iterator[Window]:
    for row in range(0, height, _READ):
        for column in range(0, width, _READ):
            yield Window(column, row, min(_READ, width - column), min(_READ, height - row))


# Cloud Optimized GeoTIFF


def check_cog_name(output: Path) -> None:
    """Raise ConfigError if a file does not have the suffix of a GeoTIFF."""
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise ConfigError(f"{output}: not a name for a GeoTIFF. Use a name ending in .tif")


def write_cog(source: Path, output: Path, *, overviews: Resampling) -> None:
    """Copy a raster to a Cloud Optimized GeoTIFF with overviews.

    Parameters
    ----------
    source
        Raster of `create_working_raster` or `RowWriter`.
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
