"""HTML map: polygons over their scene, with classes and attributes, in one file of limited size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import ConfigError
from geoseg.report.features import Features
from geoseg.report.map_extent import MapExtent
from geoseg.report.packing import (
    PackedOutlines,
    column_size,
    encode_base64,
    pack_column,
    pack_outlines,
)
from geoseg.report.page import escape_text, read_asset, render_page
from geoseg.report.quicklook import Quicklook

_QUALITY = 82  # of WebP, 0 to 100
_GEOSEG_COLUMNS = (
    "fid",
    "confidence",
    "confidence_min",
    "pixels",
    "area_m2",
    "perimeter_m",
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
