"""Oriented boxes of objects: position, length, width and direction.

The smallest rotated rectangle around the pixels of an object is larger than the object: on an oblique side, the
corners of pixels stick out. Its direction is good, so the box keeps it, and each side is moved inward by the distance
that pixels are expected to stick out.

Notes
-----
Let a side of length l have the unit normal n, and let a step to the next column or row change the distance from the
side by p and q, p <= q. A pixel reaches (p + q) / 2 beyond its centre. The centres of the pixels along the side have
distances of t0 + k p (modulo q) from it, over a span of r = l p q / A (A: the area of a pixel). The smallest of them
is expected to be q / 2 for a side along rows or columns, where r = 0, and close to 0 for a long oblique side:

    (q - r)² / 2q + r p / 2q   for r < q,   else p q / 2r.

On 2,259 annotated quads of DOTA, burned at random shifts, the smallest rectangle is 0.70 pixels too long and 0.74 too
wide, and this box 0.05 too long and 0.01 too narrow; both have a mean error of 0.3 degrees.
`python -m benchmarks.objects.boxes` measures it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.polygons.attributes import ground_vectors
from geoseg.polygons.trace import PolygonBatch

Floats = NDArray[np.float64]


def oriented_boxes(traced: PolygonBatch) -> Floats:
    """Fit an oriented box to each polygon.

    Parameters
    ----------
    traced
        n polygons along pixel edges.

    Returns
    -------
    (n, 5) array
        Centre x and y, length and width in pixels, and the direction of the long side in degrees clockwise from the
        upward direction of the image, 0 <= angle < 180. A box has at least the area of its polygon.

    Examples
    --------
    >>> from geoseg.polygons.trace import trace
    >>> labels = np.zeros((6, 9), np.uint8)
    >>> labels[1:4, 2:8] = 1
    >>> (batch,) = trace([(labels, None)])
    >>> oriented_boxes(batch)
    array([[ 5. ,  2.5,  6. ,  3. , 90. ]])
    """
    vectors = np.broadcast_to(np.eye(2), (len(traced), 2, 2))
    centre, long_side, sizes = _fit(traced, vectors)
    angle = _bearing(long_side[:, 0], -long_side[:, 1])
    return np.column_stack([centre, sizes, angle])


def measure_boxes(
    traced: PolygonBatch, transform: Affine, crs: CRS | None, unit_m: float | None = None
) -> Floats:
    """Fit an oriented box on the ground to each polygon.

    Parameters
    ----------
    traced
        n polygons along pixel edges.
    transform, crs
        Georeference of the scene.
    unit_m
        Metres of a unit of the map where the CRS is None.

    Returns
    -------
    (n, 3) array
        Length and width in metres, NaN if they are unknown, and the direction of the long side in degrees clockwise
        from north, 0 <= angle < 180: north of the grid for a projected CRS, and upward on the map without a CRS.
    """
    vectors, metres = ground_vectors(traced, transform, crs, unit_m)
    known: NDArray[np.bool_] = np.all(np.isfinite(vectors), axis=(1, 2))
    vectors = np.where(known[:, None, None], vectors, np.eye(2))
    _, long_side, sizes = _fit(traced, vectors)
    box = np.column_stack([sizes * metres, _bearing(long_side[:, 0], long_side[:, 1])])
    box[~known] = np.nan
    return box


def fit_oriented_boxes(traced: PolygonBatch) -> PolygonBatch:
    """Return the oriented box of each polygon as a polygon."""
    x, y, length, width, angle = oriented_boxes(traced).T
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    along = np.stack([sine, -cosine], axis=1) * length[:, None] / 2
    across = np.stack([cosine, sine], axis=1) * width[:, None] / 2
    centre = np.stack([x, y], axis=1)
    corners = np.stack(
        [centre + sa * along + sb * across for sa, sb in ((1, 1), (1, -1), (-1, -1), (-1, 1), (1, 1))],
        axis=1,
    )  # fmt: skip
    rings = np.arange(len(traced) + 1)
    return replace(
        traced,
        coordinates=corners.reshape(-1, 2),
        ring_offsets=rings * 5,
        polygon_offsets=rings,
    )


def _fit(traced: PolygonBatch, vectors: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit boxes in the plane into which (n, 2, 2) vectors, [axis, pixel step], map the pixels of each polygon.

    Returns the centre in that plane, the unit vector of the long side, and (n, 2) length and width.
    """
    if not len(traced):
        return np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 2))
    corners = _smallest_rectangles(traced, vectors)
    sides = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]], axis=1)
    sizes = np.linalg.norm(sides, axis=2)
    units = sides / sizes[..., None]
    # the side along one direction has the other direction as its normal
    steps = np.abs(units @ vectors)
    pixel = np.abs(np.linalg.det(vectors))
    fitted = sizes.copy()
    for _ in range(2):
        fitted = sizes - 2 * _overhang(steps, fitted[:, ::-1] / pixel[:, None])
    grown = np.sqrt(traced.pixels * pixel / np.maximum(fitted.prod(axis=1), 1e-12))
    fitted *= np.clip(grown, 1, None)[:, None]
    order = np.argsort(-fitted, axis=1, kind="stable")
    row = np.arange(len(traced))
    centre: Floats = (corners[:, 0] + corners[:, 2]) / 2
    return centre, units[row, order[:, 0]], np.take_along_axis(fitted, order, axis=1)


def _smallest_rectangles(traced: PolygonBatch, vectors: Floats) -> Floats:
    """Return (n, 5, 2) corners of the smallest rotated rectangles."""
    shells = traced.polygon_offsets[:-1]
    begin, end = traced.ring_offsets[shells], traced.ring_offsets[shells + 1]
    owner = np.repeat(np.arange(len(traced)), end - begin)
    first = np.repeat(begin - np.concatenate([[0], np.cumsum(end - begin)[:-1]]), end - begin)
    x, y = traced.coordinates[np.arange(len(owner)) + first].T.astype(np.float64)
    mapped = vectors[owner, :, 0] * x[:, None] + vectors[owner, :, 1] * y[:, None]
    rings = shapely.linearrings(mapped, indices=owner)
    corners: Floats = shapely.get_coordinates(shapely.oriented_envelope(rings)).reshape(-1, 5, 2)
    return corners


def _overhang(steps: Floats, length: Floats) -> Floats:
    """Return how far pixels are expected to stick out of a side: see the notes of this module.

    steps: (..., 2) change of the distance from the side per column and per row. length: of the side, divided by the
    area of a pixel.
    """
    p, q = np.sort(steps, axis=-1)[..., 0], np.max(steps, axis=-1)
    span = np.maximum(length, 0) * p * q
    short = (q - span) ** 2 / (2 * q) + span * p / (2 * q)
    nearest = np.where(span < q, short, p * q / (2 * np.maximum(span, q)))
    overhang: Floats = (p + q) / 2 - nearest
    return overhang


def _bearing(east: Floats, north: Floats) -> Floats:
    """Return degrees clockwise from north, of a line: 0 <= bearing < 180."""
    bearing = np.round(np.degrees(np.arctan2(east, north)), 9) % 180
    return np.where(bearing == 180, 0.0, bearing)
