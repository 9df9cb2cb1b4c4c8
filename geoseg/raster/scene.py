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
from geoseg.options import Bands, StrPath
from geoseg.raster.bands import RGB, assign_names, find_bands, match_bands, read_band_names
from geoseg.raster.checks import (
    GDAL_TYPES,
    check_georeference,
    check_pixels,
    find_alpha_band,
    is_palette,
    open_raster,
    read_palette,
    select_bands,
    stored_block,
)
from geoseg.raster.georeference import pixel_sides_m, pixel_size_m, scale_sides

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

_SAME_SIZE = 0.05
"""Share by which a pixel size may differ from the assumed one without a warning."""

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
    """Bands in the file, including alpha; those of the colours of a palette."""

    dtype: str
    """Data type of all bands, as NumPy names it; uint8 for a palette."""

    crs: CRS | None

    transform: Affine
    """Pixel-to-CRS transform: x right, y down, origin at the upper left corner. The identity if there is none."""

    nodata: float | None
    """Nodata value of the first band."""

    pixel_size_m: float | None
    """Ground sampling distance in metres at the centre of the scene; None if it is unknown."""

    pixel_sides_m: tuple[float, float] | None = None
    """Sides in metres of that pixel, along a row and along a column."""

    band_names: tuple[str, ...] = ()
    """Name of every band in lower case, such as ``red``; empty if unknown."""

    indexes: tuple[int, ...] = ()
    """Bands to read, numbered from 1, in this order."""

    is_vrt: bool = False
    """True for a virtual raster, which is only opened where that is allowed."""

    @property
    def read_names(self) -> tuple[str, ...]:
        """Names of the bands to read; empty if unknown."""
        return tuple(self.band_names[index - 1] for index in self.indexes)


class Scene:
    """An open scene, read by integer windows that lie inside it."""

    def __init__(
        self, dataset: DatasetReader, info: SceneInfo, indexes: tuple[int, ...], alpha: int | None
    ) -> None:
        self.info = replace(info, indexes=indexes)
        self.indexes = indexes
        """Bands that `read` returns, numbered from 1, in this order."""
        self._dataset = dataset
        self._alpha = alpha
        self._corner = (0, 0)  # of the scene in the file
        self._palette = read_palette(dataset) if is_palette(dataset) else None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands that `read` returns; empty if unknown."""
        return self.info.read_names

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Descriptions of these bands as stored, else their names; empty if they have neither."""
        if self._palette is not None:
            return self.band_names
        stored = (self._dataset.descriptions[index - 1] for index in self.indexes)
        return tuple(map(lambda text, name: text or name, stored, self.band_names))

    @classmethod
    def open(
        cls,
        path: ScenePath | str,
        *,
        bands: int | None = None,
        indexes: Bands | None = None,
        names: tuple[str, ...] = (),
        dtype: str | None = None,
        allow_vrt: bool = False,
    ) -> Scene:
        """Open and check a raster under `gdal_env`; the caller closes it.

        Parameters
        ----------
        path
            GeoTIFF, PNG, JPEG, JPEG 2000 or GeoPackage file, or the Url of a GeoTIFF. A palette is read as its colours.
        bands
            Number of bands that must remain without alpha.
        indexes
            Bands to read, by numbers from 1 or by names; None: those of `names`, else all but alpha.
        names
            Names of the bands to read where the raster has names for all of its bands.
        dtype
            Required data type.
        allow_vrt
            Also open a virtual raster of files in its folder.

        Raises
        ------
        SceneError
            If the file is not such a raster, is damaged or unsafe to read, or does not match the arguments. Checks use
            metadata alone where possible.
        """
        dataset = open_raster(path, allow_vrt=allow_vrt)
        try:
            file = path if isinstance(path, Url) else Path(path)
            check_pixels(dataset, file)
            check_georeference(dataset, file)
            info = read_scene_info(dataset, file)
            if indexes is not None:
                numbers = find_bands(indexes, info.band_names, file)
                named = assign_names(indexes, numbers, info.band_names)
                info, indexes = replace(info, band_names=named), numbers
            chosen, alpha = _choose_bands(dataset, info, bands, indexes, names)
            if dtype is not None and info.dtype != dtype:
                limits = "0 255" if dtype == "uint8" else "TO_MIN TO_MAX"
                kind = GDAL_TYPES.get(dtype, dtype)
                raise SceneError(
                    f"{file}: its pixels are {info.dtype}, the model was trained on {dtype}. Scale them as "
                    f"the training data: gdal_translate -scale MIN MAX {limits} -ot {kind} IN OUT.tif"
                )
            return cls(dataset, info, chosen, alpha)
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
                return self._read_once(window)
            except RasterioError as error:
                log.debug("%s: %s, retry in %g s", self.info.path, error, wait)
                sleep(wait)
        return self._read_once(window)

    def _read_once(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        if self._palette is None:
            pixels = self._dataset.read(list(self.indexes), window=window)
            return pixels, self._valid(pixels, self.indexes, window)
        colour = self._dataset.read([1], window=window)
        opaque = self._palette[3, colour[0]] != 0
        pixels = self._palette[[index - 1 for index in self.indexes]][:, colour[0]]
        return pixels, opaque & self._valid(colour, (1,), window)

    def _valid(
        self, pixels: NDArray[Any], indexes: tuple[int, ...], window: Window
    ) -> NDArray[np.bool_]:
        """Return where the (bands, h, w) pixels of these bands are valid."""
        flags = self._dataset.mask_flag_enums[indexes[0] - 1]
        valid: NDArray[np.bool_]
        if self._alpha is not None:
            valid = self._dataset.read(self._alpha, window=window) != 0
        elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            valid = self._dataset.read_masks(1, window=window) != 0
        elif any(self._dataset.nodatavals[i - 1] is not None for i in indexes):
            valid = self._has_data(pixels, indexes)
        else:
            valid = self._written(window, indexes[0])
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return valid

    def _has_data(self, pixels: NDArray[Any], indexes: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return True where a band differs from its nodata value; NaN is handled as not finite."""
        valid = np.zeros(pixels.shape[1:], dtype=bool)
        for band, index in zip(pixels, indexes, strict=True):
            nodata = self._dataset.nodatavals[index - 1]
            if nodata is None or np.isnan(nodata):
                return np.ones(pixels.shape[1:], dtype=bool)
            valid |= band != np.float64(nodata).astype(band.dtype)
        return valid

    def _written(self, window: Window, index: int) -> NDArray[np.bool_]:
        """Return False in blocks of a sparse TIFF that were never written; they read as zeros."""
        valid = np.ones((window.height, window.width), dtype=bool)
        if self._dataset.driver != "GTiff":
            return valid
        height, width = self._dataset.block_shapes[0]
        for row in range(window.row_off // height, -(-(window.row_off + window.height) // height)):
            for column in range(
                window.col_off // width, -(-(window.col_off + window.width) // width)
            ):
                if stored_block(self._dataset, column, row, index) is None:
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
    indexes: Bands | None = None,
    names: tuple[str, ...] = (),
    dtype: str | None = None,
    allow_vrt: bool = False,
) -> Iterator[Scene]:
    """Open and check a scene, and close it when the block ends.

    Parameters and errors are those of `Scene.open`.

    Examples
    --------
    >>> with open_scene("scene.tif", indexes=("red", "green", "blue")) as scene:  # doctest: +SKIP
    ...     pixels, valid = scene.read(Window(0, 0, 512, 512))
    """
    name = path if isinstance(path, Url) else Path(path)
    with gdal_env(name):
        scene = Scene.open(
            name, bands=bands, indexes=indexes, names=names, dtype=dtype, allow_vrt=allow_vrt
        )
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
    dataset: DatasetReader,
    info: SceneInfo,
    count: int | None,
    chosen: tuple[int, ...] | None,
    names: tuple[str, ...],
) -> tuple[tuple[int, ...], int | None]:
    """Return the numbers of the bands to read, and of the alpha band if it is not one of them."""
    file = info.path
    if chosen is not None and count is not None and len(chosen) != count:
        raise SceneError(
            f"{file}: {len(chosen)} in --bands, but the model needs {count} bands. Name {count}"
        )
    if is_palette(dataset):
        return chosen or select_bands(
            info.band_names, None, bands=count, file=file, wanted=names
        ), None
    try:
        alpha = find_alpha_band(dataset, file)
    except RasterioError as error:
        raise SceneError(f"{file}: damaged. Copy or download it again") from error
    chosen = chosen or match_bands(names, info.band_names, alpha, file)
    chosen = chosen or select_bands(info.band_names, alpha, bands=count, file=file, wanted=names)
    return chosen, None if alpha in chosen else alpha


def read_scene_info(dataset: DatasetReader, file: ScenePath) -> SceneInfo:
    """Return the metadata of an open raster."""
    return SceneInfo(
        path=file,
        width=dataset.width,
        height=dataset.height,
        count=len(RGB) if is_palette(dataset) else dataset.count,
        dtype="uint8" if is_palette(dataset) else dataset.dtypes[0],
        crs=dataset.crs or None,
        transform=dataset.transform,
        nodata=dataset.nodata,
        pixel_size_m=pixel_size_m(
            dataset.crs or None, dataset.transform, dataset.width, dataset.height
        ),
        pixel_sides_m=pixel_sides_m(
            dataset.crs or None, dataset.transform, dataset.width, dataset.height
        ),
        band_names=RGB if is_palette(dataset) else read_band_names(dataset),
        is_vrt=dataset.driver == "VRT",
    )


def assume_pixel_size(info: SceneInfo, metres: float | None) -> SceneInfo:
    """Return the metadata of a scene whose pixels have the area of a square of this side.

    A scene with a pixel size of its own keeps it, and so does any scene if `metres` is None. Pixels keep their
    proportions, as far as there is a geotransform.
    """
    if metres is None:
        return info
    if info.pixel_size_m is None:
        sides = scale_sides(info.transform, metres)
        return replace(info, pixel_size_m=metres, pixel_sides_m=sides)
    if abs(info.pixel_size_m / metres - 1) > _SAME_SIZE:
        log.warning(
            "%s: its CRS gives pixels of %.3g m, so --pixel-size %g is ignored",
            *(info.path, info.pixel_size_m, metres),
        )
    return info
