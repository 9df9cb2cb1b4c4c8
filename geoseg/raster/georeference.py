"""Positions and sizes of pixels on the ground."""

from __future__ import annotations

import re
from math import cos, degrees, hypot, isfinite, radians, sqrt

from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as warp

_GRID_TOLERANCE = 0.05  # pixels; coordinates are rounded when they are stored


def format_crs(crs: CRS | None) -> str:
    """Return a short text for a CRS: its EPSG code, else its name.

    >>> format_crs(CRS.from_epsg(32631))
    'EPSG:32631'
    """
    if crs is None:
        return "no CRS"
    code = crs.to_epsg(confidence_threshold=90)
    if code is not None:
        return f"EPSG:{code}"
    name = re.search(r'^\w+\["([^"]+)"', crs.to_wkt())
    return f"the CRS {name.group(1)}" if name else "a CRS without a name"


def is_undefined(wkt: str) -> bool:
    """Return True for the CRS that GDAL gives to layers without CRS.

    >>> is_undefined('ENGCRS["Undefined Cartesian SRS",EDATUM[""]]')
    True
    """
    return "undefined" in wkt[:40].lower()


def map_transform(transform: Affine) -> Affine:
    """Return the pixel-to-map transform that a GIS displays a raster with.

    A raster without geotransform (the identity) has its upper left corner at the origin and y pointing up, as in QGIS.
    A geotransform without CRS is kept.
    """
    return Affine.scale(1, -1) if transform == Affine.identity() else transform


def on_one_grid(one: Affine, other: Affine, *, width: int, height: int) -> bool:
    """Return True if the pixels of two rasters of this size coincide, to a twentieth of a pixel."""
    across = ~one @ other
    corners = ((0, 0), (width, 0), (0, height))
    moved = (across @ corner for corner in corners)
    return all(
        abs(x - u) <= _GRID_TOLERANCE and abs(y - v) <= _GRID_TOLERANCE
        for (x, y), (u, v) in zip(moved, corners, strict=True)
    )


def pixel_size_m(crs: CRS | None, transform: Affine, width: int, height: int) -> float | None:
    """Compute the ground sampling distance at the centre of a scene.

    Parameters
    ----------
    crs
        CRS of the scene, or None.
    transform
        Pixel-to-CRS transform.
    width, height
        Size of the scene in pixels.

    Returns
    -------
    float or None
        Side in metres of a square with the area of the pixel; None without a CRS, or if it has no metres.

    Notes
    -----
    Projected coordinates are converted by their linear unit. Geographic and Mercator coordinates are scaled by the
    size of a degree, or the cosine of the latitude, at the centre: an EPSG:3857 pixel of 2 m at 60 degrees north
    measures 1 m on the ground.
    """
    metres = _metres_per_unit(crs, transform, width, height)
    return None if metres is None else sqrt(abs(transform.determinant) * metres[0] * metres[1])


def pixel_sides_m(
    crs: CRS | None, transform: Affine, width: int, height: int
) -> tuple[float, float] | None:
    """Compute the sides of the central pixel in metres, along a row and along a column.

    None as for `pixel_size_m`. A pixel of equal degrees is narrower than high, except at the equator.
    """
    metres = _metres_per_unit(crs, transform, width, height)
    if metres is None:
        return None
    east, north = metres
    return (
        hypot(transform.a * east, transform.d * north),
        hypot(transform.b * east, transform.e * north),
    )


def scale_sides(transform: Affine, metres: float) -> tuple[float, float]:
    """Return the sides, along a row and along a column, of a pixel with the area of a square of side `metres`."""
    unit = metres / sqrt(abs(transform.determinant))
    return (
        unit * hypot(transform.a, transform.d),
        unit * hypot(transform.b, transform.e),
    )


def _metres_per_unit(
    crs: CRS | None, transform: Affine, width: int, height: int
) -> tuple[float, float] | None:
    """Return the ground length of one unit of the first and of the second coordinate."""
    if crs is None:
        return None
    x, y = transform @ (width / 2, height / 2)
    try:
        if crs.is_geographic:
            to_degrees = degrees(crs.units_factor[1])
            return _metres_of_degrees(y * to_degrees, to_degrees)
        metres = float(crs.units_factor[1])
        if not is_mercator(crs):
            return metres, metres
        _, (latitude,) = warp(crs, CRS.from_epsg(4326), [x], [y])
        metres *= cos(radians(latitude))
        return (metres, metres) if isfinite(metres) else None
    except (CRSError, CPLE_BaseError):  # a CRS that PROJ cannot interpret
        return None


def _metres_of_degrees(latitude: float, degree: float) -> tuple[float, float] | None:
    """Return the lengths of `degree` degrees to the east and to the north on the WGS 84 ellipsoid."""
    if not -90 < latitude < 90:  # metres under a geographic CRS
        return None
    phi = radians(latitude)
    east = 111412.84 * cos(phi) - 93.5 * cos(3 * phi) + 0.118 * cos(5 * phi)
    north = 111132.954 - 559.822 * cos(2 * phi) + 1.175 * cos(4 * phi)
    return east * degree, north * degree


def metres_per_unit(transform: Affine, pixel_size_m: float | None) -> float | None:
    """Return the metres of a unit of a map without a CRS, whose pixels have the area of a square of this side."""
    return None if pixel_size_m is None else pixel_size_m / sqrt(abs(transform.determinant))


def is_mercator(crs: CRS) -> bool:
    """Return True for a Mercator projection of normal aspect, whose meridians and parallels are straight."""
    conversion = crs.to_dict(projjson=True).get("conversion") or {}
    method: str = conversion.get("method", {}).get("name", "")
    return "Mercator" in method and "Transverse" not in method and "Oblique" not in method
