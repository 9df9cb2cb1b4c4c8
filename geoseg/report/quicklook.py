"""Quicklook of a scene: a small RGB image, read from the overviews, that figures draw on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from rasterio.windows import Window

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
from geoseg.raster.stretch import Stretch, locate_colours, stretch_to

_NODATA_GREY, _WHITE = 245, 255
_LARGEST_ZOOM = 4.0


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


def read_quicklook(
    path: Path,
    *,
    size: int,
    enlarge: float = _LARGEST_ZOOM,
    stretch: Stretch | None = None,
    allow_vrt: bool = False,
    window: Window | None = None,
) -> Quicklook:
    """Read a scene at reduced size.

    Parameters
    ----------
    path
        Raster that GDAL reads.
    size
        Length of the longer side of the picture in pixels.
    enlarge
        Largest factor by which a small scene is enlarged.
    stretch
        Which bands are shown, and how their values become colours. None: bands named red, green and blue, else the
        first three, or one as grey; uint8 unchanged, other types from the 2nd to the 98th percentile of the scene.
    allow_vrt
        Also read a virtual raster of files in its folder.
    window
        Part of the raster that is the scene; None: all.

    Raises
    ------
    SceneError
        If the scene cannot be read.
    """
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
        open_raster(path, allow_vrt=allow_vrt) as scene,
    ):
        check_pixels(scene, path)
        part = window or Window(0, 0, scene.width, scene.height)
        columns, rows = part.width, part.height
        zoom = min(size / max(rows, columns), enlarge)
        width, height = (max(1, round(length * zoom)) for length in (columns, rows))
        try:
            small, valid = _read_picture(
                scene, path, (min(height, rows), min(width, columns)), stretch, part
            )
        except RasterioError as error:
            raise SceneError(f"{path}: the raster is damaged. Copy or download it again") from error
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        shown_valid = cv2.resize(
            valid.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        transform = scene.transform @ Affine.translation(part.col_off, part.row_off)
        to_picture = Affine.scale(width / columns, height / rows) @ ~map_transform(transform)
        metres = pixel_size_m(scene.crs or None, transform, columns, rows)
        return Quicklook(
            picture=np.asarray(picture, np.uint8),
            valid=np.asarray(shown_valid, np.uint8) != 0,
            to_picture=to_picture,
            bounds=_bounds(map_transform(transform), columns, rows),
            pixel_size_m=metres and metres * columns / width,
            crs=scene.crs or None,
            scene_pixel=sqrt(abs(scene.transform.determinant)),
        )


def read_mosaic_quicklook(
    paths: Sequence[Path], *, size: int, allow_vrt: bool = False
) -> Quicklook:
    """Read scenes that share a CRS and a pixel grid as one picture; where they overlap, the first with data is shown.

    Parameters are those of `read_quicklook`, with the longer side of the mosaic. Raises SceneError.
    """
    grids = []
    for path in paths:
        with open_raster(path, allow_vrt=allow_vrt) as scene:
            grids.append((scene.transform, scene.width, scene.height))
            crs = scene.crs or None
    first = grids[0][0]
    corners = [tuple(map(round, ~first @ (grid.c, grid.f))) for grid, _, _ in grids]
    left, top = (min(values) for values in zip(*corners, strict=True))
    columns = max(x + width for (x, _), (_, width, _) in zip(corners, grids, strict=True)) - left
    rows = max(y + height for (_, y), (_, _, height) in zip(corners, grids, strict=True)) - top
    transform = map_transform(first @ Affine.translation(left, top))
    whole = blank_quicklook((rows, columns), transform, crs, size=size)
    zoom = min(size / max(rows, columns), _LARGEST_ZOOM)
    whole.picture[:], whole.valid[:] = _NODATA_GREY, False
    for path, (x, y) in zip(paths, corners, strict=True):
        part = read_quicklook(path, size=size, enlarge=zoom, allow_vrt=allow_vrt)
        column, row = round((x - left) * zoom), round((y - top) * zoom)
        there = np.s_[row : row + len(part.valid), column : column + part.valid.shape[1]]
        shape = whole.valid[there].shape
        new = part.valid[: shape[0], : shape[1]] & ~whole.valid[there]
        whole.picture[there][new] = part.picture[: shape[0], : shape[1]][new]
        whole.valid[there] |= new
    return whole


def blank_quicklook(
    shape: tuple[int, int], transform: Affine, crs: CRS | None, *, size: int
) -> Quicklook:
    """Create a white picture in place of a raster of this shape; its longer side has `size` pixels."""
    rows, columns = shape
    zoom = min(size / max(shape), _LARGEST_ZOOM)
    width, height = max(1, round(columns * zoom)), max(1, round(rows * zoom))
    metres = pixel_size_m(crs, transform, columns, rows)
    return Quicklook(
        picture=np.full((height, width, 3), _WHITE, np.uint8),
        valid=np.ones((height, width), bool),
        to_picture=Affine.scale(width / columns, height / rows) @ ~transform,
        bounds=_bounds(transform, columns, rows),
        pixel_size_m=metres and metres * columns / width,
        crs=crs,
        scene_pixel=sqrt(abs(transform.determinant)),
    )


def _read_picture(
    scene: DatasetReader,
    path: Path,
    shape: tuple[int, int],
    stretch: Stretch | None,
    window: Window,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read decimated pixels of a window as (h, w, 3) red, green, blue, and (h, w) True where they are valid."""
    if is_palette(scene):
        colours = read_palette(scene)[:, scene.read(1, out_shape=shape, window=window)]
        valid = (scene.read_masks(1, out_shape=shape, window=window) != 0) & (colours[3] > 0)
        return _grey_out(np.moveaxis(colours[:3], 0, 2), valid), valid
    alpha, names = find_alpha_band(scene, path), read_band_names(scene)
    numbers = select_bands(names, alpha, bands=None, file=path)
    shown = stretch.bands if stretch else locate_colours([names[n - 1] for n in numbers])
    bands = [numbers[position] for position in shown]
    read = scene.read(
        bands, out_shape=(len(bands), *shape), window=window, resampling=Resampling.average
    )
    valid = (
        scene.read(alpha, out_shape=shape, window=window) != 0
        if alpha
        else scene.read_masks(bands[0], out_shape=shape, window=window) != 0
    )
    valid &= np.isfinite(read).all(axis=0)
    pixels = np.where(valid[..., None], np.moveaxis(read, 0, 2), 0)
    order = tuple(range(len(bands)))
    own = replace(stretch, bands=order) if stretch else stretch_to(order, pixels, valid)
    return _grey_out(own.apply(pixels), valid), valid


def _grey_out(picture: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(valid[..., None], picture, np.uint8(_NODATA_GREY))


def _bounds(transform: Affine, columns: int, rows: int) -> tuple[float, float, float, float]:
    corners = [transform @ corner for corner in ((0, 0), (columns, 0), (0, rows), (columns, rows))]
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)
