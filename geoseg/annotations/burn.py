"""Annotations of a scene, and burning them into labels.

Annotations stay vectors in pixels of their scene until a window is read, so that the labels of a window are exact
at any offset, scale and rotation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.legend import BACKGROUND, IGNORE
from geoseg.options import Difficult

QUADS, OUTLINES = "quads", "outlines"
"""Names of the annotation layers of a dataset: quads, as in DOTA's label files, and outlines."""

# with the origin at (0, 0), GDAL warns of a missing georeference
_OFFSET = Affine.translation(1, 1)


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotated objects of one scene."""

    geometry: NDArray[np.object_]
    """(n,) shapely polygons or multipolygons in pixels of the scene: x right, y down, (0, 0) is the outer corner of
    the first pixel."""

    class_id: NDArray[np.uint8]
    """(n,) class IDs; IGNORE where the class is unknown."""

    difficult: NDArray[np.bool_]
    """(n,) True where the annotator marked the object as difficult to recognise."""

    area: shapely.Geometry | None = None
    """Annotated area in pixels of the scene: labels are IGNORE outside of it; None: the whole scene is annotated."""

    def __len__(self) -> int:
        return len(self.class_id)

    def __getitem__(self, index: Any) -> Annotations:
        return replace(
            self,
            geometry=self.geometry[index],
            class_id=self.class_id[index],
            difficult=self.difficult[index],
        )

    @staticmethod
    def empty() -> Annotations:
        """Return annotations without objects."""
        return Annotations(np.empty(0, object), np.empty(0, np.uint8), np.empty(0, bool))


class AnnotationIndex:
    """Spatial index of the annotations of a scene."""

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations
        self._tree = shapely.STRtree(annotations.geometry)

    def query(self, area: shapely.Geometry) -> Annotations:
        """Return the annotations that intersect `area` (pixels of the scene), in their original order."""
        return self.annotations[np.sort(self._tree.query(area, predicate="intersects"))]

    def query_window(self, window: Window) -> Annotations:
        """Return the annotations that intersect `window`, still in pixels of the scene."""
        left, top = window.col_off, window.row_off
        return self.query(shapely.box(left, top, left + window.width, top + window.height))


def burn(
    annotations: Annotations,
    height: int,
    width: int,
    *,
    transform: Affine | None = None,
    difficult: Difficult = "keep",
) -> NDArray[np.uint8]:
    """Burn annotations into labels.

    Parameters
    ----------
    annotations
        Objects in pixels of their scene.
    height, width
        Shape of the labels.
    transform
        Transform from pixels of the scene to pixels of the labels; by default the identity.
    difficult
        Treatment of difficult objects: burn them, burn IGNORE, or drop them.

    Returns
    -------
    (height, width) array of uint8
        Class IDs; 0 is background, IGNORE is outside of the annotated area.

    Notes
    -----
    A pixel gets the class of the polygon that contains its centre, by GDAL's rule. Larger objects are burned first,
    so that small ones lie on top. Where an outline passes exactly through a pixel's centre, rounding decides, which may
    differ between windows of a scene.

    Examples
    --------
    >>> import numpy as np, shapely
    >>> square = np.array([shapely.box(1, 0, 3, 2)], object)
    >>> burn(Annotations(square, np.array([5], np.uint8), np.array([False])), 2, 4)
    array([[0, 5, 5, 0],
           [0, 5, 5, 0]], dtype=uint8)
    """
    labels = np.full((height, width), BACKGROUND, np.uint8)
    if difficult == "drop":
        annotations = annotations[~annotations.difficult]
    values = annotations.class_id
    if difficult == "ignore":
        values = np.where(annotations.difficult, np.uint8(IGNORE), values)
    _burn_values(annotations, values, labels, transform)
    if annotations.area is not None:
        labels[~burn_area(annotations.area, height, width, transform=transform)] = IGNORE
    return labels


def burn_area(
    area: shapely.Geometry, height: int, width: int, *, transform: Affine | None = None
) -> NDArray[np.bool_]:
    """Burn an area: (height, width), True for pixels whose centre lies in it.

    `transform` converts pixels of the scene to those of the result; by default the identity.
    """
    inside = np.zeros((height, width), np.uint8)
    whole = np.array([area], object)
    one = Annotations(whole, np.ones(1, np.uint8), np.zeros(1, np.bool_))
    _burn_values(one, one.class_id, inside, transform)
    return inside.view(np.bool_)


def burn_ids(
    annotations: Annotations, height: int, width: int, *, transform: Affine | None = None
) -> NDArray[np.int32]:
    """Burn the IDs of objects, by the rules of `burn`.

    Parameters
    ----------
    annotations
        Objects in pixels of their scene.
    height, width
        Shape of the IDs.
    transform
        Transform from pixels of the scene to pixels of the IDs; by default the identity.

    Returns
    -------
    (height, width) array of int32
        1 + index of the object in `annotations`; 0 outside of objects.
    """
    ids = np.zeros((height, width), np.int32)
    _burn_values(annotations, np.arange(1, len(annotations) + 1), ids, transform)
    return ids


def _burn_values(
    annotations: Annotations,
    values: NDArray[np.integer],
    out: NDArray[np.integer],
    transform: Affine | None,
) -> None:
    """Burn a value for each object into `out`."""
    if not len(annotations):
        return
    height, width = out.shape
    geometry = transform_geometry(annotations.geometry, _OFFSET @ (transform or Affine.identity()))
    # GDAL visits every vertex: clip to the output first
    geometry = shapely.clip_by_rect(geometry, 0, 0, width + 2, height + 2)
    order = np.argsort(-shapely.area(annotations.geometry), kind="stable")
    shapes = [(geometry[i], int(values[i])) for i in order if not geometry[i].is_empty]
    if shapes:
        rasterize(shapes, out=out, transform=_OFFSET)


def transform_geometry(geometry: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    """Apply an affine transform to the coordinates of geometries."""
    a, b, c, d, e, f = transform[:6]
    matrix, shift = np.array([[a, b], [d, e]]), np.array([c, f])
    transformed: NDArray[np.object_] = shapely.transform(geometry, lambda xy: xy @ matrix.T + shift)
    return transformed


def shift_annotations(annotations: Annotations, x: float, y: float) -> Annotations:
    """Return annotations moved by `x` columns and `y` rows, with their area."""
    shift = Affine.translation(x, y)
    area = annotations.area
    return replace(
        annotations,
        geometry=transform_geometry(annotations.geometry, shift),
        area=area and transform_geometry(np.array([area], object), shift)[0],
    )
