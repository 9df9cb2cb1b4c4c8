"""Extent and coordinates of the HTML map: integer steps, metres, and degrees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, radians
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from geoseg.raster.georeference import pixel_size_m
from geoseg.report.packing import Frame

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top in map coordinates."""

_STEPS_PER_PIXEL = 8
_STEPS_ACROSS = 2**19  # of a map without a scene
_MAX_STEPS = 2**30
_GRID_NODES = 33  # of the grid of degrees, in both directions


@dataclass(frozen=True, slots=True)
class MapExtent:
    """Area that a map covers, and its coordinates."""

    frame: Frame
    """Integer coordinates of the page."""

    bounds: Bounds
    """Bounds of scene and polygons, in `crs`."""

    home: Bounds
    """Initial view, in `crs`."""

    pixel: float | None
    """Size of a pixel of the scene in steps of the frame; None without a scene."""

    crs: CRS | None
    """None if unknown."""

    def coarsen(self, factor: float) -> MapExtent:
        """Return the extent in steps that are longer by `factor`."""
        frame = self.frame
        frame = replace(frame, step_x=factor * frame.step_x, step_y=factor * frame.step_y)
        return replace(self, frame=frame, pixel=self.pixel and self.pixel / factor)

    def to_json(self) -> dict[str, Any]:
        """Return sizes and places in steps of the frame, for the scripts of the page."""
        left, bottom, right, top = self.home
        frame = self.frame
        corners = frame.quantize(np.array([[left, top], [right, bottom]]))
        width, height = frame.quantize(np.array([[self.bounds[2], self.bounds[1]]]))[0].tolist()
        step = Affine(frame.step_x, 0, frame.left, 0, -frame.step_y, frame.top)
        return {
            "left": frame.left,
            "top": frame.top,
            "stepX": frame.step_x,
            "stepY": frame.step_y,
            "width": width,
            "height": height,
            "home": corners.ravel().tolist(),
            "pixel": self.pixel,
            "metres": pixel_size_m(self.crs, step, width, height),
            "pixels": self.crs is None and self.pixel is not None and (left, top) == (0, 0),
            "crs": format_crs(self.crs),
            "degrees": self._degrees(),
            "geographic": bool(self.crs and self.crs.is_geographic),
        }

    def _degrees(self) -> dict[str, Any] | None:
        """Return longitude and latitude at the nodes of a grid, row by row from the top; None if unknown."""
        left, bottom, right, top = self.bounds
        x, y = np.meshgrid(
            np.linspace(left, right, _GRID_NODES), np.linspace(top, bottom, _GRID_NODES)
        )
        if self.crs is None:
            return None
        try:
            to_degrees = pyproj.Transformer.from_crs(self.crs.to_wkt(), 4326, always_xy=True)
            lonlat = np.array(to_degrees.transform(x.ravel(), y.ravel()))
        except ProjError:
            return None
        if not np.isfinite(lonlat).all():
            return None
        lon, lat = lonlat.round(8).tolist()
        return {"nodes": _GRID_NODES, "lon": lon, "lat": lat}


def make_extent(bounds: Bounds, home: Bounds, *, crs: CRS | None, pixel: float | None) -> MapExtent:
    """Choose integer coordinates for a map.

    Parameters
    ----------
    bounds
        Bounds of scene and polygons.
    home
        Initial view.
    crs
        CRS of both. Geographic coordinates are scaled so that shapes are undistorted at the middle latitude.
    pixel
        Size of a pixel of the scene in map units; None without a scene.
    """
    left, bottom, right, top = bounds
    size = max(right - left, top - bottom) or 1.0
    step = max(pixel / _STEPS_PER_PIXEL if pixel else size / _STEPS_ACROSS, size / _MAX_STEPS)
    middle = (top + bottom) / 2
    aspect = cos(radians(middle)) if crs and crs.is_geographic and abs(middle) < 89 else 1.0
    frame = Frame(left, top, step / aspect, step)
    return MapExtent(frame, bounds, home, pixel / step if pixel else None, crs)


def format_crs(crs: CRS | None) -> str | None:
    """Return the name of a CRS, with its EPSG code if it has one."""
    if crs is None:
        return None
    known = pyproj.CRS.from_wkt(crs.to_wkt())
    code = known.to_epsg()
    return f"{known.name} (EPSG:{code})" if code else known.name


def merge_bounds(*boxes: Bounds) -> Bounds:
    """Return the bounds of several boxes."""
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)


def total_bounds(bounds: NDArray[np.float64]) -> Bounds:
    """Return the bounds of (n, 4) boxes."""
    left, bottom = bounds[:, :2].min(axis=0).tolist()
    right, top = bounds[:, 2:].max(axis=0).tolist()
    return left, bottom, right, top
