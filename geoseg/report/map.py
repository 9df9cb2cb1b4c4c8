"""Areas and lengths on the ground of polygons that come without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, radians
from typing import Any

import cv2
import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from geoseg.errors import ConfigError
from geoseg.polygons.attributes import area_m2, perimeter_m
from geoseg.polygons.trace import Traced
from geoseg.raster.georeference import pixel_size_m
from geoseg.report.backdrop import Backdrop
from geoseg.report.features import Features
from geoseg.report.packing import Frame, Outlines, encoded, packed_column, packed_outlines, size_of
from geoseg.report.page import page, resource, text

_BATCH = 20_000


def measured(
    geometry: NDArray[np.object_], crs: CRS | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) areas in m² and (n,) lengths of outlines in m, holes included, as `geoseg.polygons` measures
    them; nan where nobody knows the metres.
    """
    area, length = np.zeros((2, len(geometry)))
    for first in range(0, len(geometry), _BATCH):
        parts, owner = shapely.get_parts(geometry[first : first + _BATCH], return_index=True)
        traced = _traced(parts)
        np.add.at(area, owner + first, area_m2(traced, Affine.identity(), crs))
        np.add.at(length, owner + first, perimeter_m(traced, Affine.identity(), crs))
    return area, length


def _traced(polygons: NDArray[np.object_]) -> Traced:
    """Polygons in map coordinates as if they had been traced there."""
    _, xy, (rings, parts) = shapely.to_ragged_array(polygons)
    count = len(polygons)
    return Traced(
        class_id=np.zeros(count, np.uint8),
        pixels=shapely.area(polygons),  # of one square unit each
        confidence_mean=np.zeros(count, np.float32),
        confidence_min=np.zeros(count, np.float32),
        touches_edge=np.zeros(count, bool),
        perimeter_xy=np.zeros((count, 2), np.int64),
        coordinates=xy,
        ring_offsets=np.asarray(rings, np.int64),
        polygon_offsets=np.asarray(parts, np.int64),
    )


# The ground of a map: its coordinates in whole numbers, and what they are in metres and degrees.

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


# A map on a page: polygons over their scene, with their classes and attributes.

_QUALITY = 82  # of the backdrop, of 100
_KNOWN = (
    "fid",
    "confidence",
    "confidence_min",
    "pixels",
    "area_m2",
    "perimeter_m",
    "scene",
    "touches_edge",
)
_CODE = 150_000  # bytes of code and style, and a grid of degrees
_FINE = 4.0  # steps that the smallest tolerance has
_TOLERANCES = (0.0, _FINE, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)  # steps of the frame
_SAMPLE = 5000  # polygons
_SHARE = 0.3  # of a page, that other attributes may take
_PARTS = ("data", "view", "hands", "places", "classes", "details", "panel")
_SCRIPTS = [f"map_{part}.js" for part in _PARTS]


def map_page(
    features: Features,
    ground: Ground,
    backdrop: Backdrop | None,
    *,
    title: str,
    source: str,
    notes: Sequence[str] = (),
    max_bytes: int,
) -> str:
    """The HTML of a map of at most `max_bytes`, or ConfigError where that is too little.

    Polygons lie in the CRS of `ground`, the small ones on top. What makes the page too large is
    simplified or, of other attributes than geoseg's, left out; the page says so.
    """
    order = np.argsort(-shapely.area(features.geometry), kind="stable")
    geometry = features.geometry[order]
    picture = _encoded(backdrop) if backdrop else None
    core, others = _columns(features, order)
    kind = packed_column("kind", features.kind[order])
    rank = None if "fid" in features.columns else packed_column("rank", order)
    fixed = (len(picture) if picture else 0) + _CODE
    fixed += sum(map(size_of, [kind, *([rank] if rank else []), *core]))
    told = [*features.notes, *notes]
    if others and sum(map(size_of, others)) > _SHARE * max_bytes:
        names = ", ".join(column["name"] for column in others)
        told.append(f"Attributes left out, so that the page stays small: {names}.")
        others = []
    fixed += sum(map(size_of, others))
    tolerance = _tolerance(geometry, ground, max_bytes - fixed)
    if tolerance:
        told.append(_simplified(tolerance, ground))
    ground = _coarse(ground, tolerance)
    data = {
        "ground": ground.to_json(),
        "picture": {"href": picture, "place": _place(backdrop, ground)} if backdrop else None,
        "kinds": [{"name": kind.name, "colour": kind.colour} for kind in features.kinds],
        "kind": kind,
        "rank": rank,
        "outlines": _outlines(geometry, ground, tolerance).to_json(),
        "columns": core + others,
        "notes": told,
    }
    body = resource("map.html").format(title=text(title), source=text(source))
    return page(title, body, data=data, styles=["map.css"], scripts=_SCRIPTS)


def _columns(
    features: Features, order: NDArray[np.int64]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Attributes that geoseg writes, and others."""
    told = {n: v for n, v in features.columns.items() if _tells(n, v)}
    core = [packed_column(n, told[n][order]) for n in _KNOWN if n in told]
    rest = [packed_column(n, v[order]) for n, v in told.items() if n not in _KNOWN]
    return core, rest


def _tells(name: str, values: NDArray[Any]) -> bool:
    """False for a column of nothing, and for the one scene, which the page's title names."""
    if values.dtype.kind == "f":
        return not np.isnan(values).all()
    return not (name == "scene" and len(set(values)) == 1)


def _tolerance(geometry: NDArray[np.object_], ground: Ground, room: int) -> float:
    """By how many steps outlines must be simplified, at least, to take `room` bytes.

    Raises ConfigError when nothing is enough.
    """
    sample = geometry[:: -(-len(geometry) // _SAMPLE)]
    larger = len(geometry) / len(sample)
    size = 0
    for tolerance in _TOLERANCES:
        coarse = _coarse(ground, tolerance)
        if len(sample) < len(geometry):  # is it worth trying?
            size = round(larger * _outlines(sample, coarse, tolerance).size)
            if size > 1.1 * room:
                continue
        size = _outlines(geometry, coarse, tolerance).size
        if size <= room:
            return tolerance
    raise ConfigError(
        f"{len(geometry):,} polygons make a page about {(size - room) / 1e6:,.1f} MB larger than "
        "allowed, even simplified. allow more by --max-mb, or show fewer: --layer"
    )


def _outlines(geometry: NDArray[np.object_], ground: Ground, tolerance: float) -> Outlines:
    """In the steps of `_coarse`."""
    return packed_outlines(geometry, ground.frame, tolerance=min(tolerance, _FINE))


def _coarse(ground: Ground, tolerance: float) -> Ground:
    """Steps as long as the tolerance is worth: then their numbers are small, too."""
    return ground.coarser(tolerance / _FINE) if tolerance > _FINE else ground


def _simplified(tolerance: float, ground: Ground) -> str:
    steps = tolerance + 0.75 * max(tolerance / _FINE, 1)  # the latter by whole numbers
    metres = ground.to_json()["metres"]
    if metres:
        far = f"{steps * metres:.2g} m"
    elif ground.pixel:
        far = f"{steps / ground.pixel:.2g} pixels"
    else:
        far = f"{steps * ground.frame.step_y:.2g} units of the map"
    return (
        f"Outlines are simplified, so that the page stays small: no line is farther than {far} "
        "from where it was. Areas and lengths are those of the file."
    )


def _encoded(backdrop: Backdrop) -> str:
    """The backdrop as an image in the page; transparent where the scene has no data."""
    pixels = backdrop.picture[..., ::-1]
    if not backdrop.valid.all():
        pixels = np.dstack([pixels, np.uint8(255) * backdrop.valid])
    quality = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    done, data = cv2.imencode(".webp", np.ascontiguousarray(pixels), quality)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {pixels.shape} as WebP")
    return f"data:image/webp;base64,{encoded(data.tobytes())}"


def _place(backdrop: Backdrop, ground: Ground) -> list[float]:
    """From pixels of the backdrop to steps, as a canvas takes it."""
    frame = ground.frame
    to_steps = Affine.scale(1 / frame.step_x, -1 / frame.step_y) @ Affine.translation(
        -frame.left, -frame.top
    )
    place = to_steps @ ~backdrop.to_picture
    return [place.a, place.d, place.b, place.e, place.c, place.f]
