"""A scene: a raster file, opened after checks, read by windows together with where it has data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.files import ScenePath, Url
from geoseg.raster.checks import (
    alpha_band,
    check_georeference,
    check_pixels,
    open_raster,
    picture_bands,
    stored_block,
)
from geoseg.raster.georeference import pixel_sides_m, pixel_size_m

CACHE_BYTES = 64 << 20
"""What GDAL may keep of decoded blocks, whatever the size of the machine; in bytes, since small
numbers would be taken as such.
"""


_SERVERS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # a file's neighbours are none of our business
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 0.5,  # seconds, growing
}
"""How GDAL talks to servers, when it is allowed to."""

_RETRIES = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait after a read from a server that failed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SceneInfo:
    """What a scene says about itself."""

    path: ScenePath

    width: int

    height: int

    count: int
    """Bands in the file, alpha among them."""

    dtype: str

    crs: CRS | None

    transform: Affine
    """From pixels (x right, y down, origin at the upper left corner) to coordinates; the identity
    when the file has none.
    """

    nodata: float | None
    """The first band's, in units of `dtype`."""

    pixel_size_m: float | None
    """Side of a pixel in metres on the ground, at the scene's centre; None without a CRS."""

    pixel_sides_m: tuple[float, float] | None = None
    """The same along a row and along a column."""


class Scene:
    """An open scene. Windows are integer, half-open, and lie inside it."""

    def __init__(
        self, dataset: DatasetReader, info: SceneInfo, indexes: tuple[int, ...], alpha: int | None
    ) -> None:
        self.info = info
        self.indexes = indexes
        """The bands that `read` gives, numbered from 1, in this order."""
        self._dataset = dataset
        self._alpha = alpha

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels (bands, h, w) in the scene's dtype, and valid (h, w): True where the scene has
        data.

        Pixels that are not valid are zero. What is transparent, masked, nodata in every band
        read, not finite in one of them, or was never written is not valid. Raises SceneError when
        the file is damaged there, ValueError when `window` leaves the scene.
        """
        left, top, width, height = window.col_off, window.row_off, window.width, window.height
        if left < 0 or top < 0 or left + width > self.info.width or top + height > self.info.height:
            raise ValueError(
                f"{window} leaves a scene of {self.info.width} x {self.info.height} pixels"
            )
        try:
            pixels, valid = self._read(window)
        except RasterioError as error:
            where = f"columns {left} to {left + width}, rows {top} to {top + height}"
            fault = "damaged somewhere in {where}. copy or download it again"
            if isinstance(self.info.path, Url):
                fault = "cannot be read in {where}. check the network, and try again"
            raise SceneError(f"{self.info.path}: {fault.format(where=where)}") from error
        if not valid.all():
            np.copyto(pixels, 0, where=~valid)
        return pixels, valid

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def _read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Several times, if a server fails: GDAL does not repeat requests that it makes in parallel."""
        for wait in _RETRIES if isinstance(self.info.path, Url) else ():
            try:
                pixels = self._dataset.read(list(self.indexes), window=window)
                return pixels, self._valid(pixels, window)
            except RasterioError as error:
                log.debug("%s: %s, once more in %g s", self.info.path, error, wait)
                sleep(wait)
        pixels = self._dataset.read(list(self.indexes), window=window)
        return pixels, self._valid(pixels, window)

    def _valid(self, pixels: NDArray[Any], window: Window) -> NDArray[np.bool_]:
        flags = self._dataset.mask_flag_enums[self.indexes[0] - 1]
        valid: NDArray[np.bool_]
        if self._alpha is not None:
            valid = self._dataset.read(self._alpha, window=window) != 0
        elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            valid = self._dataset.read_masks(1, window=window) != 0
        elif any(self._dataset.nodatavals[i - 1] is not None for i in self.indexes):
            valid = self._has_data(pixels)
        else:
            valid = self._written(window)
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return valid

    def _has_data(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        """True where one of the bands is not its nodata value; NaN is found as not finite."""
        valid = np.zeros(pixels.shape[1:], dtype=bool)
        for band, index in zip(pixels, self.indexes, strict=True):
            nodata = self._dataset.nodatavals[index - 1]
            if nodata is None or np.isnan(nodata):
                return np.ones(pixels.shape[1:], dtype=bool)
            valid |= band != np.float64(nodata).astype(band.dtype)
        return valid

    def _written(self, window: Window) -> NDArray[np.bool_]:
        """False in the blocks of a sparse TIFF that were never written; they read as zeros."""
        valid = np.ones((window.height, window.width), dtype=bool)
        if self._dataset.driver != "GTiff":
            return valid
        height, width = self._dataset.block_shapes[0]
        for row in range(window.row_off // height, -(-(window.row_off + window.height) // height)):
            for column in range(
                window.col_off // width, -(-(window.col_off + window.width) // width)
            ):
                if stored_block(self._dataset, column, row, self.indexes[0]) is None:
                    top, left = row * height - window.row_off, column * width - window.col_off
                    valid[
                        max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)
                    ] = False
        return valid


@contextmanager
def open_scene(
    path: ScenePath | str,
    *,
    bands: int | None = None,
    indexes: tuple[int, ...] | None = None,
    dtype: str | None = None,
) -> Iterator[Scene]:
    """Open a raster that fits: with `bands` bands beside alpha (or those numbered `indexes`, from
    1) of type `dtype`.

    Raises SceneError, from metadata alone where possible, when it is no raster, damaged,
    dangerous to read, or does not fit.
    """
    with gdal_settings(path):
        scene = opened_scene(path, bands=bands, indexes=indexes, dtype=dtype)
        try:
            yield scene
        finally:
            scene.close()


def gdal_settings(*scenes: ScenePath | str) -> rasterio.Env:
    """Under which scenes are opened and read."""
    remote = any(isinstance(scene, Url) for scene in scenes)
    return rasterio.Env(
        GDAL_CACHEMAX=CACHE_BYTES,
        GDAL_PNG_WHOLE_IMAGE_OPTIM="NO",
        **(_SERVERS if remote else {}),
    )


def opened_scene(
    path: ScenePath | str,
    *,
    bands: int | None = None,
    indexes: tuple[int, ...] | None = None,
    dtype: str | None = None,
) -> Scene:
    """As `open_scene`, for a caller who closes it, and lives under `gdal_settings`."""
    dataset = open_raster(path)
    try:
        file = path if isinstance(path, Url) else Path(path)
        check_pixels(dataset, file)
        check_georeference(dataset, file)
        indexes, alpha = _chosen_bands(dataset, file, bands, indexes)
        if dtype is not None and dataset.dtypes[0] != dtype:
            raise SceneError(
                f"{file}: its pixels are {dataset.dtypes[0]}, the model was trained on {dtype}. "
                "scale them alike: gdal_translate -scale MIN MAX 0 255 -ot Byte IN OUT.tif"
            )
        return Scene(dataset, scene_info(dataset, file), indexes, alpha)
    except BaseException:
        dataset.close()
        raise


def _chosen_bands(
    dataset: DatasetReader, file: ScenePath, bands: int | None, indexes: tuple[int, ...] | None
) -> tuple[tuple[int, ...], int | None]:
    """The bands to read, and the one that says where the scene is transparent."""
    if indexes is not None and not all(1 <= i <= dataset.count for i in indexes):
        raise SceneError(
            f"{file}: has bands 1 to {dataset.count}, got --bands {','.join(map(str, indexes))}"
        )
    if indexes is not None and bands is not None and len(indexes) != bands:
        raise SceneError(
            f"{file}: --bands names {len(indexes)}, the model wants {bands}. name {bands}"
        )
    try:
        alpha = alpha_band(dataset, file)
    except RasterioError as error:
        raise SceneError(f"{file}: damaged. copy or download it again") from error
    chosen = indexes or picture_bands(dataset, alpha, bands=bands, file=file)
    return chosen, None if alpha in chosen else alpha


def scene_info(dataset: DatasetReader, file: ScenePath) -> SceneInfo:
    """What an open raster, `file`, says about itself."""
    return SceneInfo(
        path=file,
        width=dataset.width,
        height=dataset.height,
        count=dataset.count,
        dtype=dataset.dtypes[0],
        crs=dataset.crs or None,
        transform=dataset.transform,
        nodata=dataset.nodata,
        pixel_size_m=pixel_size_m(
            dataset.crs or None, dataset.transform, dataset.width, dataset.height
        ),
        pixel_sides_m=pixel_sides_m(
            dataset.crs or None, dataset.transform, dataset.width, dataset.height
        ),
    )
