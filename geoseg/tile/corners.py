"""Polygons as four corners."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray


def four_corners(geometry: shapely.Geometry, height: int, width: int) -> NDArray[np.float64]:
    """(4, 2) corners for a geometry that lies in an image of `height` x `width` pixels, in it too.

    Its own where it has four; else those of the smallest rotated rectangle around it. Where that leaves
    the image, corners of what is left of it, of which those that matter least are cut off.
    """
    ring: NDArray[np.float64] = shapely.get_coordinates(geometry)
    if len(ring) == 5:
        return ring[:4]
    rectangle = shapely.oriented_envelope(geometry)
    image = shapely.box(0, 0, width, height)
    if image.covers(rectangle):
        corners: NDArray[np.float64] = shapely.get_coordinates(rectangle)[:4]
        return corners
    corners = shapely.get_coordinates(shapely.intersection(rectangle, image))[:-1]
    while len(corners) > 4:
        corners = np.delete(corners, int(np.argmin(_triangles(corners))), axis=0)
    if len(corners) == 3:  # a fourth one in the middle of the longest side
        after = np.roll(corners, -1, axis=0)
        side = int(np.argmax(np.hypot(*(after - corners).T)))
        corners = np.insert(corners, side + 1, (corners[side] + after[side]) / 2, axis=0)
    return corners


def _triangles(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) area that is lost with each of (n, 2) corners."""
    ax, ay = (np.roll(corners, 1, axis=0) - corners).T
    bx, by = (np.roll(corners, -1, axis=0) - corners).T
    areas: NDArray[np.float64] = np.abs(ax * by - ay * bx) / 2
    return areas
