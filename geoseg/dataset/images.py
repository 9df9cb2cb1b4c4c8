"""One image to one tiled GeoTIFF, strip by strip."""

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
"""What is an image, in small letters."""

BLOCK = 256
"""Side of the tiles written, in pixels."""

BANDS = 3
DTYPE = "uint8"

_OVERVIEWS_ABOVE = 512  # pixels: smaller scenes are read whole as quickly

Each = Callable[[Window, NDArray[np.bool_]], None]

# Every GIS opens deflate; zstd would be read a fifth faster. Level 4 writes twice as fast as 6 and
# takes 4 % more room.
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


def look_at_image(path: Path) -> SceneInfo:
    """What an image says of itself.

    Raises SceneError when it is not 8-bit, grey or RGB (alpha aside).
    """
    with open_scene(path) as scene:
        if scene.info.dtype != DTYPE:
            raise SceneError(
                f"{path}: is {scene.info.dtype}, need 8-bit. gdal_translate -ot Byte -scale MIN MAX"
            )
        if len(scene.indexes) not in (1, BANDS):
            raise SceneError(
                f"{path}: has {len(scene.indexes)} bands, need grey or RGB. "
                "choose three: gdal_translate -b"
            )
        return scene.info


def write_scene(
    image: Path,
    output: Path,
    *,
    transform: Affine,
    crs: CRS | None,
    each: Each,
    window: Window | None = None,
) -> None:
    """Write an image as a tiled RGB GeoTIFF with internal overviews.

    Grey becomes three equal bands; transparency and nodata become the file's internal mask. `each`
    is told of every strip and of the (h, w) pixels that are valid in it. Of an image of which only a
    `window` is meant, this is the scene. Raises SceneError when
    the image turns out to be damaged, OutputError when the scene cannot be written.
    """
    with open_scene(image) as scene, replacing(output, overwrite=True) as scratch:
        try:
            _copy(scene, scratch, window, transform=transform, crs=crs, each=each)
            _build_overviews(scratch)
        except RasterioError as fault:
            raise OutputError(
                f"{output.name}: cannot be written ({fault}). is the disk full?"
            ) from fault


def _copy(
    scene: Scene,
    output: Path,
    part: Window | None,
    *,
    transform: Affine,
    crs: CRS | None,
    each: Each,
) -> None:
    part = part or Window(0, 0, scene.info.width, scene.info.height)
    left, top, width, height = part.col_off, part.row_off, part.width, part.height
    profile = _PROFILE | {"width": width, "height": height, "transform": transform, "crs": crs}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(output, "w", **profile) as target,
    ):
        masked = False
        for window in _strips(width, height):
            pixels, valid = scene.read(Window(left, top + window.row_off, width, window.height))
            target.write(np.broadcast_to(pixels, (BANDS, *valid.shape)), window=window)
            if not masked and not valid.all():
                masked = True
                for above in _strips(width, window.row_off):
                    target.write_mask(True, window=above)
            if masked:
                target.write_mask(valid, window=window)
            each(window, valid)


def _strips(width: int, height: int) -> Iterator[Window]:
    for top in range(0, height, BLOCK):
        yield Window(0, top, width, min(BLOCK, height - top))


def _build_overviews(path: Path) -> None:
    options = {"GDAL_TIFF_OVR_BLOCKSIZE": BLOCK, "ZLEVEL_OVERVIEW": _LEVEL}
    with rasterio.Env(**options), rasterio.open(path, "r+") as scene:
        longest = max(scene.width, scene.height)
        if longest > _OVERVIEWS_ABOVE:
            levels = [2**i for i in range(1, 32) if longest > BLOCK * 2 ** (i - 1)]
            scene.build_overviews(levels, Resampling.average)
