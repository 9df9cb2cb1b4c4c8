"""Quicklook of a scene: a small RGB image, read from the overviews, that figures draw on."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geoseg.errors import SceneError
from geoseg.raster.bands import read_band_names
from geoseg.raster.checks import (
    check_pixels,
    find_alpha_band,
    is_palette,
    open_raster,
    read_palette,
    select_bands,
)
from geoseg.raster.georeference import map_transform, pixel_size_m
from geoseg.raster.scene import CACHE_BYTES

_NODATA_GREY, _WHITE = 245, 255
_LARGEST_ZOOM = 4.0
_STRETCH_PERCENTILES = (1.0, 99.0)  # percentiles that become black and white, except for uint8


@dataclass(frozen=True, slots=True, eq=False)
class Quicklook:
    """Image of a scene at reduced size, with its place on the map."""

    picture: NDArray[np.uint8]
    """(h, w, 3) red, green, blue; light grey where the scene is nodata."""

    valid: NDArray[np.bool_]
    """(h, w) False where the scene is nodata."""

    to_picture: Affine
    """Transform from map coordinates to pixels of the picture."""

    bounds: tuple[float, float, float, float]
    """Left, bottom, right, top of the scene in map coordinates."""

    pixel_size_m: float | None
    """Size of a pixel of the picture in metres; None if unknown."""

    crs: CRS | None
    """CRS of the scene; None if unknown."""

    scene_pixel: float
    """Size of a pixel of the scene in map units."""


def read_quicklook(path: Path, *, size: int, enlarge: float = _LARGEST_ZOOM) -> Quicklook:
    """Read a scene at reduced size.

    Parameters
    ----------
    path
        Raster that GDAL reads. uint8 is shown unchanged, other types are stretched between their 1st and
        99th percentile.
    size
        Length of the longer side of the picture in pixels.
    enlarge
        Largest factor by which a small scene is enlarged.

    Raises
    ------
    SceneError
        If the scene cannot be read.
    """
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
        open_raster(path) as scene,
    ):
        check_pixels(scene, path)
        zoom = min(size / max(scene.shape), enlarge)
        width, height = (max(1, round(length * zoom)) for length in (scene.width, scene.height))
        try:
            pixels, valid = _read_rgb(
                scene, path, min(width, scene.width), min(height, scene.height)
            )
        except RasterioError as error:
            raise SceneError(f"{path}: the raster is damaged. Copy or download it again") from error
        picture = cv2.resize(
            _to_uint8(pixels, valid), (width, height), interpolation=cv2.INTER_CUBIC
        )
        shown_valid = cv2.resize(
            valid.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        to_picture = Affine.scale(width / scene.width, height / scene.height) @ ~map_transform(
            scene.transform
        )
        metres = pixel_size_m(scene.crs or None, scene.transform, scene.width, scene.height)
        return Quicklook(
            picture=np.asarray(picture, np.uint8),
            valid=np.asarray(shown_valid, np.uint8) != 0,
            to_picture=to_picture,
            bounds=_bounds(scene),
            pixel_size_m=metres and metres * scene.width / width,
            crs=scene.crs or None,
            scene_pixel=sqrt(abs(scene.transform.determinant)),
        )


def blank_quicklook(
    shape: tuple[int, int], transform: Affine, crs: CRS | None, *, size: int
) -> Quicklook:
    """Create a white picture in place of a raster of this shape; its longer side has `size` pixels."""
    rows, columns = shape
    zoom = min(size / max(shape), _LARGEST_ZOOM)
    width, height = max(1, round(columns * zoom)), max(1, round(rows * zoom))
    corners = [transform @ corner for corner in ((0, 0), (columns, 0), (0, rows), (columns, rows))]
    x, y = zip(*corners, strict=True)
    metres = pixel_size_m(crs, transform, columns, rows)
    return Quicklook(
        picture=np.full((height, width, 3), _WHITE, np.uint8),
        valid=np.ones((height, width), bool),
        to_picture=Affine.scale(width / columns, height / rows) @ ~transform,
        bounds=(min(x), min(y), max(x), max(y)),
        pixel_size_m=metres and metres * columns / width,
        crs=crs,
        scene_pixel=sqrt(abs(transform.determinant)),
    )


def _read_rgb(
    scene: DatasetReader, path: Path, width: int, height: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read (3, h, w) decimated pixels as red, green, blue, and (h, w) True where they are valid."""
    if is_palette(scene):
        index = scene.read(1, out_shape=(height, width))
        colours = read_palette(scene)[:, index]
        return colours[:3], (scene.read_masks(1, out_shape=(height, width)) != 0) & (colours[3] > 0)
    alpha = find_alpha_band(scene, path)
    bands = select_bands(read_band_names(scene), alpha, bands=None, file=path)
    bands = bands[:3] if len(bands) >= 3 else bands[:1] * 3
    pixels = scene.read(list(bands), out_shape=(3, height, width), resampling=Resampling.average)
    valid = (
        scene.read(alpha, out_shape=(height, width)) != 0
        if alpha
        else scene.read_masks(bands[0], out_shape=(height, width)) != 0
    )
    return pixels, valid & np.isfinite(pixels).all(axis=0)


def _to_uint8(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Convert (3, h, w) pixels to (h, w, 3) uint8."""
    if pixels.dtype != np.uint8:
        pixels = np.stack([_stretch(band, valid) for band in pixels])
    return np.where(valid[..., None], np.moveaxis(pixels, 0, -1), np.uint8(_NODATA_GREY))


def _stretch(band: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    if not valid.any():
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(band[valid].astype(np.float64), _STRETCH_PERCENTILES)
    values = np.where(valid, band, low).astype(np.float64)
    scaled = (values - low) / max(high - low, 1e-9)
    return np.asarray(np.clip(scaled, 0, 1) * 255, np.uint8)


def _bounds(scene: DatasetReader) -> tuple[float, float, float, float]:
    transform = map_transform(scene.transform)
    corners = [
        transform @ corner
        for corner in ((0, 0), (scene.width, 0), (0, scene.height), scene.shape[::-1])
    ]
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)
