"""A scene: a raster file that passed all checks, read by windows together with its valid pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from geoseg.options import StrPath
from geoseg.raster.checks import (
    check_georeference,
    check_pixels,
    find_alpha_band,
    open_raster,
    select_bands,
    stored_block,
)
from geoseg.raster.georeference import pixel_sides_m, pixel_size_m

CACHE_BYTES = 64 << 20
"""GDAL's block cache. In bytes: GDAL takes small numbers for megabytes."""

_HTTP_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # do not list the folder of the file
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 0.5,  # seconds, growing
}

_RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait after each failed read from a server."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SceneInfo:
    """Metadata of a scene."""

    path: ScenePath

    width: int
    """Columns."""

    height: int
    """Rows."""

    count: int
    """Bands in the file, including alpha."""

    dtype: str
    """Data type of all bands, as NumPy names it."""

    crs: CRS | None

    transform: Affine
    """Pixel-to-CRS transform: x right, y down, origin at the upper left corner. The identity if there is none."""

    nodata: float | None
    """Nodata value of the first band."""

    pixel_size_m: float | None
    """Ground sampling distance in metres at the centre of the scene; None without a CRS."""

    pixel_sides_m: tuple[float, float] | None = None
    """Sides in metres of that pixel, along a row and along a column."""


class Scene:
    """An open scene, read by integer windows that lie inside it."""

    def __init__(
        self, dataset: DatasetReader, info: SceneInfo, indexes: tuple[int, ...], alpha: int | None
    ) -> None:
        self.info = info
        self.indexes = indexes
        """Bands that `read` returns, numbered from 1, in this order."""
        self._dataset = dataset
        self._alpha = alpha
        self._corner = (0, 0)  # of the scene in the file

    @classmethod
    def open(
        cls,
        path: ScenePath | str,
        *,
        bands: int | None = None,
        indexes: tuple[int, ...] | None = None,
        dtype: str | None = None,
    ) -> Scene:
        """Open and check a raster under `gdal_env`; the caller closes it.

        Parameters
        ----------
        path
            GeoTIFF, PNG, JPEG or JPEG 2000 file, or the Url of a GeoTIFF.
        bands
            Number of bands that must remain without alpha.
        indexes
            Bands to read, numbered from 1; None: all but alpha.
        dtype
            Required data type.

        Raises
        ------
        SceneError
            If the file is not such a raster, is damaged or unsafe to read, or does not match the arguments. Checks use
            metadata alone where possible.
        """
        dataset = open_raster(path)
        try:
            file = path if isinstance(path, Url) else Path(path)
            check_pixels(dataset, file)
            check_georeference(dataset, file)
            indexes, alpha = _choose_bands(dataset, file, bands, indexes)
            if dtype is not None and dataset.dtypes[0] != dtype:
                raise SceneError(
                    f"{file}: its pixels are {dataset.dtypes[0]}, the model was trained on {dtype}. "
                    "Scale them as the training data: gdal_translate -scale MIN MAX 0 255 -ot Byte IN OUT.tif"
                )
            return cls(dataset, read_scene_info(dataset, file), indexes, alpha)
        except BaseException:
            dataset.close()
            raise

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window.

        Returns
        -------
        pixels
            (bands, h, w) in the scene's data type; 0 where not valid.
        valid
            (h, w) False where the scene is transparent, masked, nodata in all bands read, not finite in one of them,
            or in blocks that were never written.

        Raises
        ------
        SceneError
            If the file is damaged there.
        ValueError
            If the window is not inside the scene.
        """
        left, top, width, height = window.col_off, window.row_off, window.width, window.height
        if left < 0 or top < 0 or left + width > self.info.width or top + height > self.info.height:
            raise ValueError(
                f"{window} is not inside a scene of {self.info.width} x {self.info.height} pixels"
            )
        if self._corner != (0, 0):
            left, top = left + self._corner[0], top + self._corner[1]
            window = Window(left, top, width, height)
        try:
            pixels, valid = self._read(window)
        except RasterioError as error:
            where = f"columns {left} to {left + width}, rows {top} to {top + height}"
            fault = "damaged within {where}. Copy or download it again"
            if isinstance(self.info.path, Url):
                fault = "cannot be read within {where}. Check the network and try again"
            raise SceneError(f"{self.info.path}: {fault.format(where=where)}") from error
        if not valid.all():
            np.copyto(pixels, 0, where=~valid)
        return pixels, valid

    def crop(self, window: Window) -> Scene:
        """Return a window of the scene as a scene, which shares the open file.

        Raises
        ------
        SceneError
            If the window is not inside the scene.
        """
        left, top = window.col_off, window.row_off
        right, bottom = left + window.width, top + window.height
        if min(left, top) < 0 or right > self.info.width or bottom > self.info.height:
            raise SceneError(
                f"{self.info.path}: has {self.info.width} x {self.info.height} pixels, but a window of it "
                f"ends at {right}, {bottom}. Run geoseg prepare again"
            )
        info = replace(
            self.info,
            width=window.width,
            height=window.height,
            transform=self.info.transform @ Affine.translation(left, top),
        )
        cropped = Scene(self._dataset, info, self.indexes, self._alpha)
        cropped._corner = (self._corner[0] + left, self._corner[1] + top)
        return cropped

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def _read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read, and retry if a server fails: GDAL does not repeat its parallel requests."""
        for wait in _RETRY_DELAYS if isinstance(self.info.path, Url) else ():
            try:
                pixels = self._dataset.read(list(self.indexes), window=window)
                return pixels, self._valid(pixels, window)
            except RasterioError as error:
                log.debug("%s: %s, retry in %g s", self.info.path, error, wait)
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
        """Return True where a band differs from its nodata value; NaN is handled as not finite."""
        valid = np.zeros(pixels.shape[1:], dtype=bool)
        for band, index in zip(pixels, self.indexes, strict=True):
            nodata = self._dataset.nodatavals[index - 1]
            if nodata is None or np.isnan(nodata):
                return np.ones(pixels.shape[1:], dtype=bool)
            valid |= band != np.float64(nodata).astype(band.dtype)
        return valid

    def _written(self, window: Window) -> NDArray[np.bool_]:
        """Return False in blocks of a sparse TIFF that were never written; they read as zeros."""
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
    path: ScenePath | StrPath,
    *,
    bands: int | None = None,
    indexes: tuple[int, ...] | None = None,
    dtype: str | None = None,
) -> Iterator[Scene]:
    """Open and check a scene, and close it when the block ends.

    Parameters and errors are those of `Scene.open`.

    Examples
    --------
    >>> with open_scene("scene.tif") as scene:  # doctest: +SKIP
    ...     pixels, valid = scene.read(Window(0, 0, 512, 512))
    """
    name = path if isinstance(path, Url) else Path(path)
    with gdal_env(name):
        scene = Scene.open(name, bands=bands, indexes=indexes, dtype=dtype)
        try:
            yield scene
        finally:
            scene.close()


def gdal_env(*scenes: ScenePath | str) -> rasterio.Env:
    """Return the GDAL options under which scenes are opened and read."""
    remote = any(isinstance(scene, Url) for scene in scenes)
    return rasterio.Env(
        GDAL_CACHEMAX=CACHE_BYTES,
        GDAL_PNG_WHOLE_IMAGE_OPTIM="NO",
        **(_HTTP_OPTIONS if remote else {}),
    )


def _choose_bands(
    dataset: DatasetReader, file: ScenePath, bands: int | None, indexes: tuple[int, ...] | None
) -> tuple[tuple[int, ...], int | None]:
    """Return the bands to read, and the alpha band if it is not one of them."""
    if indexes is not None and not all(1 <= i <= dataset.count for i in indexes):
        raise SceneError(
            f"{file}: has bands 1 to {dataset.count}. Pass some of these to --bands, "
            f"not {','.join(map(str, indexes))}"
        )
    if indexes is not None and bands is not None and len(indexes) != bands:
        raise SceneError(
            f"{file}: --bands names {len(indexes)} bands, the model needs {bands}. Name {bands}"
        )
    try:
        alpha = find_alpha_band(dataset, file)
    except RasterioError as error:
        raise SceneError(f"{file}: damaged. Copy or download it again") from error
    chosen = indexes or select_bands(dataset, alpha, bands=bands, file=file)
    return chosen, None if alpha in chosen else alpha


def read_scene_info(dataset: DatasetReader, file: ScenePath) -> SceneInfo:
    """Return the metadata of an open raster."""
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
