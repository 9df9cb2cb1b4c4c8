"""Shapes where they stand in the image, lit and ready to be filled; thousands at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geoseg.demo.shapes import SOLID, Colour, Points, Texture, Thing, shaded

Fixed = NDArray[np.int32]
"""(n, 2) OpenCV's fixed-point coordinates, which count from the first pixel's centre."""

SUBPIXEL = 4
"""Their fractional bits."""

FAT = 0.65
"""Pixels by which OpenCV's antialiased polygons reach over their sides."""


@dataclass(frozen=True, slots=True)
class Sun:
    azimuth: float
    """Direction towards the sun, radians in image axes (x right, y down)."""

    elevation: float
    """Radians above the horizon."""

    def shadow(self, height: float) -> Points:
        """Where the shadow of a point `height` up falls, in the unit of `height`."""
        reach = height / np.tan(self.elevation)
        return np.array([-reach * np.cos(self.azimuth), -reach * np.sin(self.azimuth)])

    def lights(self, slope: float) -> float:
        """Brightness of a surface that leans to `slope`, where a level one has 1."""
        return 1.0 + 0.2 * float(np.cos(slope - self.azimuth))


@dataclass(frozen=True, slots=True)
class Facet:
    """One shape in the image."""

    inner: Fixed
    """What to fill, so that the shape is covered and no more."""

    shadow: Fixed | None
    """Convex hull of shape and shadow."""

    colour: Colour
    opacity: float
    texture: Texture


def facets(things: Sequence[Thing], pixel_size: float, sun: Sun) -> Iterator[list[Facet]]:
    """The facets of each thing, from metres to pixels."""
    shapes = [shape for thing in things for shape in thing.shapes]
    if not shapes:
        return
    counts = np.array([len(shape.corners) for shape in shapes])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    poses = np.array([(t.x, t.y, t.heading) for t in things for _ in t.shapes])
    corners = np.concatenate([shape.corners for shape in shapes])
    x, y, heading = np.repeat(poses, counts, axis=0).T
    c, s = np.cos(heading), np.sin(heading)
    placed = np.column_stack(
        [c * corners[:, 0] - s * corners[:, 1] + x, s * corners[:, 0] + c * corners[:, 1] + y]
    )
    placed /= pixel_size
    outer, inner = fixed_point(placed), fixed_point(shrunk(placed, starts))
    ends = iter(zip(starts.tolist(), (starts + counts).tolist(), strict=True))
    for thing in things:
        found = []
        for shape in thing.shapes:
            start, end = next(ends)
            colour, shadow = shape.colour, None
            if shape.slope is not None:
                colour = shaded(colour, sun.lights(shape.slope + thing.heading))
            if shape.height > 0 and shape.opacity > SOLID:
                shadow = swept(outer[start:end], sun.shadow(shape.height / pixel_size))
            found.append(Facet(inner[start:end], shadow, colour, shape.opacity, shape.texture))
        yield found


def fixed_point(pixels: Points) -> Fixed:
    return np.rint((pixels - 0.5) * (1 << SUBPIXEL)).astype(np.int32)


def swept(polygon: Fixed, offset: Points) -> Fixed:
    """Convex hull of a polygon and itself moved by `offset` pixels."""
    both = np.concatenate([polygon, polygon + np.rint(offset * (1 << SUBPIXEL)).astype(np.int32)])
    return np.asarray(cv2.convexHull(both), dtype=np.int32).reshape(-1, 2)


def shrunk(corners: Points, starts: NDArray[np.int64]) -> Points:
    """Every side of polygons moved inwards by the FAT that OpenCV adds when it fills; thin ones by less.

    `corners` has the corners of all polygons in pixels, `starts` the row of each one's first.
    """
    ends = np.append(starts[1:], len(corners)) - 1
    after, before = np.arange(1, len(corners) + 1), np.arange(-1, len(corners) - 1)
    after[ends], before[starts] = starts, ends
    edges = corners[after] - corners
    lengths = np.hypot(edges[:, 0], edges[:, 1]) + 1e-9
    cross = corners[:, 0] * corners[after, 1] - corners[:, 1] * corners[after, 0]
    area = np.add.reduceat(cross, starts) / 2
    width = 2 * np.abs(area) / np.add.reduceat(lengths, starts)
    counts = ends - starts + 1
    inwards = np.repeat(np.sign(area), counts)[:, None]
    normals = np.column_stack([-edges[:, 1], edges[:, 0]]) / lengths[:, None] * inwards
    miter = normals + normals[before]
    sharpness = np.maximum(1 + (normals * normals[before]).sum(axis=1), 0.4)
    inset = np.repeat(np.minimum(FAT, 0.4 * width), counts)
    inner: Points = corners + miter * (inset / sharpness)[:, None]
    return inner
