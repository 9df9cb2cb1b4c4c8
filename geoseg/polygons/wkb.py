"""Polygons in flat arrays → map coordinates → well-known binary, in bulk."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.polygons.jit import kernel


@kernel
def map_rings(
    mapped: NDArray[np.float64],
    xy: NDArray[np.int32] | NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    transform: tuple[float, ...],
) -> None:
    """Fill `mapped` (points, 2) with `xy` in map units; transform: a, b, c, d, e, f of the Affine.

    Rings keep their sense as the screen shows a north-up scene: those of a scene that is mirrored
    against it are turned around.
    """
    a, b, c, d, e, f = transform
    mirrored = a * e - b * d > 0
    for ring in range(len(ring_offsets) - 1):
        begin, end = ring_offsets[ring], ring_offsets[ring + 1]
        for k in range(begin, end):
            point = begin + end - 1 - k if mirrored else k
            x, y = xy[point, 0], xy[point, 1]
            # the terms in GDAL's order, so that the last bit is the same
            mapped[k, 0] = c + a * x + b * y
            mapped[k, 1] = f + d * x + e * y


def polygons_to_wkb(
    xy: NDArray[np.float64], ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64]
) -> pa.LargeBinaryArray:
    """xy (points, 2), offsets as in GeoArrow → an array of little-endian WKB polygons."""
    polygons = len(polygon_offsets) - 1
    # a polygon: byte order, type and number of rings; a ring: number of points, points
    offsets = 9 * np.arange(polygons + 1) + 4 * polygon_offsets + 16 * ring_offsets[polygon_offsets]
    data = np.empty(offsets[-1], np.uint8)
    points = np.ascontiguousarray(xy, "<f8").view(np.uint8).ravel()
    rings = np.diff(polygon_offsets).astype("<u4").view(np.uint8)
    lengths = np.diff(ring_offsets).astype("<u4").view(np.uint8)
    fill(data, points, ring_offsets, lengths, polygon_offsets, rings)
    return pa.Array.from_buffers(
        pa.large_binary(), polygons, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


@kernel
def fill(
    data: NDArray[np.uint8],
    points: NDArray[np.uint8],
    ring_offsets: NDArray[np.int64],
    ring_lengths: NDArray[np.uint8],
    polygon_offsets: NDArray[np.int64],
    polygon_rings: NDArray[np.uint8],
) -> None:
    at = 0
    for polygon in range(len(polygon_offsets) - 1):
        data[at] = 1  # little-endian
        data[at + 1] = 3  # polygon
        data[at + 2] = data[at + 3] = data[at + 4] = 0
        at = copy(polygon_rings, 4 * polygon, 4 * polygon + 4, data, at + 5)
        for ring in range(polygon_offsets[polygon], polygon_offsets[polygon + 1]):
            at = copy(ring_lengths, 4 * ring, 4 * ring + 4, data, at)
            at = copy(points, 16 * ring_offsets[ring], 16 * ring_offsets[ring + 1], data, at)


@kernel
def copy(
    source: NDArray[np.uint8], begin: int, end: int, target: NDArray[np.uint8], at: int
) -> int:
    """Copy source[begin:end] to target[at:] -> where it ends; a loop compiles quicker than target[…] = …."""
    part, place = source[begin:end], target[at : at + end - begin]
    for k in range(len(part)):
        place[k] = part[k]
    return at + len(part)
