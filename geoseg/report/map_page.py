"""A map on a page: polygons over their scene, with their classes and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import ConfigError
from geoseg.report.backdrop import Backdrop
from geoseg.report.columns import encoded, packed_column, size_of
from geoseg.report.features import Features
from geoseg.report.map_frame import Ground
from geoseg.report.packing import Outlines, packed_outlines
from geoseg.report.page import page, resource, text

_QUALITY = 82  # of the backdrop, of 100
_TOLERANCES = (0.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)  # steps of the frame
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
_SHARE = 0.3  # of a page, that other attributes may take
_STYLES, _SCRIPTS = (
    ("map.css",),
    (
        "map_data.js",
        "map_view.js",
        "map_hands.js",
        "map_places.js",
        "map_classes.js",
        "map_details.js",
        "map_panel.js",
    ),
)


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
    picture = _picture(backdrop, ground) if backdrop else None
    core, others = _columns(features, order)
    fixed = len(picture["href"]) if picture else 0
    fixed += sum(map(size_of, core)) + 150_000  # code, style, a grid of degrees
    told = [*features.notes, *notes]
    if others and sum(map(size_of, others)) > _SHARE * max_bytes:
        names = ", ".join(column["name"] for column in others)
        told.append(f"Attributes left out, so that the page stays small: {names}.")
        others = []
    fixed += sum(map(size_of, others))
    outlines, note = _fitted(features.geometry[order], ground, max_bytes - fixed)
    data = {
        "title": title,
        "ground": ground.to_json(),
        "picture": picture,
        "kinds": [{"name": kind.name, "colour": kind.colour} for kind in features.kinds],
        "kind": packed_column("kind", features.kind[order]),
        "rank": packed_column("rank", order),
        "outlines": outlines.to_json(),
        "columns": core + others,
        "notes": told + note,
    }
    body = resource("map.html").format(title=text(title), source=text(source))
    return page(title, body, data=data, styles=_STYLES, scripts=_SCRIPTS)


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


def _fitted(geometry: NDArray[np.object_], ground: Ground, room: int) -> tuple[Outlines, list[str]]:
    """Outlines in at most `room` bytes, as little simplified as that takes, and what to say of it."""
    for tolerance in _TOLERANCES:
        outlines = packed_outlines(geometry, ground.frame, tolerance=tolerance)
        if outlines.size <= room:
            return outlines, [_simplified(tolerance, ground)] if tolerance else []
    needed = (outlines.size - room) / 1e6
    raise ConfigError(
        f"{len(geometry):,} polygons make a page {needed:,.1f} MB larger than allowed, even "
        "simplified. allow more by --max-mb, or show fewer: --layer"
    )


def _simplified(tolerance: float, ground: Ground) -> str:
    metres = ground.to_json()["metres"]
    if metres:
        far = f"{tolerance * metres:.2g} m"
    elif ground.pixel:
        far = f"{tolerance / ground.pixel:.2g} pixels"
    else:
        far = f"{tolerance * ground.frame.step_y:.2g} units of the map"
    return (
        f"Outlines are simplified, so that the page stays small: no line is farther than {far} "
        "from where it was. Areas and lengths are those of the file."
    )


def _picture(backdrop: Backdrop, ground: Ground) -> dict[str, Any]:
    """The backdrop as an image in the page; transparent where the scene has no data."""
    pixels = backdrop.picture[..., ::-1]
    if not backdrop.valid.all():
        pixels = np.dstack([pixels, np.uint8(255) * backdrop.valid])
    done, data = cv2.imencode(
        ".webp", np.ascontiguousarray(pixels), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    )
    if not done:
        raise RuntimeError(f"OpenCV could not encode {pixels.shape} as WebP")
    frame = ground.frame
    to_steps = Affine.scale(1 / frame.step_x, -1 / frame.step_y) @ Affine.translation(
        -frame.left, -frame.top
    )
    place = to_steps @ ~backdrop.to_picture
    return {
        "href": f"data:image/webp;base64,{encoded(data.tobytes())}",
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "place": [place.a, place.d, place.b, place.e, place.c, place.f],  # as a canvas takes it
    }
