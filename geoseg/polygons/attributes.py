"""What a polygon measures on the ground.

A pixel polygon is a union of pixels, so its area needs no geometry where all pixels are equally
large: their number times the area of one. On a geographic grid pixels shrink towards the poles,
and the area is that of the region on the ellipsoid. Web Mercator pretends to metres that are none
on the ground; there too the ellipsoid counts, for areas and for lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoseg.polygons.trace import Traced

_WEB_MERCATOR = 3857

_NO_LENGTH = {"unknown", "unity", "pixel", "pixels", "grid spacing"}


RowArea = Callable[[int, int], NDArray[np.float64]]
"""First row of the scene and number of rows → (rows,) area of a pixel in each, in m²."""


def row_areas(transform: Affine, crs: CRS | None, width: int) -> RowArea:
    """Areas of pixels by row, nan where nobody knows; those of the middle column, if it matters."""

    def areas(first: int, rows: int) -> NDArray[np.float64]:
        y = np.arange(first, first + rows)[:, None]
        x = np.full_like(y, width // 2)
        squares = np.stack(
            [np.hstack([x, x, x + 1, x + 1, x]), np.hstack([y, y + 1, y + 1, y, y])], axis=-1
        )
        pixels = Traced(
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


def area_m2(traced: Traced, transform: Affine, crs: CRS | None) -> NDArray[np.float64]:
    """(n,) area of every polygon in square metres.

    Projected and local CRS: in the plane of the map, units honoured (feet become metres).
    Geographic CRS, and Web Mercator, whose plane is 3 times too large at 55 degrees: on the
    ellipsoid. Without a CRS, with units that are no lengths, or beyond the poles nobody knows the
    metres: nan.
    """
    unit, size = _unit(crs)
    if crs is not None and crs.is_geographic:
        return _on_ellipsoid(traced, transform, size, lambda y: y * size, _axes(crs.to_wkt()))
    if crs is not None and crs.to_epsg() == _WEB_MERCATOR:
        axes = major, _ = _axes(crs.to_wkt())
        return _on_ellipsoid(traced, transform, 1 / major, lambda y: _gudermann(y / major), axes)
    metres = np.nan if unit in _NO_LENGTH else size
    return traced.pixels.astype(np.float64) * (abs(transform.determinant) * metres**2)


def perimeter_m(traced: Traced, transform: Affine, crs: CRS | None) -> NDArray[np.float64]:
    """(n,) length of every polygon's outline in metres, holes included.

    Where `area_m2` is that of the plane, so is the length (units honoured); where it is that of
    the ellipsoid, lines drawn straight in longitude and latitude (or on the Mercator plane) are
    measured along the ellipsoid. nan as for areas.
    """
    unit, size = _unit(crs)
    if crs is not None and crs.is_geographic:
        return _along_ellipsoid(traced, transform, size, lambda y: y * size, _axes(crs.to_wkt()))
    if crs is not None and crs.to_epsg() == _WEB_MERCATOR:
        axes = major, _ = _axes(crs.to_wkt())
        return _along_ellipsoid(traced, transform, 1 / major, lambda y: _gudermann(y / major), axes)
    metres = np.nan if unit in _NO_LENGTH else size
    if traced.coordinates.dtype == np.int32:  # pixel edges: count them
        sides = np.hypot(*np.array([[transform.a, transform.b], [transform.d, transform.e]]))
        return np.asarray(traced.perimeter_xy @ sides * metres)
    x, y = traced.coordinates.astype(np.float64).T
    right, down = _to_next(x), _to_next(y)
    steps = np.hypot(
        transform.a * right + transform.b * down, transform.d * right + transform.e * down
    )
    return _per_polygon(traced, steps * metres)


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
    assert ellipsoid is not None  # a CRS on the earth has one
    return ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre


def _gudermann(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Latitude of a Mercator ordinate, both in radians."""
    return np.asarray(2 * np.arctan(np.exp(y)) - np.pi / 2)


def _on_ellipsoid(
    traced: Traced,
    transform: Affine,
    radians: float,
    to_latitude: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    axes: tuple[float, float],
) -> NDArray[np.float64]:
    """Area within outlines drawn in longitude and latitude, by Green's theorem: |∮ A(φ) dλ|.

    `radians` of longitude are one unit of x, `to_latitude` turns y into radians, `axes` are the
    ellipsoid's in metres. Edges of a
    north-up grid run along parallels and meridians, so the sum is exact, and the areas of all
    polygons add up to that of the raster. Along slanted edges of a rotated grid A is integrated
    by Simpson's rule.
    """
    if len(traced.pixels) == 0:
        return np.zeros(0)
    x, y = traced.coordinates.astype(np.float64).T
    latitude = to_latitude(transform.d * x + transform.e * y + transform.f)
    step = (transform.a * _to_next(x) + transform.b * _to_next(y)) * radians
    middle = latitude + _to_next(latitude) / 2
    mean = (
        _from_equator(latitude, axes)
        + 4 * _from_equator(middle, axes)
        + _from_equator(np.append(latitude[1:], 0.0), axes)
    ) / 6
    edges = mean * step
    edges[traced.ring_offsets[1:] - 1] = 0.0  # the step from one ring to the next is no edge
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
    """m² between equator and `latitude` (radians) per radian of longitude: Snyder 1987, 3-12."""
    major, minor = axes
    sine = np.sin(latitude)
    squared = 1 - (minor / major) ** 2
    if squared == 0:
        return np.asarray(major**2 * sine)  # a sphere
    e = np.sqrt(squared)
    zone = sine / (1 - squared * sine**2) + np.arctanh(e * sine) / e
    return np.asarray(major**2 * (1 - squared) / 2 * zone)


def _along_ellipsoid(
    traced: Traced,
    transform: Affine,
    radians: float,
    to_latitude: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    axes: tuple[float, float],
) -> NDArray[np.float64]:
    """Length of outlines on the ellipsoid: ∫ √((M dφ)² + (N cos φ dλ)²), Simpson's rule.

    M and N are the radii of curvature along the meridian and across it; the other arguments are
    those of `_on_ellipsoid`.
    """
    x, y = traced.coordinates.astype(np.float64).T
    latitude = to_latitude(transform.d * x + transform.e * y + transform.f)
    east = (transform.a * _to_next(x) + transform.b * _to_next(y)) * radians
    north = _to_next(latitude)
    steps = sum(
        weight * np.hypot(*_radii(latitude + share * north, axes) * (north, east))
        for share, weight in ((0.0, 1 / 6), (0.5, 4 / 6), (1.0, 1 / 6))
    )
    steps = np.where(np.abs(latitude) > np.pi / 2 + 1e-9, np.nan, steps)
    return _per_polygon(traced, steps)


def _radii(latitude: NDArray[np.float64], axes: tuple[float, float]) -> NDArray[np.float64]:
    """(2, n) metres per radian along the meridian and along the parallel: Snyder 1987, 4-18 to
    4-20."""
    major, minor = axes
    squared = 1 - (minor / major) ** 2
    bent = 1 - squared * np.sin(latitude) ** 2
    return np.stack([major * (1 - squared) / bent**1.5, major * np.cos(latitude) / np.sqrt(bent)])


def _per_polygon(traced: Traced, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) sums of the steps from each point to the next."""
    if len(traced.pixels) == 0:
        return np.zeros(0)
    steps[traced.ring_offsets[1:] - 1] = 0.0  # the step from one ring to the next is no edge
    sums: NDArray[np.float64] = np.add.reduceat(
        steps, traced.ring_offsets[traced.polygon_offsets[:-1]]
    )
    return sums
