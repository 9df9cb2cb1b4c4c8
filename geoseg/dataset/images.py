"""Convert an image to the tiled GeoTIFF of a dataset, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from geoseg.errors import OutputError, SceneError
from geoseg.files import replacing
from geoseg.options import RasterOptions
from geoseg.raster.bands import RGB, normalize_band_name
from geoseg.raster.histogram import DTYPES
from geoseg.raster.scene import Scene, SceneInfo, open_scene

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Suffixes of images, in lower case."""

BLOCK = 256
"""Side of the tiles of the GeoTIFF, in pixels."""

_OVERVIEWS_ABOVE = 512  # pixels: smaller scenes are read as quickly without

OnStrip = Callable[[Window, NDArray[Any], NDArray[np.bool_]], None]
"""Function of a window, its (bands, h, w) pixels and its (h, w) valid pixels."""

# Every GIS reads deflate; zstd reads a fifth faster. Level 4 writes twice as fast as 6 and takes 4 % more
# space.
_LEVEL = 4
_PROFILE = {
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "interleave": "pixel",
    "compress": "deflate",
    "zlevel": _LEVEL,
    "BIGTIFF": "IF_SAFER",
}


def inspect_image(path: Path, raster: RasterOptions = RasterOptions()) -> SceneInfo:
    """Read the metadata of an image. Raises SceneError for another data type than those of a dataset."""
    with open_scene(path, indexes=raster.bands, allow_vrt=raster.allow_vrt) as scene:
        if scene.info.dtype not in DTYPES:
            raise SceneError(
                f"{path}: is {scene.info.dtype}, need {', '.join(DTYPES)}. Convert it: "
                "gdal_translate -ot Float32 IN OUT.tif"
            )
        return scene.info


def write_image(
    image: SceneInfo,
    output: Path,
    *,
    names: Sequence[str],
    transform: Affine,
    crs: CRS | None,
    on_strip: OnStrip,
) -> None:
    """Write the bands of an image as a tiled GeoTIFF with internal overviews.

    Parameters
    ----------
    image
        Image file and the bands to read; transparency and nodata become an internal mask.
    output
        GeoTIFF; an existing one is replaced.
    names
        Names of the bands in the dataset, by which red, green, blue and near infrared are marked as such. The
        descriptions of the image are kept.
    transform, crs
        Georeference of the output.
    on_strip
        Called for every strip.

    Raises
    ------
    SceneError
        If the image is damaged.
    OutputError
        If the GeoTIFF cannot be written.
    """
    opened = open_scene(image.path, indexes=image.indexes, allow_vrt=image.is_vrt)
    with opened as scene, replacing(output, overwrite=True) as scratch:
        profile = {
            **_band_profile(scene.info.dtype, names),
            **{
                "width": scene.info.width,
                "height": scene.info.height,
                "transform": transform,
                "crs": crs,
            },
        }
        try:
            with (
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                rasterio.open(scratch, "w", **profile) as target,
            ):
                target.colorinterp = _choose_colours(names)
                target.descriptions = [
                    (text if normalize_band_name(text) == name else name) or None
                    for text, name in zip(scene.descriptions, names, strict=True)
                ]
                _copy_pixels(scene, target, on_strip)
            _build_overviews(scratch)
        except RasterioError as error:
            raise OutputError(
                f"{output.name}: cannot be written ({error}). Check that the disk is not full"
            ) from error


def _band_profile(dtype: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the creation options of a GeoTIFF that depend on its bands."""
    return _PROFILE | {
        "count": len(names),
        "dtype": dtype,
        "predictor": 3 if dtype == "float32" else 2,
        "photometric": "RGB" if tuple(names[:3]) == RGB else "MINISBLACK",
        "ALPHA": "NO",  # else GDAL takes a fourth band of uint8 for alpha
    }


def _choose_colours(names: Sequence[str]) -> list[ColorInterp]:
    """Return the colour of each band: red, green and blue if these are the first three; never alpha."""
    coloured = tuple(names[:3]) == RGB
    colours = [
        ColorInterp[name] if name == "nir" or (name in RGB and coloured) else ColorInterp.undefined
        for name in names
    ]
    return colours if coloured else [ColorInterp.gray, *colours[1:]]


def _copy_pixels(scene: Scene, target: DatasetWriter, on_strip: OnStrip) -> None:
    """Copy a scene, with a mask from the first strip on that has pixels which are not valid."""
    width, height = scene.info.width, scene.info.height
    masked = False
    for window in _iterate_strips(width, height):
        pixels, valid = scene.read(window)
        target.write(pixels, window=window)
        if not masked and not valid.all():
            masked = True
            for above in _iterate_strips(width, window.row_off):
                target.write_mask(True, window=above)
        if masked:
            target.write_mask(valid, window=window)
        on_strip(window, pixels, valid)


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
