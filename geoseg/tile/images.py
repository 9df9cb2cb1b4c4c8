"""Images and label images: PNG, JPEG and GeoTIFF."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter

from geoseg.errors import OutputError
from geoseg.legend import IGNORE, Legend
from geoseg.tile.pair import Format, Line, Pair

_PNG_LEVEL = 2  # 5 % larger than 6 and four times as fast
_BLOCK = 256  # pixels


def write_picture(path: Path, pixels: NDArray[Any], *, quality: int) -> None:
    """Write grey or RGB (bands, h, w) as PNG or JPEG, by the suffix of `path`."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    if path.suffix == ".jpg":
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    picture = np.ascontiguousarray(np.moveaxis(pixels[::-1], 0, 2))  # OpenCV's order is BGR
    _, encoded = cv2.imencode(path.suffix, picture, settings)
    path.write_bytes(encoded.tobytes())


def write_raster(path: Path, pair: Pair) -> None:
    """Write the image of a window as a GeoTIFF in its place, what is not valid masked."""
    with _created(path, pair, pair.pixels) as raster:
        raster.write(pair.pixels)
        if not pair.valid.all():
            raster.write_mask(pair.valid)


class _LabelImages(Format):
    ignores = True

    def is_whole(self, path: Path, entry: Line) -> bool:  # noqa: ARG002
        """False when a file is empty, whatever the window shows."""
        return path.stat().st_size > 0


class LabelPngs(_LabelImages):
    """Class ids as 8-bit PNG with a palette."""

    suffix = ".png"

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write the labels of a window."""
        path.write_bytes(palette_png(pair.labels(), palette(self.legend)))
        return ()


class LabelRasters(_LabelImages):
    """Class ids as GeoTIFF in its place, with a colour table; 255 is nodata."""

    suffix = ".tif"

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write the labels of a window."""
        labels = pair.labels()[None]
        with _created(path, pair, labels, nodata=IGNORE) as raster:
            raster.write(labels)
            raster.write_colormap(1, dict(enumerate(map(tuple, palette(self.legend).tolist()))))
        return ()


def palette(legend: Legend) -> NDArray[np.uint8]:
    """(256, 3) colours of class ids; cream, as PASCAL VOC has it, where nothing counts."""
    colours = np.zeros((256, 3), np.uint8)
    for c in legend:
        colours[c.id] = legend.rgb(c.id)
    colours[IGNORE] = (224, 224, 192)
    return colours


def palette_png(labels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """A PNG file whose pixels are (h, w) `labels` and whose palette is (256, 3) `colours`.

    By hand, since OpenCV writes no palettes and GDAL takes three times as long (PNG specification, third edition).
    """
    height, width = labels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = labels
    header = struct.pack(">2I5B", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes())),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@contextmanager
def _created(path: Path, pair: Pair, pixels: NDArray[Any], **more: Any) -> Iterator[DatasetWriter]:
    """A new GeoTIFF where a window lies, for (bands, h, w) like `pixels`. Raises OutputError."""
    count, height, width = pixels.shape
    profile = {
        **{"driver": "GTiff", "count": count, "dtype": pixels.dtype},
        **{"width": width, "height": height, "transform": pair.transform, "crs": pair.crs},
        **{"compress": "deflate", "zlevel": 4, "interleave": "pixel", **more},
        **{"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK},
    }
    if count == 3:
        profile |= {"photometric": "RGB", "predictor": 2}
    try:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **profile) as raster,
        ):
            yield raster
    except RasterioError as fault:
        raise OutputError(f"{path.name}: cannot be written ({fault}). is the disk full?") from fault
