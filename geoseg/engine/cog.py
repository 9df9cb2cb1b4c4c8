"""The raster that a user keeps: a cloud optimised GeoTIFF, made of a working raster."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.shutil import copy

from geoseg.engine.overviews import Resampling, write_overviews
from geoseg.engine.rasters import BLOCK, no_georeference_is_fine, unwritable
from geoseg.preflight import stored_block
from geoseg.scene import CACHE_BYTES


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
