"""What a window shows of the objects of its scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations import Annotations, Index, burn
from geoseg.dataset import DIGITS, transformed
from geoseg.legend import IGNORE
from geoseg.tile.windows import Tiling

_SLIVER = 0.01  # square pixels: less than this of a cut object is nothing


@dataclass(frozen=True, slots=True)
class Visible:
    """The objects in a window, in its pixels."""

    whole: Annotations
    """As annotated, also where they reach out of the window."""

    part: NDArray[np.object_]
    """(n,) what the window shows of each: polygons and multipolygons"""

    hidden: int
    """Objects left out because the window shows too little of them."""

    unknown: int
    """Areas of which nobody knows what is there; they are no objects."""

    def __len__(self) -> int:
        return len(self.whole)


def visible(index: Index, window: Window, tiling: Tiling) -> Visible:
    """The objects of a scene that `window`, which lies within it, shows.

    What lies wholly inside keeps its coordinates to 1e-6 of a pixel.
    """
    objects = index.window(window)
    if tiling.difficult == "drop":
        objects = objects[~objects.difficult]
    part = _clipped(objects.geometry, window)
    area = shapely.area(part)
    seen = area > 0
    objects, part, area = objects[seen], part[seen], area[seen]
    known = objects.class_id != IGNORE
    unknown = int((~known).sum())
    objects, part, area = objects[known], part[known], area[known]
    hardly = _hardly(objects, area, tiling)
    hidden = 0
    if tiling.hardly_visible == "difficult":
        objects = Annotations(objects.geometry, objects.class_id, objects.difficult | hardly)
    else:
        hidden = int(hardly.sum())
        objects, part = objects[~hardly], part[~hardly]
    to_window = Affine.translation(-window.col_off, -window.row_off)
    whole, part = (_rounded(transformed(of, to_window)) for of in (objects.geometry, part))
    return Visible(Annotations(whole, objects.class_id, objects.difficult), part, hidden, unknown)


def labels_of(
    index: Index, window: Window, valid: NDArray[np.bool_], tiling: Tiling
) -> NDArray[np.uint8]:
    """(h, w) class ids of a window, as those of the whole scene are there.

    IGNORE where `valid` is not, where `tiling` says so of difficult objects, and where there is an object of
    which the window shows too little: to call that background would be untrue.
    """
    objects = index.window(window)
    if tiling.difficult == "drop":
        objects = objects[~objects.difficult]
    ignored = objects.difficult & (tiling.difficult == "ignore")
    if tiling.min_visible:
        ignored |= _hardly(objects, shapely.area(_clipped(objects.geometry, window)), tiling)
    labels = burn(
        Annotations(objects.geometry, objects.class_id, ignored),
        *valid.shape,
        transform=Affine.translation(-window.col_off, -window.row_off),
        difficult="ignore",
    )
    labels[~valid] = IGNORE
    return labels


def _hardly(objects: Annotations, area: NDArray[np.float64], tiling: Tiling) -> NDArray[np.bool_]:
    """True where `area`, the visible one, is too little of an object."""
    hardly: NDArray[np.bool_] = area < tiling.min_visible * shapely.area(objects.geometry)
    return hardly


def _clipped(geometry: NDArray[np.object_], window: Window) -> NDArray[np.object_]:
    left, top = window.col_off, window.row_off
    box = shapely.box(left, top, left + window.width, top + window.height)
    shapely.prepare(box)
    part = geometry.copy()
    cut = ~shapely.covers(box, geometry)
    part[cut] = [_surface(g) for g in shapely.intersection(_valid(geometry[cut]), box)]
    return part


def _valid(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Polygons that GEOS can cut."""
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(geometry[invalid], method="structure")
    return geometry


def _surface(geometry: shapely.Geometry) -> shapely.Geometry:
    """A geometry without the lines, points and slivers that a clip leaves where a side only touches."""
    parts = shapely.get_parts(geometry).tolist()
    parts = [p for p in parts if p.geom_type == "Polygon" and p.area > _SLIVER]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _rounded(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    rounded: NDArray[np.object_] = shapely.transform(geometry, lambda xy: xy.round(DIGITS))
    return rounded
