"""Training targets of the object outputs, burned per window from vector annotations."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.annotations.burn import Annotations, transform_geometry

COUNTABLE = (
    "plane",
    "ship",
    "storage-tank",
    "tennis-court",
    "basketball-court",
    "large-vehicle",
    "small-vehicle",
    "helicopter",
    "swimming-pool",
)
"""Classes of DOTA whose objects are separated: neighbours of one class are common, or objects small. The objects of
other classes are connected components. `benchmarks.objects.neighbours` measures both."""

PAD = 32
"""Pixels burned around a window, so that objects cut by its edge have their true shape."""

OFFSET_UNIT = 16.0
"""Pixels per unit of the offset outputs."""

MAX_OFFSET = 4.0
"""Units beyond which an offset is not learned, so that the receptive field of a decoder stays bounded."""

TOUCHING_SIDE = 5
"""Side in pixels of the square in which two objects touch."""

# with the origin at (0, 0), GDAL warns of a missing georeference
_OFFSET = Affine.translation(1, 1)


@dataclass(frozen=True, slots=True)
class Targets:
    """Object targets of a square window."""

    values: NDArray[np.float16]
    """(6, size, size): interior, touching, distance and centre from 0 to 1, then the offsets to the centre in units.

    - interior: 1 on objects without their outermost pixels; an object too thin for that keeps its innermost pixels
    - touching: 1 where two objects lie within a square of `TOUCHING_SIDE` pixels
    - distance: distance from the object's border, as a fraction of the object's largest
    - centre: a Gaussian around the object's centroid, on the object
    """

    weight: NDArray[np.float16]
    """(size, size) weight of a pixel in the losses: 0 outside countable objects, larger on small ones."""


def burn_ids(
    annotations: Annotations, size: int, transform: Affine | None = None
) -> NDArray[np.int32]:
    """Burn objects as 1 + their index, in the order of `geoseg.annotations.burn.burn`: small objects on top.

    Parameters
    ----------
    annotations
        Objects in pixels of the scene.
    size
        Side of the output in pixels.
    transform
        Transform from pixels of the scene to pixels of the output; by default the identity.

    Returns
    -------
    (size, size) array
        IDs; 0 outside of objects.
    """
    ids = np.zeros((size, size), np.int32)
    if not len(annotations):
        return ids
    geometry = transform_geometry(annotations.geometry, _OFFSET @ (transform or Affine.identity()))
    geometry = shapely.clip_by_rect(geometry, 0, 0, size + 2, size + 2)
    order = np.argsort(-shapely.area(annotations.geometry), kind="stable")
    shapes = [(geometry[i], int(i) + 1) for i in order if not geometry[i].is_empty]
    if shapes:
        rasterize(shapes, out=ids, transform=_OFFSET)
    return ids


def border_distance(ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Compute the distance of object pixels from the outermost pixels of their object.

    Returns
    -------
    (h, w) array
        Pixels; 0 on outermost pixels and outside of objects.
    """
    inner = ids > 0
    different = ids[:, 1:] != ids[:, :-1]
    inner[:, 1:] &= ~different
    inner[:, :-1] &= ~different
    different = ids[1:] != ids[:-1]
    inner[1:] &= ~different
    inner[:-1] &= ~different
    distance = cv2.distanceTransform(inner.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, np.float32)


def find_touching(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Find the pixels in whose square of `TOUCHING_SIDE` pixels two objects occur."""
    kernel = np.ones((TOUCHING_SIDE, TOUCHING_SIDE), np.uint8)
    numbers = ids.astype(np.float32)
    highest = np.asarray(cv2.dilate(numbers, kernel))
    bound = numbers.max() + 1
    negative = np.where(ids > 0, bound - numbers, 0)
    lowest = bound - np.asarray(cv2.dilate(negative, kernel))
    touching: NDArray[np.bool_] = (highest > 0) & (highest != lowest)
    return touching


def find_centroids(annotations: Annotations, width: int, height: int) -> NDArray[np.float64]:
    """Compute the centroid of each object's part in the scene.

    Returns
    -------
    (objects + 1, 2) array
        x and y in pixels of the scene, by ID; 0 for ID 0 and for objects outside of the scene.
    """
    inside = shapely.clip_by_rect(annotations.geometry, 0, 0, width, height)
    centroids = np.zeros((len(annotations) + 1, 2))
    for number, geometry in enumerate(inside, start=1):
        if not geometry.is_empty:
            centroids[number] = geometry.centroid.coords[0]
    return centroids


def compute_targets(
    ids: NDArray[np.int32], centroids: NDArray[np.float64], *, pad: int = PAD
) -> Targets:
    """Compute the targets of a window that was burned with `pad` pixels around it.

    Parameters
    ----------
    ids
        (size + 2 * pad, size + 2 * pad) IDs; 0 outside of countable objects.
    centroids
        (objects + 1, 2) x and y in pixels of `ids`, by ID.
    pad
        Pixels around the window.
    """
    objects = len(centroids)
    on = ids > 0
    of = ids[on]
    distance = border_distance(ids)
    largest = np.zeros(objects, np.float32)
    np.maximum.at(largest, of, distance[on])
    area = np.bincount(of, minlength=objects)

    values = np.zeros((6, *ids.shape), np.float32)
    values[0] = on & ((distance > 0) | (distance == largest[ids]))
    values[1] = find_touching(ids)
    values[2][on] = (distance[on] + 0.5) / (largest[of] + 0.5)
    rows, columns = np.nonzero(on)
    dx, dy = centroids[of, 0] - (columns + 0.5), centroids[of, 1] - (rows + 0.5)
    sigma = np.clip(0.5 * (largest[of] + 0.5), 1.0, 8.0)
    values[3][on] = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    values[4][on], values[5][on] = dx / OFFSET_UNIT, dy / OFFSET_UNIT
    weight = np.zeros(ids.shape, np.float32)
    weight[on] = np.clip(20 / np.sqrt(area[of]), 0.5, 4.0)
    inside = np.s_[..., pad:-pad, pad:-pad] if pad else np.s_[...]
    return Targets(values[inside].astype(np.float16), weight[inside].astype(np.float16))
