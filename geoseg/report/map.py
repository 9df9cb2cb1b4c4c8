"""HTML map: polygons over their scene, with classes and attributes, in one file of limited size."""

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
from geoseg.raster.georeference import pixel_size_m
from geoseg.report.features import Features
from geoseg.report.packing import (
    Frame,
    PackedOutlines,
    column_size,
    encode_base64,
    pack_column,
    pack_outlines,
)
from geoseg.report.page import escape_text, read_asset, render_page
from geoseg.report.quicklook import Quicklook

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top in map coordinates."""

_STEPS_PER_PIXEL = 8
_STEPS_ACROSS = 2**19  # of a map without a scene
_MAX_STEPS = 2**30
_GRID_NODES = 33  # of the grid of degrees, in both directions

_QUALITY = 82  # of WebP, 0 to 100
_GEOSEG_COLUMNS = (
    "id",
    "fid",
    "confidence",
    "confidence_min",
    "uncertainty",
    "pixels",
    "area_m2",
    "perimeter_m",
    "box_length_m",
    "box_width_m",
    "box_angle",
    "scene",
    "touches_edge",
)
_OVERHEAD = 150_000  # bytes of scripts, styles and the grid of degrees
_FINE = 4.0  # steps of the smallest tolerance
_TOLERANCES = (0.0, _FINE, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)  # steps of the frame
_SAMPLE = 5000  # polygons
_MAX_SHARE = 0.3  # of the page for attributes that geoseg does not write
_PARTS = ("data", "view", "input", "places", "classes", "details", "panel")
_SCRIPTS = [f"map_{part}.js" for part in _PARTS]


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


def render_map(
    features: Features,
    extent: MapExtent,
    quicklook: Quicklook | None,
    *,
    title: str,
    source: str,
    notes: Sequence[str] = (),
    max_bytes: int,
) -> str:
    """Render the HTML of a map.

    Parameters
    ----------
    features
        Polygons in the CRS of `extent`; small ones are drawn on top.
    extent
        Extent and coordinates of the map.
    quicklook
        Background image; None: no background.
    title, source
        Title of the page, and the names of the files shown.
    notes
        Sentences to show in addition to those of the features.
    max_bytes
        Largest size of the page. If needed, attributes that geoseg does not write are left out, and outlines
        are simplified; the page has a note on both.

    Raises
    ------
    ConfigError
        If the page is too large even with the strongest simplification.
    """
    order = np.argsort(-shapely.area(features.geometry), kind="stable")
    geometry = features.geometry[order]
    image = _encode_image(quicklook) if quicklook else None
    class_index = pack_column("kind", features.class_index[order])
    rank = None if "fid" in features.columns else pack_column("rank", order)
    fixed = (len(image) if image else 0) + _OVERHEAD
    fixed += sum(map(column_size, [class_index, *([rank] if rank else [])]))
    columns, left_out = _pack_columns(features, order, max_bytes)
    fixed += sum(map(column_size, columns))
    tolerance = _choose_tolerance(geometry, extent, max_bytes - fixed)
    simplified = [_simplification_note(tolerance, extent)] if tolerance else []
    extent = _coarsen(extent, tolerance)
    data = {
        "ground": extent.to_json(),
        "picture": {"href": image, "place": _image_transform(quicklook, extent)}
        if quicklook
        else None,
        "kinds": [{"name": of.name, "colour": of.colour} for of in features.classes],
        "kind": class_index,
        "rank": rank,
        "outlines": _pack_geometry(geometry, extent, tolerance).to_json(),
        "columns": columns,
        "notes": [*features.notes, *notes, *left_out, *simplified],
    }
    body = read_asset("map.html").format(title=escape_text(title), source=escape_text(source))
    return render_page(title, body, data=data, styles=["map.css"], scripts=_SCRIPTS)


def _pack_columns(
    features: Features, order: NDArray[np.int64], max_bytes: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Pack attributes, those of geoseg first; return a note if the others are too large for the page."""
    informative = {n: v for n, v in features.columns.items() if _is_informative(n, v)}
    known = [pack_column(n, informative[n][order]) for n in _GEOSEG_COLUMNS if n in informative]
    others = [
        pack_column(n, values[order])
        for n, values in informative.items()
        if n not in _GEOSEG_COLUMNS
    ]
    if others and sum(map(column_size, others)) > _MAX_SHARE * max_bytes:
        names = ", ".join(column["name"] for column in others)
        return known, [f"Attributes left out to limit the size of the page: {names}."]
    return known + others, []


def _is_informative(name: str, values: NDArray[Any]) -> bool:
    """False for an empty column, and for a single scene, which the title of the page names."""
    if values.dtype.kind == "f":
        return not np.isnan(values).all()
    return not (name == "scene" and len(set(values)) == 1)


def _choose_tolerance(geometry: NDArray[np.object_], extent: MapExtent, room: int) -> float:
    """Return the smallest simplification, in steps, with which the outlines take at most `room` bytes."""
    sample = geometry[:: -(-len(geometry) // _SAMPLE)]
    ratio = len(geometry) / len(sample)
    size = 0
    for tolerance in _TOLERANCES:
        coarse = _coarsen(extent, tolerance)
        if len(sample) < len(geometry):  # estimate first
            size = round(ratio * _pack_geometry(sample, coarse, tolerance).size)
            if size > 1.1 * room:
                continue
        size = _pack_geometry(geometry, coarse, tolerance).size
        if size <= room:
            return tolerance
    raise ConfigError(
        f"{len(geometry):,} polygons make a page about {(size - room) / 1e6:,.1f} MB larger than "
        "allowed, even simplified. Raise --max-mb, or select fewer polygons with --layer"
    )


def _pack_geometry(
    geometry: NDArray[np.object_], extent: MapExtent, tolerance: float
) -> PackedOutlines:
    """Pack outlines in the steps of `_coarsen`."""
    return pack_outlines(geometry, extent.frame, tolerance=min(tolerance, _FINE))


def _coarsen(extent: MapExtent, tolerance: float) -> MapExtent:
    """Lengthen the steps with the tolerance, which keeps the numbers small."""
    return extent.coarsen(tolerance / _FINE) if tolerance > _FINE else extent


def _simplification_note(tolerance: float, extent: MapExtent) -> str:
    steps = tolerance + 0.75 * max(tolerance / _FINE, 1)  # the second term is rounding to steps
    metres = extent.to_json()["metres"]
    if metres:
        distance = f"{steps * metres:.2g} m"
    elif extent.pixel:
        distance = f"{steps / extent.pixel:.2g} pixels"
    else:
        distance = f"{steps * extent.frame.step_y:.2g} map units"
    return (
        f"Outlines are simplified by at most {distance} to limit the size of the page. "
        "Areas and perimeters are those of the original polygons."
    )


def _encode_image(quicklook: Quicklook) -> str:
    """Encode a quicklook as a WebP data URI; nodata is transparent."""
    pixels = quicklook.picture[..., ::-1]
    if not quicklook.valid.all():
        pixels = np.dstack([pixels, np.uint8(255) * quicklook.valid])
    quality = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    ok, data = cv2.imencode(".webp", np.ascontiguousarray(pixels), quality)
    if not ok:
        raise RuntimeError(f"OpenCV could not encode {pixels.shape} as WebP")
    return f"data:image/webp;base64,{encode_base64(data.tobytes())}"


def _image_transform(quicklook: Quicklook, extent: MapExtent) -> list[float]:
    """Return the transform from pixels of the quicklook to steps, in the order of a canvas."""
    frame = extent.frame
    to_steps = Affine.scale(1 / frame.step_x, -1 / frame.step_y) @ Affine.translation(
        -frame.left, -frame.top
    )
    transform = to_steps @ ~quicklook.to_picture
    return [transform.a, transform.d, transform.b, transform.e, transform.c, transform.f]
