"""The ground of a map: its coordinates in whole numbers, and what they are in metres and degrees."""

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

from geoseg.ground import pixel_size_m
from geoseg.report.packing import Frame

Bounds = tuple[float, float, float, float]

_STEPS = 8  # to a pixel of the scene
_ACROSS = 2**19  # steps, where there is no scene
_MOST = 2**30
_NODES = 33  # of the grid of degrees, each way


@dataclass(frozen=True, slots=True)
class Ground:
    """What a map shows."""

    frame: Frame
    bounds: Bounds
    """Left, bottom, right, top of everything, in `crs`."""

    home: Bounds
    """What is shown first."""

    pixel: float | None
    """Side of a pixel of the scene, in steps of the frame."""

    crs: CRS | None

    def coarser(self, times: float) -> Ground:
        """The same in steps that are so many times as long."""
        frame = self.frame
        frame = replace(frame, step_x=times * frame.step_x, step_y=times * frame.step_y)
        return replace(self, frame=frame, pixel=self.pixel and self.pixel / times)

    def to_json(self) -> dict[str, Any]:
        """Sizes and places in steps of the frame."""
        left, bottom, right, top = self.home
        corners = self.frame.place(np.array([[left, top], [right, bottom]]))
        width, height = self.frame.place(np.array([[self.bounds[2], self.bounds[1]]]))[0].tolist()
        frame = self.frame
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
            "crs": crs_name(self.crs),
            "degrees": self._degrees(),
            "geographic": bool(self.crs and self.crs.is_geographic),
        }

    def _degrees(self) -> dict[str, Any] | None:
        """Longitude and latitude at the nodes of a grid over everything, row by row from the top."""
        left, bottom, right, top = self.bounds
        x, y = np.meshgrid(np.linspace(left, right, _NODES), np.linspace(top, bottom, _NODES))
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
        return {"nodes": _NODES, "lon": lon, "lat": lat}


def ground_of(bounds: Bounds, home: Bounds, *, crs: CRS | None, pixel: float | None) -> Ground:
    """The ground for everything in `bounds`; `pixel` is the side of one of the scene, in map units."""
    left, bottom, right, top = bounds
    extent = max(right - left, top - bottom) or 1.0
    step = max(pixel / _STEPS if pixel else extent / _ACROSS, extent / _MOST)
    middle = (top + bottom) / 2
    narrow = cos(radians(middle)) if crs and crs.is_geographic and abs(middle) < 89 else 1.0
    frame = Frame(left, top, step / narrow, step)
    return Ground(frame, bounds, home, pixel / step if pixel else None, crs)


def crs_name(crs: CRS | None) -> str | None:
    """As people know it: its name, and its EPSG code if it has one."""
    if crs is None:
        return None
    known = pyproj.CRS.from_wkt(crs.to_wkt())
    code = known.to_epsg()
    return f"{known.name} (EPSG:{code})" if code else known.name


def union(*boxes: Bounds) -> Bounds:
    """The box around boxes."""
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)


def box_of(bounds: NDArray[np.float64]) -> Bounds:
    """The box around (n, 4) boxes."""
    left, bottom = bounds[:, :2].min(axis=0).tolist()
    right, top = bounds[:, 2:].max(axis=0).tolist()
    return left, bottom, right, top
