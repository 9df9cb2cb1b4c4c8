"""How large a pixel is on the ground."""

from __future__ import annotations

from math import cos, degrees, hypot, isfinite, radians, sqrt

from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as warp

_OFF = 0.05  # pixels


def map_transform(transform: Affine) -> Affine:
    """From pixels to where a GIS shows them: `transform`, or for a raster that has none (the identity) what
    QGIS does with it: units are pixels, y goes up, and the picture hangs below the x axis.
    """
    return Affine.scale(1, -1) if transform == Affine.identity() else transform


def on_one_grid(one: Affine, other: Affine, *, width: int, height: int) -> bool:
    """True where the pixels of two rasters of this size lie upon each other, to a twentieth of a pixel:
    coordinates are rounded when they are stored.
    """
    across = ~one @ other
    corners = ((0, 0), (width, 0), (0, height))
    moved = (across @ corner for corner in corners)
    return all(
        abs(x - u) <= _OFF and abs(y - v) <= _OFF
        for (x, y), (u, v) in zip(moved, corners, strict=True)
    )


def pixel_size_m(crs: CRS | None, transform: Affine, width: int, height: int) -> float | None:
    """Side, in metres on the ground, of a square as large as the pixel at the scene's centre;
    None without a CRS.

    Projected coordinates are taken by their unit. Degrees and Mercator metres are none on the
    ground: for them the size at the centre's latitude counts (an EPSG:3857 pixel of 2 m is one of
    1 m at 60 degrees north).
    """
    metres = _metres(crs, transform, width, height)
    return None if metres is None else sqrt(abs(transform.determinant) * metres[0] * metres[1])


def pixel_sides_m(
    crs: CRS | None, transform: Affine, width: int, height: int
) -> tuple[float, float] | None:
    """Sides along a row and along a column, in metres on the ground, of the pixel at the scene's
    centre; None without a CRS. A pixel of equal degrees is narrower than high, except at the
    equator.
    """
    metres = _metres(crs, transform, width, height)
    if metres is None:
        return None
    east, north = metres
    return (
        hypot(transform.a * east, transform.d * north),
        hypot(transform.b * east, transform.e * north),
    )


def _metres(
    crs: CRS | None, transform: Affine, width: int, height: int
) -> tuple[float, float] | None:
    """Metres on the ground that one unit of the first and of the second coordinate is long."""
    if crs is None:
        return None
    x, y = transform @ (width / 2, height / 2)
    try:
        if crs.is_geographic:
            to_degrees = degrees(crs.units_factor[1])
            return _of_a_degree(y * to_degrees, to_degrees)
        metres = float(crs.units_factor[1])
        if not _is_mercator(crs):
            return metres, metres
        _, (latitude,) = warp(crs, CRS.from_epsg(4326), [x], [y])
        metres *= cos(radians(latitude))
        return (metres, metres) if isfinite(metres) else None
    except (
        CRSError,
        CPLE_BaseError,
    ):  # a CRS that PROJ cannot make sense of has no size on the ground
        return None


def _of_a_degree(latitude: float, degree: float) -> tuple[float, float] | None:
    """Lengths of `degree` degrees to the east and to the north on the WGS 84 ellipsoid."""
    if not -90 < latitude < 90:  # metres under a geographic CRS
        return None
    phi = radians(latitude)
    east = 111412.84 * cos(phi) - 93.5 * cos(3 * phi) + 0.118 * cos(5 * phi)
    north = 111132.954 - 559.822 * cos(2 * phi) + 1.175 * cos(4 * phi)
    return east * degree, north * degree


def _is_mercator(crs: CRS) -> bool:
    conversion = crs.to_dict(projjson=True).get("conversion") or {}
    method: str = conversion.get("method", {}).get("name", "")
    return "Mercator" in method and "Transverse" not in method and "Oblique" not in method
