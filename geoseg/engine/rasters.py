"""The rasters a scene's labels go to: one to work on, and the cloud optimised one that a user
keeps.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter
from rasterio.shutil import copy

from geoseg.engine.overviews import BLOCK, WORKING, Resampling, write_overviews
from geoseg.errors import OutputError
from geoseg.preflight import stored_block
from geoseg.scene import CACHE_BYTES, SceneInfo

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
            _no_georeference_is_fine(),
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
        raise _unwritable(path) from error


def write_cog(source: Path, output: Path, *, overviews: Resampling) -> None:
    """Copy a working raster to a cloud optimised GeoTIFF with overviews. Raises OutputError when
    the disk does not take it.
    """
    folder = output.with_name(f"{output.name}.overviews")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        folder.mkdir()
        with _no_georeference_is_fine(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
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
                raise _unwritable(output)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise _unwritable(output) from error
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


def _unwritable(path: Path) -> OutputError:
    return OutputError(f"{path.parent}: labels could not be written there. is the disk full?")


@contextmanager
def _no_georeference_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
