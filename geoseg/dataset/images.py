"""Convert an image to the tiled GeoTIFF of a dataset, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg.errors import OutputError, SceneError
from geoseg.files import replacing
from geoseg.raster.scene import Scene, SceneInfo, open_scene

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Suffixes of images, in lower case."""

BLOCK = 256
"""Side of the tiles of the GeoTIFF, in pixels."""

BANDS = 3
DTYPE = "uint8"

_OVERVIEWS_ABOVE = 512  # pixels: smaller scenes are read as quickly without

OnStrip = Callable[[Window, NDArray[np.bool_]], None]

# Every GIS reads deflate; zstd reads a fifth faster. Level 4 writes twice as fast as 6 and takes 4 % more
# space.
_LEVEL = 4
_PROFILE = {
    "driver": "GTiff",
    "count": BANDS,
    "dtype": DTYPE,
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "interleave": "pixel",
    "photometric": "RGB",
    "compress": "deflate",
    "predictor": 2,
    "zlevel": _LEVEL,
    "BIGTIFF": "IF_SAFER",
}


def inspect_image(path: Path) -> SceneInfo:
    """Read the metadata of an image. Raises SceneError if it is not 8-bit grey or RGB (alpha aside)."""
    with open_scene(path) as scene:
        if scene.info.dtype != DTYPE:
            raise SceneError(
                f"{path}: is {scene.info.dtype}, need 8-bit. Convert it with gdal_translate -ot Byte "
                "-scale MIN MAX"
            )
        if len(scene.indexes) not in (1, BANDS):
            raise SceneError(
                f"{path}: has {len(scene.indexes)} bands, need grey or RGB. Choose three with "
                "gdal_translate -b"
            )
        return scene.info


def write_image(
    image: Path,
    output: Path,
    *,
    transform: Affine,
    crs: CRS | None,
    on_strip: OnStrip,
    window: Window | None = None,
) -> None:
    """Write an image as a tiled RGB GeoTIFF with internal overviews.

    Parameters
    ----------
    image
        Image file; grey becomes three equal bands, transparency and nodata become an internal mask.
    output
        GeoTIFF; an existing one is replaced.
    transform, crs
        Georeference of the output.
    on_strip
        Called with the window of every strip and its (h, w) valid pixels.
    window
        Part of the image to write; None for the whole image.

    Raises
    ------
    SceneError
        If the image is damaged.
    OutputError
        If the GeoTIFF cannot be written.
    """
    with open_scene(image) as scene, replacing(output, overwrite=True) as scratch:
        part = window or Window(0, 0, scene.info.width, scene.info.height)
        try:
            _copy_pixels(scene, part, scratch, transform=transform, crs=crs, on_strip=on_strip)
            _build_overviews(scratch)
        except RasterioError as error:
            raise OutputError(
                f"{output.name}: cannot be written ({error}). Check that the disk is not full"
            ) from error


def _copy_pixels(
    scene: Scene,
    part: Window,
    output: Path,
    *,
    transform: Affine,
    crs: CRS | None,
    on_strip: OnStrip,
) -> None:
    left, top, width, height = part.col_off, part.row_off, part.width, part.height
    profile = _PROFILE | {"width": width, "height": height, "transform": transform, "crs": crs}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(output, "w", **profile) as target,
    ):
        masked = False
        for window in _iterate_strips(width, height):
            pixels, valid = scene.read(Window(left, top + window.row_off, width, window.height))
            target.write(np.broadcast_to(pixels, (BANDS, *valid.shape)), window=window)
            if not masked and not valid.all():
                masked = True
                for above in _iterate_strips(width, window.row_off):
                    target.write_mask(True, window=above)
            if masked:
                target.write_mask(valid, window=window)
            on_strip(window, valid)


def _iterate_strips(width: int, height: int) -> Iterator[Window]:
    for top in range(0, height, BLOCK):
        yield Window(0, top, width, min(BLOCK, height - top))


def _build_overviews(path: Path) -> None:
    options = {"GDAL_TIFF_OVR_BLOCKSIZE": BLOCK, "ZLEVEL_OVERVIEW": _LEVEL}
    with rasterio.Env(**options), rasterio.open(path, "r+") as scene:
        longest = max(scene.width, scene.height)
        if longest > _OVERVIEWS_ABOVE:
            levels = [2**i for i in range(1, 32) if longest > BLOCK * 2 ** (i - 1)]
            scene.build_overviews(levels, Resampling.average)
