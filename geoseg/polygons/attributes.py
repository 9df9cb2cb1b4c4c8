"""Areas and perimeters of polygons on the ground.

A region of pixels of equal size has the area of their number. On a geographic grid pixels shrink towards the poles,
and metres of Web Mercator are not metres on the ground: there areas and lengths are those on the ellipsoid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoseg.polygons.trace import PolygonBatch

_WEB_MERCATOR = 3857

_NOT_LENGTHS = {"unknown", "unity", "pixel", "pixels", "grid spacing"}


RowArea = Callable[[int, int], NDArray[np.float64]]
"""From the first row and a number of rows of a scene to (rows,) areas of a pixel, in square metres."""


def row_areas(transform: Affine, crs: CRS | None, width: int) -> RowArea:
    """Return a function that computes the area of a pixel in the middle column of each row; NaN if unknown."""

    def areas(first: int, rows: int) -> NDArray[np.float64]:
        y = np.arange(first, first + rows)[:, None]
        x = np.full_like(y, width // 2)
        squares = np.stack(
            [np.hstack([x, x, x + 1, x + 1, x]), np.hstack([y, y + 1, y + 1, y, y])], axis=-1
        )
        pixels = PolygonBatch(
            class_id=np.zeros(rows, np.uint8),
            pixels=np.ones(rows, np.int64),
            confidence_mean=np.zeros(rows, np.float32),
            confidence_min=np.zeros(rows, np.float32),
            touches_edge=np.zeros(rows, bool),
            perimeter_xy=np.full((rows, 2), 2),
            coordinates=squares.reshape(-1, 2).astype(np.int32),
            ring_offsets=np.arange(rows + 1) * 5,
            polygon_offsets=np.arange(rows + 1),
        )
        return area_m2(pixels, transform, crs)

    return areas


def area_m2(traced: PolygonBatch, transform: Affine, crs: CRS | None) -> NDArray[np.float64]:
    """Compute the area of every polygon in square metres.

    Parameters
    ----------
    traced
        n polygons along pixel edges.
    transform
        Pixel-to-CRS transform of the scene.
    crs
        CRS of the scene, or None.

    Returns
    -------
    (n,) array
        On the ellipsoid for a geographic CRS and for Web Mercator, whose plane is 3 times too large at 55 degrees;
        else in the plane of the map, in its units converted to metres. NaN without a CRS, for units that are not
        lengths, and beyond the poles.
    """
    graticule = _find_graticule(crs)
    if graticule is not None:
        return _on_ellipsoid(traced, transform, graticule)
    metres = _unit_metres(crs)
    return traced.pixels.astype(np.float64) * (abs(transform.determinant) * metres**2)


def perimeter_m(traced: PolygonBatch, transform: Affine, crs: CRS | None) -> NDArray[np.float64]:
    """Compute the perimeter of every polygon in metres, including holes.

    Returns
    -------
    (n,) array
        In the plane or on the ellipsoid, and NaN, as for `area_m2`. On the ellipsoid, segments are straight in
        longitude and latitude, or in the Mercator plane.
    """
    graticule = _find_graticule(crs)
    if graticule is not None:
        return _along_ellipsoid(traced, transform, graticule)
    metres = _unit_metres(crs)
    if traced.coordinates.dtype == np.int32:  # pixel edges are counted
        sides = np.hypot(*np.array([[transform.a, transform.b], [transform.d, transform.e]]))
        return np.asarray(traced.perimeter_xy @ sides * metres)
    x, y = traced.coordinates.astype(np.float64).T
    right, down = _to_next(x), _to_next(y)
    steps = np.hypot(
        transform.a * right + transform.b * down, transform.d * right + transform.e * down
    )
    return _per_polygon(traced, steps * metres)


def ground_vectors(
    traced: PolygonBatch, transform: Affine, crs: CRS | None
) -> tuple[NDArray[np.float64], float]:
    """Return the ground vectors of a pixel at the middle of every polygon.

    Returns
    -------
    (n, 2, 2) array
        [east or north, step to the next column or row]: in metres on the ellipsoid for a geographic CRS and for Web
        Mercator, else in units of the map. NaN beyond the poles.
    float
        Metres of a unit; NaN if unknown.
    """
    linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    graticule = _find_graticule(crs)
    if graticule is None:
        return np.broadcast_to(linear, (len(traced), 2, 2)), _unit_metres(crs)
    if not len(traced):
        return np.empty((0, 2, 2)), 1.0
    points = np.add.reduceat(traced.coordinates.astype(np.float64), traced.ring_offsets[:-1])
    middle = (points / np.diff(traced.ring_offsets)[:, None])[traced.polygon_offsets[:-1]]
    y = transform.f + middle @ linear[1]
    latitude = graticule.to_latitude(y)
    steps = np.empty((len(traced), 2, 2))
    steps[:, 0] = linear[0] * graticule.radians
    steps[:, 1] = graticule.to_latitude(y[:, None] + linear[1]) - latitude[:, None]
    north, east = _radii(latitude, graticule.axes)
    vectors = steps * np.stack([east, north], axis=1)[..., None]
    vectors[np.abs(latitude) > np.pi / 2] = np.nan
    return vectors, 1.0


@dataclass(frozen=True, slots=True)
class _Graticule:
    """Conversion of map coordinates to longitude and latitude on an ellipsoid."""

    radians: float
    """Longitude of one unit of x."""

    to_latitude: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """Converts y to radians."""

    axes: tuple[float, float]
    """Semi-major and semi-minor axis of the ellipsoid in metres."""


def _find_graticule(crs: CRS | None) -> _Graticule | None:
    """Return the conversion of a geographic CRS or of Web Mercator; None for another CRS."""
    if crs is not None and crs.is_geographic:
        _, size = _unit(crs)
        return _Graticule(size, lambda y: y * size, _axes(crs.to_wkt()))
    if crs is not None and crs.to_epsg() == _WEB_MERCATOR:
        axes = major, _ = _axes(crs.to_wkt())
        return _Graticule(1 / major, lambda y: _gudermann(y / major), axes)
    return None


def _unit_metres(crs: CRS | None) -> float:
    """Return the metres of a unit of the CRS, NaN if it is not a length."""
    unit, size = _unit(crs)
    return np.nan if unit in _NOT_LENGTHS else size


def _unit(crs: CRS | None) -> tuple[str, float]:
    if crs is None:
        return "unknown", 1.0
    try:
        name, size = crs.units_factor
    except CRSError:
        return "unknown", 1.0
    return name.lower(), size


@lru_cache(maxsize=8)
def _axes(wkt: str) -> tuple[float, float]:
    ellipsoid = pyproj.CRS.from_wkt(wkt).ellipsoid
    assert ellipsoid is not None  # true for a CRS of the earth
    return ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre


def _gudermann(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the latitude of a Mercator ordinate, both in radians (Gudermannian)."""
    return np.asarray(2 * np.arctan(np.exp(y)) - np.pi / 2)


def _on_ellipsoid(
    traced: PolygonBatch, transform: Affine, graticule: _Graticule
) -> NDArray[np.float64]:
    """Compute areas within outlines in longitude and latitude, by Green's theorem: |∮ A(φ) dλ|.

    Edges of a north-up grid follow parallels and meridians, so the sum is exact, and the areas of all polygons add up
    to that of the raster. Along oblique edges of a rotated grid A is integrated by Simpson's rule.
    """
    if len(traced.pixels) == 0:
        return np.zeros(0)
    x, y = traced.coordinates.astype(np.float64).T
    latitude = graticule.to_latitude(transform.d * x + transform.e * y + transform.f)
    step = (transform.a * _to_next(x) + transform.b * _to_next(y)) * graticule.radians
    middle = latitude + _to_next(latitude) / 2
    mean = (
        _from_equator(latitude, graticule.axes)
        + 4 * _from_equator(middle, graticule.axes)
        + _from_equator(np.append(latitude[1:], 0.0), graticule.axes)
    ) / 6
    edges = mean * step
    edges[traced.ring_offsets[1:] - 1] = 0.0  # the step from one ring to the next is not an edge
    rings = np.abs(np.add.reduceat(edges, traced.ring_offsets[:-1]))
    rings[np.maximum.reduceat(np.abs(latitude), traced.ring_offsets[:-1]) > np.pi / 2 + 1e-9] = (
        np.nan
    )
    shells = traced.polygon_offsets[:-1]
    area: NDArray[np.float64] = 2 * rings[shells] - np.add.reduceat(rings, shells)
    return area


def _to_next(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(np.diff(values), 0.0)


def _from_equator(latitude: NDArray[np.float64], axes: tuple[float, float]) -> NDArray[np.float64]:
    """Return m² between the equator and `latitude` (radians) per radian of longitude: Snyder 1987, 3-12."""
    major, minor = axes
    sine = np.sin(latitude)
    squared = 1 - (minor / major) ** 2
    if squared == 0:
        return np.asarray(major**2 * sine)  # a sphere
    e = np.sqrt(squared)
    zone = sine / (1 - squared * sine**2) + np.arctanh(e * sine) / e
    return np.asarray(major**2 * (1 - squared) / 2 * zone)


def _along_ellipsoid(
    traced: PolygonBatch, transform: Affine, graticule: _Graticule
) -> NDArray[np.float64]:
    """Compute lengths of outlines on the ellipsoid: ∫ √((M dφ)² + (N cos φ dλ)²), by Simpson's rule.

    M and N are the radii of curvature along the meridian and across it.
    """
    x, y = traced.coordinates.astype(np.float64).T
    latitude = graticule.to_latitude(transform.d * x + transform.e * y + transform.f)
    east = (transform.a * _to_next(x) + transform.b * _to_next(y)) * graticule.radians
    north = _to_next(latitude)
    steps = sum(
        weight * np.hypot(*_radii(latitude + share * north, graticule.axes) * (north, east))
        for share, weight in ((0.0, 1 / 6), (0.5, 4 / 6), (1.0, 1 / 6))
    )
    steps = np.where(np.abs(latitude) > np.pi / 2 + 1e-9, np.nan, steps)
    return _per_polygon(traced, steps)


def _radii(latitude: NDArray[np.float64], axes: tuple[float, float]) -> NDArray[np.float64]:
    """Return (2, n) metres per radian along the meridian and along the parallel: Snyder 1987, 4-18 to 4-20."""
    major, minor = axes
    squared = 1 - (minor / major) ** 2
    bent = 1 - squared * np.sin(latitude) ** 2
    return np.stack([major * (1 - squared) / bent**1.5, major * np.cos(latitude) / np.sqrt(bent)])


def _per_polygon(traced: PolygonBatch, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) sums of the steps from each point to the next."""
    if len(traced.pixels) == 0:
        return np.zeros(0)
    steps[traced.ring_offsets[1:] - 1] = 0.0  # the step from one ring to the next is not an edge
    sums: NDArray[np.float64] = np.add.reduceat(
        steps, traced.ring_offsets[traced.polygon_offsets[:-1]]
    )
    return sums
