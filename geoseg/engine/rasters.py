"""The rasters a scene's labels go to: one to work on, and the cloud optimised one that a user
keeps.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter
from rasterio.shutil import copy

from geoseg.engine.overviews import Kind, write_overviews
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
            if colormap:
                raster.write_colormap(1, dict(colormap))
            yield raster
    except RasterioError as error:
        raise _unwritable(path) from error


def write_cog(source: Path, output: Path, *, overviews: Kind) -> None:
    """Copy a working raster to a cloud optimised GeoTIFF with overviews. Raises OutputError when
    the disk does not take it.
    """
    try:
        with (
            _no_georeference_is_fine(),
            rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
            TemporaryDirectory(prefix=".overviews-", dir=source.parent) as folder,
        ):
            levels = write_overviews(source, Path(folder), overviews)
            copy(
                str(_joined(source, levels, Path(folder, "all.vrt")).absolute()),
                str(output.absolute()),
                driver="COG",
                compress="deflate",
                blocksize=_BLOCK,
                num_threads="all_cpus",
                bigtiff="if_safer",
            )
    except RasterioError as error:
        raise _unwritable(output) from error


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


def _unwritable(path: Path) -> OutputError:
    return OutputError(f"{path.parent}: labels could not be written there. is the disk full?")


@contextmanager
def _no_georeference_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
