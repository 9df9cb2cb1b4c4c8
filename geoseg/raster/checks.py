"""Open rasters and check them: first bytes, metadata, pixel types, georeference, and which bands to read.

A file of 160 bytes can make GDAL allocate gigabytes, a VRT can make it read any file, and a truncated download opens
without an error. So a raster is opened by the one driver that its first bytes ask for, and refused if its metadata
are implausible, before a pixel is read.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, PhotometricInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.files import ScenePath, Url, input_file
from geoseg.raster.bands import RGB
from geoseg.raster.vrt import find_parts, format_vrt, read_vrt

log = logging.getLogger(__name__)

MAX_BANDS = 4096
MAX_BLOCK_BYTES = 256 << 20
_MAX_BLOCKS_CHECKED = 20_000
_NUM_THREADS = "2"

_SAMPLES = 16  # windows of 256 x 256 pixels in which the values of an alpha band are counted
_ALPHA_LIKE = 0.95

_DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",  # BigTIFF
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"SQLite format 3\0": "GPKG",
}

_PART_DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG")
"""Drivers of the parts of a virtual raster."""

GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
"""GDAL's names of data types."""

_KNOWN_BEGINNINGS = {
    b"<!doctype html": "is a web page: the download failed. Download it again",
    b"<html": "is a web page: the download failed. Download it again",
    b"<gdal_wms": "refers to a web service. Save the area you need as a GeoTIFF",
    b"version https://git-lfs": "is a Git LFS pointer. Fetch the data: git lfs pull",
    b"pk\x03\x04": "is a zip archive. Unpack it first",
    b"\x1f\x8b": "is compressed by gzip. Unpack it first",
}


def open_raster(path: ScenePath | str, *, allow_vrt: bool = False) -> DatasetReader:
    """Open a GeoTIFF, PNG, JPEG, JPEG 2000 or GeoPackage file, or a GeoTIFF on a server.

    With `allow_vrt`, also a virtual raster of such files in its folder. Raises SceneError if it is none of these, or
    cannot be read safely.
    """
    file: ScenePath
    if isinstance(path, Url):
        file, name, driver = path, _vsi_name(path), "GTiff"
        fault = "no GeoTIFF can be read there. Check the address and the network"
    else:
        file = local = input_file(path)
        # absolute: no name is taken for GDAL's DRIVER:… syntax
        name, driver = str(local.absolute()), _driver(local)
        fault = "damaged, GDAL cannot open it. Copy or download it again"
    if driver == "VRT":
        name = _check_vrt(Path(file), allowed=allow_vrt)
    if driver == "GPKG":
        fault = "no raster can be read from it. Name a raster, or a GeoPackage with one"
    options = {"NUM_THREADS": _NUM_THREADS} if driver == "GTiff" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(name, driver=driver, **options)
    except (RasterioError, OSError, ValueError) as error:
        raise SceneError(f"{file}: {fault}") from error
    try:
        _check_parts(dataset, file)
        _check_size(dataset, file)
        if driver == "GTiff" and isinstance(file, Path):
            _check_whole(dataset, file)
    except BaseException:
        dataset.close()
        raise
    return dataset


def _check_parts(dataset: DatasetReader, file: ScenePath) -> None:
    """Log the pages of a TIFF that are not read. Raises SceneError for a GeoPackage with several rasters."""
    if len(dataset.subdatasets) <= 1:
        return
    if dataset.driver == "GPKG":
        tables = [name.rpartition(":")[2] for name in dataset.subdatasets]
        raise SceneError(
            f"{file}: has {len(tables)} rasters: {', '.join(tables)}. "
            f"Save one of them: gdal_translate GPKG:{file}:{tables[0]} OUT.tif"
        )
    log.warning("%s: has %d pages; only the first one is read", file, len(dataset.subdatasets))


def _check_vrt(file: Path, *, allowed: bool) -> str:
    """Return the XML of a virtual raster whose parts can be read safely, with what is stored in them.

    Raises SceneError if virtual rasters are not allowed, or if there is a fault in this one.
    """
    if not allowed:
        raise SceneError(
            f"{file}: is a virtual raster (VRT). Convert it: gdal_translate IN.vrt OUT.tif, or read it with the "
            "files in its folder: --allow-vrt"
        )
    root = read_vrt(file)
    properties = {}
    for part in find_parts(root):
        if (driver := _driver(input_file(part))) not in _PART_DRIVERS:
            raise SceneError(
                f"{file}: its part {part.name} is a {driver}. Use GeoTIFF, PNG, JPEG or JPEG 2000 files"
            )
        with open_raster(part) as opened:
            height, width = opened.block_shapes[0]
            properties[part] = {
                "RasterXSize": str(opened.width),
                "RasterYSize": str(opened.height),
                "DataType": GDAL_TYPES.get(opened.dtypes[0], "Byte"),
                "BlockXSize": str(width),
                "BlockYSize": str(height),
            }
    return format_vrt(root, properties)


def list_parts(file: ScenePath) -> tuple[Path, ...]:
    """Return the files that a virtual raster refers to; none for other rasters."""
    return find_parts(read_vrt(file)) if isinstance(file, Path) and _driver(file) == "VRT" else ()


def check_pixels(dataset: DatasetReader, file: ScenePath) -> None:
    """Raise SceneError for complex, CMYK, CIELAB and sub-byte pixels, and for mixed data types."""
    if any(np.dtype(t).kind == "c" for t in dataset.dtypes):
        raise SceneError(f"{file}: has complex pixels. Convert them to amplitudes")
    if len(set(dataset.dtypes)) > 1:
        raise SceneError(
            f"{file}: its bands differ in data type ({', '.join(sorted(set(dataset.dtypes)))}). "
            "Convert them to one: gdal_translate -ot TYPE IN OUT.tif"
        )
    if ColorInterp.palette in dataset.colorinterp and not is_palette(dataset):
        raise SceneError(
            f"{file}: has a palette beside other bands. Save the palette alone: gdal_translate -b 1 IN OUT.tif"
        )
    if ColorInterp.cyan in dataset.colorinterp or _photometric(dataset) == PhotometricInterp.cmyk:
        raise SceneError(f"{file}: its colours are CMYK. Convert it to RGB")
    if _photometric(dataset) == PhotometricInterp.cielab:
        raise SceneError(f"{file}: its colours are CIE L*a*b*. Convert it to RGB")
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "8")
    # GDAL gives bilevel TIFFs without colours a palette of black and white
    colours = is_palette(dataset) and (int(bits) > 1 or dataset.driver != "GTiff")
    if int(bits) < 8 and not colours:
        raise SceneError(
            f"{file}: has {bits} bits per pixel. Convert it to 8 or more: gdal_translate -ot Byte IN OUT.tif"
        )


def is_palette(dataset: DatasetReader) -> bool:
    """Return True if the pixels of an open raster are indices of a colour table."""
    return (
        dataset.count == 1
        and dataset.colorinterp[0] == ColorInterp.palette
        and dataset.dtypes[0] in ("uint8", "uint16")
    )


def read_palette(dataset: DatasetReader) -> NDArray[np.uint8]:
    """Return the (4, entries) red, green, blue and alpha of every index of a palette; black beyond its end."""
    entries = np.iinfo(dataset.dtypes[0]).max + 1
    table = np.tile(np.array([0, 0, 0, 255], np.uint8)[:, None], entries)
    for index, colour in dataset.colormap(1).items():
        table[:, index] = colour
    return table


def check_georeference(dataset: DatasetReader, file: ScenePath) -> None:
    """Raise SceneError for ground control points or RPCs without a geotransform, and for a singular one."""
    transform = dataset.transform
    if transform == Affine.identity():
        gcps, _ = dataset.gcps
        if gcps:
            raise SceneError(
                f"{file}: has ground control points only. Rectify it first: gdalwarp IN OUT.tif"
            )
        if dataset.rpcs is not None:
            raise SceneError(
                f"{file}: has rational polynomials (RPC) only. "
                "Orthorectify it first: gdalwarp -rpc IN OUT.tif"
            )
    right = transform.a * dataset.width + transform.b * dataset.height + transform.c
    lower = transform.d * dataset.width + transform.e * dataset.height + transform.f
    determinant = transform.a * transform.e - transform.b * transform.d
    if not all(map(isfinite, (*transform[:6], determinant, right, lower))) or determinant == 0:
        raise SceneError(
            f"{file}: its geotransform {transform.to_gdal()} is singular. Georeference it again"
        )


def _vsi_name(url: Url) -> str:
    """Return GDAL's name of an address that `geoseg.files.scene_path` accepts."""
    scheme, _, rest = url.partition("://")
    return f"/vsicurl/{url}" if scheme.startswith("http") else f"/vsi{scheme}/{rest}"


def _driver(file: Path) -> str:
    with file.open("rb") as raw:
        head = raw.read(512)
    for magic, driver in _DRIVERS.items():
        if head.startswith(magic):
            return driver
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<vrtdataset") or (text.startswith(b"<?xml") and b"<vrtdataset" in text):
        return "VRT"
    for start, what in _KNOWN_BEGINNINGS.items():
        if text.startswith(start):
            raise SceneError(f"{file}: {what}")
    raise SceneError(
        f"{file}: not a GeoTIFF, PNG, JPEG, JPEG 2000 or GeoPackage. Convert it: gdal_translate IN OUT.tif"
    )


def _check_size(dataset: DatasetReader, file: ScenePath) -> None:
    if dataset.count == 0:
        raise SceneError(f"{file}: has no bands. Save one of its layers as a GeoTIFF")
    if dataset.count > MAX_BANDS:
        raise SceneError(
            f"{file}: has {dataset.count} bands, more than {MAX_BANDS}. Check whether it is damaged"
        )
    height, width = dataset.block_shapes[0]
    together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    size = height * width * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > MAX_BLOCK_BYTES:
        raise SceneError(
            f"{file}: its blocks take {size / 2**20:,.0f} MB each, more than "
            f"{MAX_BLOCK_BYTES >> 20}. "
            "Store it in tiles: gdal_translate -co TILED=YES IN OUT.tif"
        )


def _check_whole(dataset: DatasetReader, file: Path) -> None:
    """Raise SceneError if a block lies beyond the end of the file; of a very long block table a sample is checked."""
    height, width = dataset.block_shapes[0]
    columns, rows = -(-dataset.width // width), -(-dataset.height // height)
    band = dataset.count  # with separate bands, the last one lies at the end
    step = max(1, columns * rows // _MAX_BLOCKS_CHECKED)
    size = file.stat().st_size
    for index in range(columns * rows - 1, -1, -step):
        row, column = divmod(index, columns)
        block = stored_block(dataset, column, row, band)
        if block is not None and sum(block) > size:
            raise SceneError(
                f"{file}: truncated: block ({column}, {row}) ends at byte {sum(block):,}, "
                f"the file at {size:,}. Copy or download it again"
            )


def stored_block(
    dataset: DatasetReader, column: int, row: int, band: int = 1
) -> tuple[int, int] | None:
    """Return offset and length in bytes of a block of a TIFF, or None if it was never written."""
    offset = dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band)
    length = dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=band)
    if offset is None or length in (None, "0"):
        return None
    return int(offset), int(length)


def _photometric(dataset: DatasetReader) -> PhotometricInterp | None:
    try:
        return dataset.photometric
    except ValueError:  # unknown to rasterio
        return None


def find_alpha_band(dataset: DatasetReader, file: ScenePath) -> int | None:
    """Return the alpha band, or None.

    GDAL interprets the fourth band of a uint8 file as alpha by default, so a near-infrared band is often labelled so.
    The band counts as alpha if at least 95 % of sampled values mean transparent or opaque.
    """
    bands = [b for b, c in enumerate(dataset.colorinterp, start=1) if c == ColorInterp.alpha]
    if not bands or dataset.count == 1:
        return None
    band = bands[-1]
    values = np.concatenate(
        [dataset.read(band, window=w).ravel() for w in _sample_windows(dataset)]
    )
    top = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    extreme = np.count_nonzero((values == 0) | (values == top)) / values.size
    if extreme >= _ALPHA_LIKE or len(np.unique(values)) <= 2:
        return band
    log.warning(
        "%s: band %d is labelled alpha but holds data; it is not used as transparency", file, band
    )
    return None


def select_bands(
    names: Sequence[str],
    alpha: int | None,
    *,
    bands: int | None,
    file: ScenePath,
    wanted: Sequence[str] = (),
) -> tuple[int, ...]:
    """Return the bands to read, numbered from 1: all but alpha, in the order red, green, blue if they are these.

    Parameters
    ----------
    names
        Name of every band; "" if unknown.
    alpha
        Alpha band, if there is one.
    bands
        Number of bands needed; None for any.
    file
        Raster, for messages.
    wanted
        Names of the bands needed, for messages.

    Raises
    ------
    SceneError
        If there are not `bands` of them.
    """
    found = tuple(b for b in range(1, len(names) + 1) if b != alpha)
    if bands is not None and len(found) != bands:
        few = ",".join(map(str, found[:bands]))
        advice = f"Choose them, for example --bands {few}"
        if len(found) == 1:
            advice = f"Repeat it, --bands {','.join(['1'] * bands)}, or use another model"
        elif len(found) < bands:
            advice = "Repeat some of them with --bands, or use another model"
        needed = f" ({', '.join(wanted)})" if any(wanted) else ""
        raise SceneError(
            f"{file}: has {len(found)} {'band' if len(found) == 1 else 'bands'}, the model needs "
            f"{bands}{needed}. {advice}"
        )
    of = [names[b - 1] for b in found]
    if len(found) == len(RGB) and set(of) == set(RGB):
        return tuple(found[of.index(name)] for name in RGB)
    return found


def _sample_windows(dataset: DatasetReader) -> list[Window]:
    """Return windows spread evenly over the scene; they cover a small one."""
    side = 256
    across = np.linspace(0, max(dataset.width - side, 0), int(_SAMPLES**0.5)).astype(int)
    down = np.linspace(0, max(dataset.height - side, 0), int(_SAMPLES**0.5)).astype(int)
    return [
        Window(int(x), int(y), min(side, dataset.width), min(side, dataset.height))
        for y in np.unique(down)
        for x in np.unique(across)
    ]
