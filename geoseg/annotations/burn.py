"""Annotations: the input polygons of one scene, and burning them into labels.

They stay vectors (in pixels of their scene) until a window is read, so a window at any offset, scale or
angle gets exact labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.legend import BACKGROUND, IGNORE

QUADS, OUTLINES = "quads", "outlines"
"""Names of the annotation layers of a dataset: DOTA's quads, and true outlines."""

Difficult = Literal["keep", "ignore", "drop"]
"""What becomes of objects marked as difficult: an object like any other, IGNORE pixels, or nothing."""

# GDAL warns of a lost georeference where an array lies at the origin
_AWAY = Affine.translation(1, 1)


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotated objects of one scene."""

    geometry: NDArray[np.object_]
    """(n,) shapely polygons in pixels of the scene: x right, y down, (0, 0) is the outer corner of the first
    pixel."""

    class_id: NDArray[np.uint8]
    """(n,) IGNORE where nobody knows what is there"""

    difficult: NDArray[np.bool_]
    """(n,) True where the annotator marked the object as hard to recognise."""

    def __len__(self) -> int:
        return len(self.class_id)

    def __getitem__(self, index: Any) -> Annotations:
        return Annotations(self.geometry[index], self.class_id[index], self.difficult[index])

    @staticmethod
    def empty() -> Annotations:
        """No objects."""
        return Annotations(np.empty(0, object), np.empty(0, np.uint8), np.empty(0, bool))


class Index:
    """Annotations of a scene that can be asked for those near a window, again and again."""

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations
        self._tree = shapely.STRtree(annotations.geometry)

    def touching(self, area: shapely.Geometry) -> Annotations:
        """Annotations that touch `area` (pixels of the scene), in their original order."""
        return self.annotations[np.sort(self._tree.query(area, predicate="intersects"))]

    def window(self, window: Window) -> Annotations:
        """Annotations that touch `window`, still in pixels of the scene."""
        left, top = window.col_off, window.row_off
        return self.touching(shapely.box(left, top, left + window.width, top + window.height))


def burn(
    annotations: Annotations,
    height: int,
    width: int,
    *,
    transform: Affine | None = None,
    difficult: Difficult = "keep",
) -> NDArray[np.uint8]:
    """Labels of an array of `height` x `width` pixels.

    `transform` leads from pixels of the scene to pixels of the array (default: the same). A pixel takes the
    class of the polygon that holds its centre (GDAL's rule). Larger objects are burned first, so that small
    ones stay on top.
    """
    labels = np.full((height, width), BACKGROUND, np.uint8)
    if difficult == "drop":
        annotations = annotations[~annotations.difficult]
    if not len(annotations):
        return labels
    geometry = annotations.geometry
    transform = _AWAY @ (transform or Affine.identity())
    matrix = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    shift = np.array([transform.c, transform.f])
    geometry = shapely.transform(geometry, lambda xy: xy @ matrix.T + shift)
    # GDAL walks every vertex of what it is given: what lies outside is cut away first
    geometry = shapely.clip_by_rect(geometry, 0, 0, width + 2, height + 2)
    values = annotations.class_id
    if difficult == "ignore":
        values = np.where(annotations.difficult, np.uint8(IGNORE), values)
    order = np.argsort(-shapely.area(annotations.geometry), kind="stable")
    shapes = [(geometry[i], int(values[i])) for i in order if not geometry[i].is_empty]
    if shapes:
        rasterize(shapes, out=labels, transform=_AWAY)
    return labels


def transformed(geometry: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    """Geometries with every coordinate sent through an affine transform."""
    a, b, c, d, e, f = transform[:6]
    matrix, shift = np.array([[a, b], [d, e]]), np.array([c, f])
    moved: NDArray[np.object_] = shapely.transform(geometry, lambda xy: xy @ matrix.T + shift)
    return moved
