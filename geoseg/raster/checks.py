"""Which bands of a raster are its picture, and which tells where it is transparent."""

from __future__ import annotations

import logging
import warnings
from math import isfinite
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, PhotometricInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.files import ScenePath, Url, input_file

log = logging.getLogger(__name__)

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_SAMPLES = 16  # windows of 256 x 256 pixels that decide whether a band called alpha is one
_MASK_LIKE = 0.95


def alpha_band(dataset: DatasetReader, file: ScenePath) -> int | None:
    """The band that says where the scene is transparent, if there is one.

    GDAL calls the fourth band of a uint8 file alpha unless told otherwise, so a near-infrared
    band often carries that name. It is believed when nearly all of its values mean transparent or
    opaque.
    """
    bands = [b for b, c in enumerate(dataset.colorinterp, start=1) if c == ColorInterp.alpha]
    if not bands or dataset.count == 1:
        return None
    band = bands[-1]
    values = np.concatenate([dataset.read(band, window=w).ravel() for w in _sample(dataset)])
    top = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    extreme = np.count_nonzero((values == 0) | (values == top)) / values.size
    if extreme >= _MASK_LIKE or len(np.unique(values)) <= 2:
        return band
    log.warning(
        "%s: band %d is called alpha, but holds data; it is not taken for transparency", file, band
    )
    return None


def picture_bands(
    dataset: DatasetReader, alpha: int | None, *, bands: int | None, file: ScenePath
) -> tuple[int, ...]:
    """The bands to read, numbered from 1: all but alpha, reds before greens before blues.

    Raises SceneError when there are not `bands` of them.
    """
    found = tuple(b for b in dataset.indexes if b != alpha)
    if bands is not None and len(found) != bands:
        few = ",".join(map(str, found[:bands])) if len(found) > bands else ",".join(["1"] * bands)
        raise SceneError(
            f"{file}: has {len(found)} {'band' if len(found) == 1 else 'bands'}, the model wants "
            f"{bands}. say which to use, for example --bands {few}"
        )
    colours = [dataset.colorinterp[b - 1] for b in found]
    if len(found) == len(_RGB) and set(colours) == set(_RGB):
        return tuple(found[colours.index(colour)] for colour in _RGB)
    return found


def _sample(dataset: DatasetReader) -> list[Window]:
    """Windows spread evenly over the scene; all of it when it is small."""
    side = 256
    across = np.linspace(0, max(dataset.width - side, 0), int(_SAMPLES**0.5)).astype(int)
    down = np.linspace(0, max(dataset.height - side, 0), int(_SAMPLES**0.5)).astype(int)
    return [
        Window(int(x), int(y), min(side, dataset.width), min(side, dataset.height))
        for y in np.unique(down)
        for x in np.unique(across)
    ]


# What can be told from a raster's first bytes and its metadata, before a pixel is read.
#
# A file of 160 bytes can make GDAL take gigabytes, a VRT can make it read any file, and a cut
# download opens as if it were whole. So a scene is opened by the one driver its first bytes call
# for, and refused when its metadata ask for the impossible.


MAX_BANDS = 4096
MAX_BLOCK_BYTES = 256 << 20
_MAX_BLOCKS_CHECKED = 20_000
_FEW_THREADS = "2"

_DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",  # BigTIFF
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}

_LOOKS_LIKE = {
    b"<!doctype html": "is a web page: the download failed. download it again",
    b"<html": "is a web page: the download failed. download it again",
    b"<vrtdataset": "is a virtual raster (VRT). make a file of it: gdal_translate IN.vrt OUT.tif",
    b"<gdal_wms": "names a web service. save the area you need as a GeoTIFF first",
    b"version https://git-lfs": "is a Git LFS pointer. fetch the data: git lfs pull",
    b"pk\x03\x04": "is a zip archive. unpack it first",
    b"\x1f\x8b": "is compressed by gzip. unpack it first",
}


def open_raster(path: ScenePath | str) -> DatasetReader:
    """Open a GeoTIFF (COG), PNG, JPEG or JPEG 2000 file, or a GeoTIFF on a server; SceneError when it is
    none, or one that cannot be read safely.
    """
    file: ScenePath
    if isinstance(path, Url):
        file, name, driver = path, _on_server(path), "GTiff"
        fault = "no GeoTIFF can be read there. check the address, and the network"
    else:
        file = local = input_file(path)
        # absolute, so that no name can be taken for GDAL's DRIVER:… syntax
        name, driver = str(local.absolute()), _driver(local)
        fault = "damaged, GDAL cannot open it. copy or download it again"
    options = {"NUM_THREADS": _FEW_THREADS} if driver == "GTiff" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(name, driver=driver, **options)
    except (RasterioError, OSError, ValueError) as error:
        raise SceneError(f"{file}: {fault}") from error
    try:
        _check_size(dataset, file)
        if driver == "GTiff" and isinstance(file, Path):
            _check_whole(dataset, file)
        if len(dataset.subdatasets) > 1:
            log.warning("%s: has %d pages; only the first is read", file, len(dataset.subdatasets))
    except BaseException:
        dataset.close()
        raise
    return dataset


def check_pixels(dataset: DatasetReader, file: ScenePath) -> None:
    """Refuse pixels that are no measured values: complex, palette, CMYK, single bits."""
    if any(np.dtype(t).kind == "c" for t in dataset.dtypes):
        raise SceneError(f"{file}: has complex pixels. geoseg needs amplitudes or colours")
    if len(set(dataset.dtypes)) > 1:
        raise SceneError(
            f"{file}: its bands differ in type ({', '.join(sorted(set(dataset.dtypes)))}). "
            "give them one: gdal_translate -ot TYPE IN OUT.tif"
        )
    if ColorInterp.palette in dataset.colorinterp:
        raise SceneError(
            f"{file}: its pixels are palette indices, not colours. "
            "expand them: gdal_translate -expand rgb IN OUT.tif"
        )
    if ColorInterp.cyan in dataset.colorinterp or _photometric(dataset) == PhotometricInterp.cmyk:
        raise SceneError(f"{file}: its colours are CMYK. convert it to RGB")
    if _photometric(dataset) == PhotometricInterp.cielab:
        raise SceneError(f"{file}: its colours are CIE L*a*b*. convert it to RGB")
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "8")
    if int(bits) < 8:
        raise SceneError(f"{file}: has {bits} bits per pixel. geoseg needs 8 or more")


def check_georeference(dataset: DatasetReader, file: ScenePath) -> None:
    """Refuse a scene whose pixels have no place on a map although it means to have one."""
    transform = dataset.transform
    if transform == Affine.identity():
        gcps, _ = dataset.gcps
        if gcps:
            raise SceneError(
                f"{file}: has ground control points only. rectify it first: gdalwarp IN OUT.tif"
            )
        if dataset.rpcs is not None:
            raise SceneError(
                f"{file}: has rational polynomials (RPC) only. "
                "orthorectify it first: gdalwarp -rpc IN OUT.tif"
            )
    right = transform.a * dataset.width + transform.b * dataset.height + transform.c
    lower = transform.d * dataset.width + transform.e * dataset.height + transform.f
    determinant = transform.a * transform.e - transform.b * transform.d
    if not all(map(isfinite, (*transform[:6], determinant, right, lower))) or determinant == 0:
        raise SceneError(
            f"{file}: its pixels have no size (geotransform {transform.to_gdal()}). "
            "georeference it again"
        )


def _on_server(url: Url) -> str:
    """GDAL's name for it; the scheme is one of `geoseg.files.scene_path`."""
    scheme, _, rest = url.partition("://")
    return f"/vsicurl/{url}" if scheme.startswith("http") else f"/vsi{scheme}/{rest}"


def _driver(file: Path) -> str:
    with file.open("rb") as raw:
        head = raw.read(512)
    for magic, driver in _DRIVERS.items():
        if head.startswith(magic):
            return driver
    text = head.lstrip().lower()
    for start, what in _LOOKS_LIKE.items():
        if text.startswith(start):
            raise SceneError(f"{file}: {what}")
    raise SceneError(
        f"{file}: not a GeoTIFF, PNG, JPEG or JPEG 2000. "
        "if it is another raster, convert it: gdal_translate IN OUT.tif"
    )


def _check_size(dataset: DatasetReader, file: ScenePath) -> None:
    if dataset.count == 0:
        raise SceneError(f"{file}: holds no bands. open one of its layers as a file of its own")
    if dataset.count > MAX_BANDS:
        raise SceneError(
            f"{file}: says it has {dataset.count} bands, more than {MAX_BANDS}. is it damaged?"
        )
    height, width = dataset.block_shapes[0]
    together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    size = height * width * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > MAX_BLOCK_BYTES:
        raise SceneError(
            f"{file}: one block of it takes {size / 2**20:,.0f} MB, more than "
            f"{MAX_BLOCK_BYTES >> 20}. "
            "store it in tiles: gdal_translate -co TILED=YES IN OUT.tif"
        )


def _check_whole(dataset: DatasetReader, file: Path) -> None:
    """A TIFF ends where its last block does; a cut one ends sooner. Of a very long block table a
    sample is looked at.
    """
    height, width = dataset.block_shapes[0]
    columns, rows = -(-dataset.width // width), -(-dataset.height // height)
    band = dataset.count  # where bands are stored apart, the last one lies at the end
    step = max(1, columns * rows // _MAX_BLOCKS_CHECKED)
    size = file.stat().st_size
    for index in range(columns * rows - 1, -1, -step):
        row, column = divmod(index, columns)
        block = stored_block(dataset, column, row, band)
        if block is not None and sum(block) > size:
            raise SceneError(
                f"{file}: truncated: block ({column}, {row}) ends at byte {sum(block):,}, "
                f"the file at {size:,}. copy or download it again"
            )


def stored_block(
    dataset: DatasetReader, column: int, row: int, band: int = 1
) -> tuple[int, int] | None:
    """Offset and length, in bytes, of a TIFF's block; None when it was never written."""
    offset = dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band)
    length = dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=band)
    if offset is None or length in (None, "0"):
        return None
    return int(offset), int(length)


def _photometric(dataset: DatasetReader) -> PhotometricInterp | None:
    try:
        return dataset.photometric
    except ValueError:  # a value that rasterio has no name for
        return None
