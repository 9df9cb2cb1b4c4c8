"""Areas and perimeters of polygons on the ground.

Areas and lengths are those on the ellipsoid of the CRS, whatever its projection: metres of a map are not metres on the
ground. In UTM they differ by up to 0.1 %, in Web Mercator at 55 degrees by 74 %.

Notes
-----
Geographic and Mercator grids follow meridians and parallels, so areas and lengths are integrated along the outlines. In
other projections they are multiplied by the scale of the projection at the centroid of the polygon, from differences of
the inverse projection over 1 km. For polygons of up to 10 km the error is below 1e-4.
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
from geoseg.raster.georeference import is_mercator

_BASELINE_M = 1000.0
"""Distance over which the inverse projection is differentiated."""

_NOT_LENGTHS = {"unknown", "unity", "pixel", "pixels", "grid spacing"}


RowArea = Callable[[int, int], NDArray[np.float64]]
"""From the first row and a number of rows of a scene to (rows,) areas of a pixel, in square metres."""


def row_areas(
    transform: Affine, crs: CRS | None, width: int, unit_m: float | None = None
) -> RowArea:
    """Return a function that computes the area of a pixel in the middle column of each row; NaN if unknown.

    `unit_m` is that of `area_m2`.
    """

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
        return area_m2(pixels, transform, crs, unit_m)

    return areas


def area_m2(
    traced: PolygonBatch, transform: Affine, crs: CRS | None, unit_m: float | None = None
) -> NDArray[np.float64]:
    """Compute the area of every polygon in square metres.

    Parameters
    ----------
    traced
        n polygons along pixel edges.
    transform
        Pixel-to-CRS transform of the scene.
    crs
        CRS of the scene, or None.
    unit_m
        Metres of a unit of the map where the CRS is None.

    Returns
    -------
    (n,) array
        On the ellipsoid of the CRS. NaN without a CRS and `unit_m`, for units that are not lengths, and beyond the
        poles.
    """
    graticule = _find_graticule(crs)
    if graticule is not None:
        return _on_ellipsoid(traced, transform, graticule)
    pixels = traced.pixels.astype(np.float64) * abs(transform.determinant)
    scales = _scales(_centroids(traced, transform), crs, unit_m)
    return np.asarray(
        pixels * (scales[:, 0, 0] * scales[:, 1, 1] - scales[:, 0, 1] * scales[:, 1, 0])
    )


def perimeter_m(
    traced: PolygonBatch, transform: Affine, crs: CRS | None, unit_m: float | None = None
) -> NDArray[np.float64]:
    """Compute the perimeter of every polygon in metres, including holes.

    Returns
    -------
    (n,) array
        On the ellipsoid, and NaN, as for `area_m2`. In geographic and Mercator coordinates, segments are straight in
        longitude and latitude, or in the Mercator plane.
    """
    graticule = _find_graticule(crs)
    if graticule is not None:
        return _along_ellipsoid(traced, transform, graticule)
    linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    vectors = _scales(_centroids(traced, transform), crs, unit_m) @ linear
    if traced.coordinates.dtype == np.int32:  # pixel edges are counted
        return np.asarray((traced.perimeter_xy * np.hypot(*vectors.swapaxes(0, 1))).sum(axis=1))
    x, y = traced.coordinates.astype(np.float64).T
    points = np.diff(traced.ring_offsets[traced.polygon_offsets])
    along = np.repeat(vectors, points, axis=0)
    right, down = _to_next(x)[:, None], _to_next(y)[:, None]
    return _per_polygon(traced, np.hypot(*(along[..., 0] * right + along[..., 1] * down).T))


def ground_vectors(
    traced: PolygonBatch, transform: Affine, crs: CRS | None, unit_m: float | None = None
) -> tuple[NDArray[np.float64], float]:
    """Return the ground vectors of a pixel at the middle of every polygon.

    Returns
    -------
    (n, 2, 2) array
        [east or north, step to the next column or row], where north is that of the grid: in metres on the ellipsoid,
        or in units of the map if their length is unknown. NaN beyond the poles.
    float
        Metres of a unit; NaN if unknown.
    """
    linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    graticule = _find_graticule(crs)
    if graticule is None:
        if np.isnan(_unit_metres(crs, unit_m)):
            return np.broadcast_to(linear, (len(traced), 2, 2)), np.nan
        return _scales(_centroids(traced, transform), crs, unit_m) @ linear, 1.0
    if not len(traced):
        return np.empty((0, 2, 2)), 1.0
    y = _centroids(traced, transform)[:, 1]
    latitude = graticule.to_latitude(y)
    steps = np.empty((len(traced), 2, 2))
    steps[:, 0] = linear[0] * graticule.radians
    steps[:, 1] = graticule.to_latitude(y[:, None] + linear[1]) - latitude[:, None]
    north, east = _radii(latitude, graticule.axes)
    vectors = steps * np.stack([east, north], axis=1)[..., None]
    vectors[~(np.abs(latitude) <= np.pi / 2)] = np.nan
    return vectors, 1.0


def _centroids(traced: PolygonBatch, transform: Affine) -> NDArray[np.float64]:
    """Return (n, 2) map coordinates of the centroids of the outer rings."""
    if not len(traced):
        return np.empty((0, 2))
    begin = traced.ring_offsets[:-1]
    # relative to the first point of the ring, so that the products are exact
    origin = traced.coordinates[begin].astype(np.float64)
    x, y = (traced.coordinates - np.repeat(origin, np.diff(traced.ring_offsets), axis=0)).T
    cross = x * (y + _to_next(y)) - (x + _to_next(x)) * y
    cross[traced.ring_offsets[1:] - 1] = 0.0  # the step from one ring to the next is not an edge
    moments = [np.add.reduceat(cross * (2 * v + _to_next(v)), begin) for v in (x, y)]
    area = np.add.reduceat(cross, begin)[:, None]
    offset = np.divide(
        np.stack(moments, axis=1), 3 * area, where=area != 0, out=np.zeros_like(origin)
    )
    pixel = (origin + offset)[traced.polygon_offsets[:-1]]
    linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    return np.asarray(pixel @ linear.T + (transform.c, transform.f))


def _scales(
    points: NDArray[np.float64], crs: CRS | None, unit_m: float | None
) -> NDArray[np.float64]:
    """Return (n, 2, 2) ground metres per map unit at (n, 2) points, symmetric: north stays that of the grid.

    NaN for an unknown unit. Where the projection has no inverse, a metre of the map is taken for one on the ground.
    """
    unit = _unit_metres(crs, unit_m)
    plain = np.broadcast_to(np.eye(2) * unit, (len(points), 2, 2))
    projection = None if crs is None or np.isnan(unit) else _find_projection(crs.to_wkt())
    if projection is None or not len(points):
        return plain
    inverse, radians, axes = projection
    step = _BASELINE_M / unit
    moves = step / 2 * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    x, y = (points[:, None] + moves).T
    longitude, latitude = np.asarray(inverse.transform(x, y)) * radians
    with np.errstate(invalid="ignore"):  # infinite where there is no inverse
        turned = (longitude[::2] - longitude[1::2] + np.pi) % (2 * np.pi) - np.pi
        north, east = _radii(latitude.mean(axis=0), axes)
        jacobian = np.stack([east * turned, north * (latitude[::2] - latitude[1::2])]).T / step
        stretch = _stretch(jacobian)
    known = np.isfinite(stretch).all(axis=(1, 2), keepdims=True)
    return np.where(known, stretch, plain)


def _stretch(jacobian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return √(J Jᵀ), the symmetric part of the polar decomposition, of (n, 2, 2) J, [map axis, ground axis]."""
    metric = jacobian @ jacobian.swapaxes(1, 2)
    determinant = np.sqrt(np.linalg.det(metric))[:, None, None]
    trace = np.trace(metric, axis1=1, axis2=2)[:, None, None]
    return np.asarray((metric + determinant * np.eye(2)) / np.sqrt(trace + 2 * determinant))


@lru_cache(maxsize=8)
def _find_projection(
    wkt: str,
) -> tuple[pyproj.Transformer, float, tuple[float, float]] | None:
    """Return a projected CRS's inverse, the radians of a unit of its result, and the axes of the ellipsoid."""
    crs = _horizontal(wkt)
    base = crs.geodetic_crs
    if not crs.is_projected or base is None:
        return None
    inverse = pyproj.Transformer.from_crs(crs, base, always_xy=True)
    return inverse, base.axis_info[0].unit_conversion_factor, _axes(wkt)


def _horizontal(wkt: str) -> pyproj.CRS:
    """Return a CRS without a vertical part and a transformation to WGS 84."""
    crs = pyproj.CRS.from_wkt(wkt)
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    return crs.source_crs if crs.is_bound and crs.source_crs is not None else crs


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
    """Return the conversion of a geographic CRS or of a Mercator projection; None for another CRS."""
    if crs is not None and crs.is_geographic:
        _, size = _unit(crs)
        return _Graticule(size, lambda y: y * size, _axes(crs.to_wkt()))
    return None if crs is None else _find_mercator(crs.to_wkt())


@lru_cache(maxsize=8)
def _find_mercator(wkt: str) -> _Graticule | None:
    crs = CRS.from_wkt(wkt)
    projection = _find_projection(wkt) if is_mercator(crs) else None
    if projection is None:
        return None
    inverse, radians, axes = projection

    def to_latitude(y: NDArray[np.float64]) -> NDArray[np.float64]:
        _, latitude = inverse.transform(np.zeros_like(y), y)
        return np.where(np.isfinite(latitude), np.asarray(latitude) * radians, np.nan)

    step = _BASELINE_M / _unit_metres(crs)
    longitude, _ = inverse.transform([0.0, step], [0.0, 0.0])
    return _Graticule((longitude[1] - longitude[0]) * radians / step, to_latitude, axes)


def _unit_metres(crs: CRS | None, unit_m: float | None = None) -> float:
    """Return the metres of a unit of the CRS, NaN if it is not a length; `unit_m` without a CRS."""
    if crs is None:
        return np.nan if unit_m is None else unit_m
    unit, size = _unit(crs)
    return np.nan if unit in _NOT_LENGTHS else size


def _unit(crs: CRS) -> tuple[str, float]:
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
