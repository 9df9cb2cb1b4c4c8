"""Fit circles, rectangles, hulls of ships and right-angled polygons to outlines.

A shape has the area, the centroid and the second moments of the outline, so that the steps of pixels average out. It
*fits* if the area between both outlines is at most `MAX_DEVIATION` pixels times its perimeter, which is the mean
distance of the outlines, or if the intersection over union is at least `MIN_IOU`. `benchmarks/objects/outlines.py`
measures when that brings an outline closer to the annotated one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.polygons.kernels import kernel

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Geometry = NDArray[np.object_]
Ints = NDArray[np.int64]

MAX_DEVIATION = 0.7
"""Largest mean distance of the outlines in pixels up to which a shape fits."""

MIN_IOU = 0.95
"""Intersection over union from which on a shape fits."""

MIN_PIXELS = 12
"""Smallest area of an outline that is replaced, in pixels."""

LARGEST = 1024
"""Largest number of rows or columns of an outline that is replaced."""

HULL_ELONGATION = 1.8
"""Smallest ratio of length and width of a hull."""

HULL_GAIN = 0.75
"""Largest ratio of the deviations of a hull and of a rectangle: below, the hull is chosen."""

MIN_SIDE = 3.0
"""Shortest side of a right-angled polygon in pixels."""

MAX_SIDES = 12
"""Largest number of sides of a right-angled polygon."""

MIN_RIGHT_ANGLED = 400
"""Smallest area of a right-angled polygon of more than four sides, in pixels."""

_CIRCLE_CORNERS = 4 * np.array([4, 6, 8, 12, 16])


def _regular(corners: int) -> Floats:
    angle = 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _hull(bow: float, stern: float) -> Floats:
    """Return a ship of length and width 2; bow and stern: share of the length that tapers to a point."""
    back = [(-1.0, 0.0)] if stern else []
    left, right = 2 * stern - 1, 1 - 2 * bow
    return np.array([*back, (left, -1), (right, -1), (1, 0), (right, 1), (left, 1)])


CIRCLES = range(len(_CIRCLE_CORNERS))
RECTANGLE = len(CIRCLES)
HULLS = range(RECTANGLE + 1, RECTANGLE + 6)
TEMPLATES: tuple[Floats, ...] = (
    *(_regular(corners) for corners in _CIRCLE_CORNERS),
    np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    _hull(0.25, 0),
    -_hull(0.25, 0),
    _hull(0.45, 0),
    -_hull(0.45, 0),
    _hull(0.25, 0.25),
)
"""Convex polygons between -1 and 1 in both directions: circles of rising numbers of corners, rectangle, hulls."""

NO_SHAPE, RIGHT_ANGLED = -1, -2
"""Templates of outlines that are kept, and of those that are polygons of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Shapes of n outlines, in pixels."""

    template: Ints
    """(n,) index in `TEMPLATES`, NO_SHAPE or RIGHT_ANGLED."""

    centre: Floats
    """(n, 2)"""

    axis: Floats
    """(n, 2) unit vector of the first direction of the template."""

    half: Floats
    """(n, 2) scales of the template along the axis and across it."""

    outline: Geometry
    """(n,) polygons; None for NO_SHAPE."""

    def select(self, index: Ints | Bools) -> Shapes:
        """Return the shapes at an index."""
        names = ("template", "centre", "axis", "half", "outline")
        return Shapes(*(getattr(self, name)[index] for name in names))


def place_templates(template: Ints, centre: Floats, axis: Floats, half: Floats) -> Geometry:
    """Return (n,) polygons of scaled, rotated and shifted templates."""
    polygons = np.full(len(template), None, object)
    normal = turn_left(axis)
    for t in np.unique(template[template >= 0]):
        mine = template == t
        points = TEMPLATES[t][None] * half[mine, None]
        polygons[mine] = shapely.polygons(
            centre[mine, None] + points[..., :1] * axis[mine, None] + points[..., 1:] * normal[mine, None]
        )  # fmt: skip
    return polygons


def turn_left(vectors: Floats) -> Floats:
    """Return (n, 2) vectors turned by 90 degrees."""
    return np.stack([-vectors[:, 1], vectors[:, 0]], axis=1)


@kernel
def sum_moments(points: Floats, offsets: Ints, moments: Floats) -> None:
    """Write the area, the centroid and the covariances xx, xy and yy of n closed rings to `moments` (n, 6)."""
    for n in range(len(offsets) - 1):
        begin = offsets[n]
        area = x = y = xx = xy = yy = 0.0
        for k in range(begin, offsets[n + 1] - 1):
            x0, y0 = points[k] - points[begin]
            x1, y1 = points[k + 1] - points[begin]
            double = x0 * y1 - x1 * y0
            area += double / 2
            x += (x0 + x1) * double / 6
            y += (y0 + y1) * double / 6
            xx += (x0 * x0 + x0 * x1 + x1 * x1) * double / 12
            xy += (x0 * y1 + 2 * x0 * y0 + 2 * x1 * y1 + x1 * y0) * double / 24
            yy += (y0 * y0 + y0 * y1 + y1 * y1) * double / 12
        x, y = x / area, y / area
        moments[n, 0] = abs(area)
        moments[n, 1], moments[n, 2] = points[begin, 0] + x, points[begin, 1] + y
        moments[n, 3], moments[n, 4] = xx / area - x * x, xy / area - x * y
        moments[n, 5] = yy / area - y * y


def compute_moments(polygons: Geometry) -> tuple[Floats, Floats, Floats]:
    """Return (n,) areas, (n, 2) centroids and (n, 3) covariances xx, xy and yy of polygons without holes.

    Each polygon is summed on its own, so that other polygons change no bit.
    """
    points, polygon = shapely.get_coordinates(polygons, return_index=True)
    moments = np.empty((len(polygons), 6))
    sum_moments(points, np.searchsorted(polygon, np.arange(len(polygons) + 1)), moments)
    return moments[:, 0], moments[:, 1:3], moments[:, 3:]


_AREA, _CENTROID, _COVARIANCE = compute_moments(np.array([shapely.Polygon(t) for t in TEMPLATES]))
_DEVIATION = np.sqrt(_COVARIANCE[:, [0, 2]])


def fit_templates(polygons: Geometry, template: Ints, axis: Floats) -> Shapes:
    """Place a template on each polygon so that area, centroid and ratio of the second moments agree."""
    area, centroid, covariance = compute_moments(polygons)
    normal = turn_left(axis)
    xx, xy, yy = covariance.T
    variance = [x * x * xx + 2 * x * y * xy + y * y * yy for x, y in (axis.T, normal.T)]
    half: Floats = np.sqrt(np.maximum(np.stack(variance, axis=1), 1e-6)) / _DEVIATION[template]
    half[template < RECTANGLE] = 1.0
    half *= np.sqrt(area / (_AREA[template] * half.prod(axis=1)))[:, None]
    offset = _CENTROID[template] * half
    centre = centroid - offset[:, :1] * axis - offset[:, 1:] * normal
    outline = place_templates(template, centre, axis, half)
    return Shapes(template, centre, axis, half, outline)


@kernel
def intersect_convex(
    points: Floats, offsets: Ints, corners: Floats, corner_offsets: Ints
) -> Floats:
    """Return the areas that n closed rings share with n convex closed rings of positive orientation.

    Clips by one side after the other (Sutherland and Hodgman 1974). Parts of a ring that is not convex stay connected
    by lines, which have no area.
    """
    areas = np.zeros(len(offsets) - 1)
    for n in range(len(offsets) - 1):
        begin, end = offsets[n], offsets[n + 1] - 1
        first, last = corner_offsets[n], corner_offsets[n + 1] - 1
        size = end - begin
        ring = points[begin:end] - points[begin]
        for c in range(first, last):
            x0, y0 = corners[c] - points[begin]
            x1, y1 = corners[c + 1] - points[begin]
            clipped = np.empty((2 * size + 2, 2))
            used = 0
            for k in range(size):
                ax, ay = ring[k]
                bx, by = ring[(k + 1) % size]
                a = (x1 - x0) * (ay - y0) - (y1 - y0) * (ax - x0)
                b = (x1 - x0) * (by - y0) - (y1 - y0) * (bx - x0)
                if a >= 0:
                    clipped[used, 0], clipped[used, 1] = ax, ay
                    used += 1
                if (a > 0 and b < 0) or (a < 0 and b > 0):
                    share = a / (a - b)
                    clipped[used, 0] = ax + share * (bx - ax)
                    clipped[used, 1] = ay + share * (by - ay)
                    used += 1
            ring, size = clipped[:used], used
        double = 0.0
        for k in range(size):
            after = (k + 1) % size
            double += ring[k, 0] * ring[after, 1] - ring[after, 0] * ring[k, 1]
        areas[n] = abs(double) / 2
    return areas


def compare_convex(shapes: Geometry, polygons: Geometry) -> tuple[Floats, Floats]:
    """Return what `compare` returns, for shapes from `place_templates`."""
    points, polygon = shapely.get_coordinates(polygons, return_index=True)
    corners, shape = shapely.get_coordinates(shapes, return_index=True)
    ends = np.arange(len(polygons) + 1)
    offsets, corner_offsets = np.searchsorted(polygon, ends), np.searchsorted(shape, ends)
    both = intersect_convex(points, offsets, corners, corner_offsets)
    return _compare_areas(both, shapes, polygons)


def compare(shapes: Geometry, polygons: Geometry) -> tuple[Floats, Floats]:
    """Return (n,) intersections over union, and mean distances of the outlines."""
    return _compare_areas(shapely.area(shapely.intersection(shapes, polygons)), shapes, polygons)


def _compare_areas(both: Floats, shapes: Geometry, polygons: Geometry) -> tuple[Floats, Floats]:
    total = shapely.area(shapes) + shapely.area(polygons)
    return both / (total - both), (total - 2 * both) / shapely.length(shapes)


def find_axes(polygons: Geometry) -> tuple[Floats, Floats]:
    """Return (n, 2) unit vectors of the principal axis, and of the long side of the smallest rectangle."""
    _, _, covariance = compute_moments(polygons)
    matrices = covariance[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    principal = np.linalg.eigh(matrices)[1][:, :, 1]
    corners = shapely.get_coordinates(shapely.oriented_envelope(polygons)).reshape(-1, 5, 2)
    sides = np.diff(corners, axis=1)[:, :2]
    lengths = np.linalg.norm(sides, axis=2)
    longest = lengths.argmax(axis=1)
    row = np.arange(len(polygons))
    return principal, sides[row, longest] / lengths[row, longest, None]


def fit_shapes(polygons: Geometry) -> Shapes:
    """Choose the simplest shape that fits each polygon.

    Parameters
    ----------
    polygons
        n polygons without holes along pixel edges, in pixels.

    Returns
    -------
    Shapes
        A circle or a rectangle, whichever is closer; a hull if it is much closer and long; a right-angled polygon if
        none of them fits; or NO_SHAPE.
    """
    area = shapely.area(polygons)
    axes = find_axes(polygons)
    radius = np.sqrt(area / np.pi)
    circle = np.digitize(radius, [4, 8, 16, 32])
    best, deviation = _best(polygons, [circle, np.full_like(circle, RECTANGLE)], axes)
    hull, of_hull = _best(polygons, [np.full_like(circle, t) for t in HULLS], axes)
    long = hull.half[:, 0] >= HULL_ELONGATION * hull.half[:, 1]
    chosen = _choose(long & (of_hull < HULL_GAIN * deviation), hull, best)
    iou, deviation = compare_convex(chosen.outline, polygons)
    good = (deviation <= MAX_DEVIATION) | (iou >= MIN_IOU)
    chosen.template[~good] = NO_SHAPE
    chosen.outline[~good] = None
    for n in np.flatnonzero(~good & (area >= MIN_RIGHT_ANGLED)):
        outline = fit_right_angled(polygons[n], axes[1][n])
        if outline is not None:
            chosen.template[n], chosen.outline[n] = RIGHT_ANGLED, outline
    return chosen


def _best(
    polygons: Geometry, templates: list[Ints], axes: tuple[Floats, ...]
) -> tuple[Shapes, Floats]:
    """Return the template and axis with the smallest deviation, and that."""
    best: Shapes | None = None
    deviation = np.full(len(polygons), np.inf)
    for template in templates:
        for axis in axes:
            shapes = fit_templates(polygons, template, axis)
            _, of_shape = compare_convex(shapes.outline, polygons)
            best = shapes if best is None else _choose(of_shape < deviation, shapes, best)
            deviation = np.minimum(deviation, of_shape)
    assert best is not None
    return best, deviation


def _choose(where: Bools, one: Shapes, other: Shapes) -> Shapes:
    return Shapes(
        np.where(where, one.template, other.template),
        np.where(where[:, None], one.centre, other.centre),
        np.where(where[:, None], one.axis, other.axis),
        np.where(where[:, None], one.half, other.half),
        np.where(where, one.outline, other.outline),
    )


def fit_right_angled(polygon: shapely.Polygon, axis: Floats) -> shapely.Polygon | None:
    """Return a polygon with sides along and across an axis, or None if none fits."""
    frame = np.array([axis, (-axis[1], axis[0])])
    ring = shapely.simplify(shapely.get_exterior_ring(polygon), 1.0)
    sides = _merge_sides(shapely.get_coordinates(ring) @ frame.T)
    if sides is None:
        return None
    position = np.array([side[1] for side in sides])
    after = np.roll(position, -1)
    x = np.where([side[0] == 0 for side in sides], position, after)
    y = np.where([side[0] == 0 for side in sides], after, position)
    shape = shapely.Polygon(np.stack([x, y], axis=1) @ frame)
    if not shape.is_valid or shape.is_empty:
        return None
    ((iou,), (deviation,)) = compare(np.array([shape]), np.array([polygon]))
    return shape if deviation <= MAX_DEVIATION or iou >= MIN_IOU else None


def _merge_sides(points: Floats) -> list[tuple[int, float, float]] | None:
    """Return the sides of a right-angled ring, or None if it has too many.

    points: closed ring in the frame of the axis. A side is (direction, position, weight): 0 and x for a side of
    constant x, 1 and y for one of constant y.
    """
    sides: list[tuple[int, float, float]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        steep = abs(y1 - y0) > abs(x1 - x0)
        side = (0, (x0 + x1) / 2, abs(y1 - y0)) if steep else (1, (y0 + y1) / 2, abs(x1 - x0))
        sides.append(side)
    sides = _join_equal(sides)
    while len(sides) > 4:
        position = np.array([side[1] for side in sides])
        length = np.abs(np.roll(position, -1) - np.roll(position, 1))
        shortest = int(length.argmin())
        if length[shortest] >= MIN_SIDE:
            break
        sides = _join_equal(sides[:shortest] + sides[shortest + 1 :])
    return sides if 4 <= len(sides) <= MAX_SIDES and len(sides) % 2 == 0 else None


def _join_equal(sides: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Join neighbouring sides of one direction at their mean position, weighted by length."""
    joined: list[tuple[int, float, float]] = []
    for side in sides:
        if joined and joined[-1][0] == side[0]:
            joined[-1] = _join(joined[-1], side)
        else:
            joined.append(side)
    if len(joined) > 1 and joined[0][0] == joined[-1][0]:
        joined[0] = _join(joined.pop(), joined[0])
    return joined


def _join(
    one: tuple[int, float, float], other: tuple[int, float, float]
) -> tuple[int, float, float]:
    weight = one[2] + other[2]
    position = (one[1] * one[2] + other[1] * other[2]) / weight if weight else one[1]
    return one[0], position, weight
