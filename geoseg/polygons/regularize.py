"""Replace outlines of countable objects by simple shapes, so that polygons never overlap.

Every object gets the simplest shape that fits its region (`geoseg.polygons.shapes`). Then, in the order of the text:

1. Two convex shapes that overlap retreat to a line half-way through their overlap, along the direction in which that
   is smallest. A circle shrinks; the other shapes move a side.
2. A shape is *accepted* if it still fits, if it takes at most `MAX_LOSS` of the outline of any other polygon, and if
   it leaves a point of it. A right-angled polygon must not overlap any other shape either.
3. A polygon without an accepted shape keeps its outline, less the accepted shapes that overlap it.

Two accepted shapes lie on different sides of a line, and a kept outline is cut, so no two polygons overlap; and every
polygon keeps an area. Each decision depends on the shapes and outlines of a polygon and of those whose bounding boxes
are near, which makes the result independent of batches and strips: a polygon is decided once all polygons near it are
complete, and written once those near it are decided.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.polygons.shapes import (
    LARGEST,
    MIN_PIXELS,
    NO_SHAPE,
    RECTANGLE,
    RIGHT_ANGLED,
    Bools,
    Floats,
    Geometry,
    Ints,
    Shapes,
    compare,
    fit_shapes,
    place_templates,
    turn_left,
)
from geoseg.polygons.trace import PolygonBatch

log = logging.getLogger(__name__)

REACH = 2.0
"""Largest distance in pixels by which a shape may leave the bounding box of its region."""

MAX_LOSS = 0.25
"""Largest share of another outline that a shape may take."""

FIT_DEVIATION, FIT_IOU = 1.0, 0.9
"""Largest deviation and smallest intersection over union after a shape has retreated."""

EPSILON = 1e-9
"""Overlap in pixels, and in square pixels, that is none."""

MIN_HALF = 0.5
"""Smallest half side and radius of a shape in pixels."""

Line = tuple[Floats, float]
"""Unit normal n and offset m of the half-plane n x <= m."""


@dataclass(frozen=True, slots=True, eq=False)
class _Objects:
    """Polygons that are not written, and those near them."""

    batch: Ints
    """(n,) number of the batch."""

    bounds: Floats
    """(n, 4) bounding boxes of the regions, extended by `REACH`."""

    region: Geometry
    """(n,) regions without holes, along pixel edges."""

    outline: Geometry
    """(n,) outlines as simplified."""

    inner: Geometry
    """(n,) points in the outlines."""

    shapes: Shapes

    accepted: Geometry
    """(n,) accepted shapes; None where there is none, or where it is undecided."""

    decided: Bools

    def __len__(self) -> int:
        return len(self.batch)

    def select(self, keep: Bools) -> _Objects:
        """Return the objects for which `keep` is True."""
        names = [field.name for field in fields(self) if field.name != "shapes"]
        arrays = {name: getattr(self, name)[keep] for name in names}
        return _Objects(shapes=self.shapes.select(keep), **arrays)

    def extend(self, other: _Objects) -> _Objects:
        """Return these objects and those of a later batch."""

        def join(name: str, of: str = "") -> NDArray[np.generic]:
            one, two = ((getattr(o, of) if of else o) for o in (self, other))
            return np.concatenate([getattr(one, name), getattr(two, name)])

        names = [field.name for field in fields(self) if field.name != "shapes"]
        shapes = Shapes(*(join(field.name, "shapes") for field in fields(Shapes)))  # type: ignore[arg-type]
        return _Objects(shapes=shapes, **{name: join(name) for name in names})  # type: ignore[arg-type]


def regularize_outlines(
    batches: Iterable[tuple[PolygonBatch, PolygonBatch]], countable: Sequence[bool]
) -> Iterator[tuple[PolygonBatch, PolygonBatch]]:
    """Replace the outlines of objects by circles, rectangles, hulls and right-angled polygons where they fit.

    Parameters
    ----------
    batches
        Regions along pixel edges, traced with nodes, and their outlines.
    countable
        By class ID: True for classes whose outlines may be replaced. Objects that touch the border of the scene keep
        theirs.

    Yields
    ------
    tuple of PolygonBatch
        The same regions in the same order, and polygons without overlaps of area.
    """
    if not any(countable):
        log.warning("no class is countable, so no outline is regularized")
    pending: list[tuple[int, PolygonBatch, PolygonBatch]] = []
    known: _Objects | None = None
    for number, (regions, outlines) in enumerate(batches):
        added = _describe(number, regions, outlines, countable)
        known = added if known is None else known.extend(added)
        pending.append((number, regions, outlines))
        if _decide(known, regions.settled):
            yield from _write(known, pending)
            known = _forget(known, pending, regions.settled)
    if known is not None:
        _decide(known, np.inf)
        yield from _write(known, pending)


def _describe(
    number: int, regions: PolygonBatch, outlines: PolygonBatch, countable: Sequence[bool]
) -> _Objects:
    region = shapely.polygons(shapely.get_exterior_ring(_to_shapely(regions)))
    bounds = shapely.bounds(region).reshape(-1, 4)
    outline = _to_shapely(outlines)
    n = len(regions)
    shapes = Shapes(
        np.full(n, NO_SHAPE),
        np.zeros((n, 2)),
        np.zeros((n, 2)),
        np.zeros((n, 2)),
        np.full(n, None, object),
    )
    allowed = np.zeros(256, bool)
    allowed[: len(countable)] = countable
    candidate = allowed[regions.class_id] & ~regions.touches_edge
    candidate &= (regions.pixels >= MIN_PIXELS) & (shapely.area(region) <= LARGEST**2)
    candidate &= (bounds[:, 2:] - bounds[:, :2] <= LARGEST).all(axis=1)
    reach = bounds + REACH * np.array([-1, -1, 1, 1])
    if candidate.any():
        fitted = fit_shapes(region[candidate])
        for name in ("template", "centre", "axis", "half", "outline"):
            getattr(shapes, name)[candidate] = getattr(fitted, name)
        extent = shapely.bounds(shapes.outline)
        outside = (extent[:, :2] < reach[:, :2]) | (extent[:, 2:] > reach[:, 2:])
        shapes.template[outside.any(axis=1)] = NO_SHAPE
        shapes.outline[outside.any(axis=1)] = None
    return _Objects(
        batch=np.full(n, number),
        bounds=reach,
        region=region,
        outline=outline,
        inner=shapely.point_on_surface(outline),
        shapes=shapes,
        accepted=np.full(n, None, object),
        decided=np.zeros(n, bool),
    )


def _to_shapely(batch: PolygonBatch) -> Geometry:
    polygons: Geometry = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        batch.coordinates.astype(np.float64),
        (batch.ring_offsets, batch.polygon_offsets),
    )
    return polygons


def _decide(known: _Objects, settled: float) -> bool:
    """Decide the shapes of the objects that no later polygon is near; return True if there are any."""
    ready = ~known.decided & (known.bounds[:, 3] + REACH <= settled)
    if not ready.any():
        return False
    known.decided[ready] = True
    index = np.flatnonzero(ready & (known.shapes.template != NO_SHAPE))
    if not len(index):
        return True
    shapes = _retreat_all(known.shapes, index)
    alone = shapes.template != NO_SHAPE
    index, outline = index[alone], shapes.outline[alone]
    iou, deviation = compare(outline, known.region[index])
    good = (iou >= FIT_IOU) | (deviation <= FIT_DEVIATION)
    index, outline = index[good], outline[good]
    spared = _spare_others(known, index, outline)
    known.accepted[index[spared]] = outline[spared]
    return True


def _spare_others(known: _Objects, index: Ints, outline: Geometry) -> Bools:
    """Return True for the shapes that leave the outlines of all other polygons most of their area."""
    spared = np.ones(len(index), bool)
    shape, other = shapely.STRtree(known.outline).query(outline, predicate="intersects")
    foreign = index[shape] != other
    shape, other = shape[foreign], other[foreign]
    taken = shapely.area(shapely.intersection(outline[shape], known.outline[other]))
    harm = taken > MAX_LOSS * shapely.area(known.outline[other])
    harm |= shapely.dwithin(outline[shape], known.inner[other], 1e-3)
    spared[shape[harm]] = False
    return spared


def _retreat_all(shapes: Shapes, index: Ints) -> Shapes:
    """Return the shapes at `index` after they have retreated from all others; NO_SHAPE for those that cannot."""
    retreated = shapes.select(index)
    one, other = shapely.STRtree(shapes.outline).query(retreated.outline, predicate="intersects")
    lines: dict[int, list[Line]] = {}
    for k, second in zip(one.tolist(), other.tolist(), strict=True):
        first = int(index[k])
        if first == second:
            continue
        if shapes.template[first] == RIGHT_ANGLED:
            if shapes.outline[first].intersection(shapes.outline[second]).area > EPSILON:
                retreated.template[k] = NO_SHAPE
        elif shapes.template[second] != RIGHT_ANGLED:
            line = _find_line(
                shapes.outline[min(first, second)], shapes.outline[max(first, second)]
            )
            if line is not None:
                normal, offset = line if first < second else (-line[0], -line[1])
                lines.setdefault(k, []).append((normal, offset))
    for k, of_shape in lines.items():
        _retreat(retreated, k, of_shape)
    return retreated


def _find_line(one: shapely.Polygon, other: shapely.Polygon) -> Line | None:
    """Return the line half-way through the overlap of two convex polygons, with the first below; None without overlap.

    One of their sides has the direction of the smallest overlap (separating axis theorem).
    """
    corners, others = (shapely.get_coordinates(polygon)[:-1] for polygon in (one, other))
    normals = np.concatenate([_normals(corners), -_normals(others)])
    overlap = (corners @ normals.T).max(axis=0) - (others @ normals.T).min(axis=0)
    smallest = int(overlap.argmin())
    if overlap[smallest] <= EPSILON:
        return None
    normal = normals[smallest]
    return normal, float((corners @ normal).max() - overlap[smallest] / 2)


def _normals(corners: Floats) -> Floats:
    """Return the outward unit normals of the sides of a convex polygon."""
    sides = np.roll(corners, -1, axis=0) - corners
    normals = turn_left(sides / np.linalg.norm(sides, axis=1)[:, None])
    outward = ((corners - corners.mean(axis=0)) * normals).sum(axis=1) > 0
    return np.where(outward[:, None], normals, -normals)


def _retreat(shapes: Shapes, k: int, lines: Sequence[Line]) -> None:
    """Shrink shape k until it is below all lines, or make it NO_SHAPE."""
    corners = shapely.get_coordinates(shapes.outline[k])
    excess = [(normal, float((corners @ normal).max() - offset)) for normal, offset in lines]
    if shapes.template[k] < RECTANGLE:
        centre = shapes.centre[k]
        room = [(float((corners @ n).max() - centre @ n), e) for n, e in excess]
        shapes.half[k] *= min(1 - e / r for r, e in room)
    else:
        _move_sides(shapes, k, excess)
    shapes.outline[k] = None
    if (shapes.half[k] <= MIN_HALF).any():
        shapes.template[k] = NO_SHAPE
        return
    chosen = np.array([k])
    shapes.outline[k] = place_templates(
        *(getattr(shapes, name)[chosen] for name in ("template", "centre", "axis", "half"))
    )[0]
    corners = shapely.get_coordinates(shapes.outline[k])
    if any((corners @ normal).max() > offset + EPSILON for normal, offset in lines):
        shapes.template[k], shapes.outline[k] = NO_SHAPE, None


def _move_sides(shapes: Shapes, k: int, excess: Sequence[Line]) -> None:
    """Move the sides of a rectangle or hull inward, each the one that faces the line most."""
    axis = shapes.axis[k]
    frame = np.array([axis, (-axis[1], axis[0])])
    inward = np.zeros((2, 2))  # direction of the frame, side
    for normal, distance in excess:
        share = frame @ normal
        direction = int(np.abs(share).argmax())
        side = int(share[direction] > 0)
        moved = distance / abs(share[direction])
        inward[direction, side] = max(inward[direction, side], moved)
    shapes.half[k] -= inward.sum(axis=1) / 2
    shapes.centre[k] += (inward[:, 0] - inward[:, 1]) / 2 @ frame


def _write(
    known: _Objects, pending: list[tuple[int, PolygonBatch, PolygonBatch]]
) -> Iterator[tuple[PolygonBatch, PolygonBatch]]:
    """Yield the first batches whose objects and all objects near them are decided."""
    tree = shapely.STRtree(shapely.box(*known.bounds.T))
    while pending:
        number, regions, outlines = pending[0]
        mine = np.flatnonzero(known.batch == number)
        _, near = tree.query(shapely.box(*known.bounds[mine].T))
        if not (known.decided[mine].all() and known.decided[near].all()):
            return
        yield regions, _replace_outlines(known, mine, outlines)
        pending.pop(0)


def _forget(
    known: _Objects, pending: list[tuple[int, PolygonBatch, PolygonBatch]], settled: float
) -> _Objects:
    """Drop the objects that are written and near none that is not."""
    first = pending[0][0] if pending else known.batch.max(initial=0) + 1
    waiting = known.batch >= first
    top = min(settled - REACH, known.bounds[waiting, 1].min(initial=np.inf))
    return known.select(waiting | (known.bounds[:, 3] >= top))


def _replace_outlines(known: _Objects, mine: Ints, outlines: PolygonBatch) -> PolygonBatch:
    """Return the accepted shapes of a batch, and the other outlines less the accepted shapes of their neighbours."""
    result = known.accepted[mine]
    kept = np.flatnonzero(shapely.is_missing(result))
    result[kept] = known.outline[mine[kept]]
    one, shape = shapely.STRtree(known.accepted).query(result[kept], predicate="intersects")
    for k in np.unique(one):
        around = shapely.union_all(known.accepted[shape[one == k]])
        result[kept[k]] = _largest_part(shapely.difference(result[kept[k]], around))
    if len(kept) == len(mine) and not len(one):
        return outlines
    oriented = shapely.orient_polygons(result, exterior_cw=True)
    _, coordinates, (rings, offsets) = shapely.to_ragged_array(oriented)
    return replace(
        outlines,
        coordinates=coordinates,
        ring_offsets=rings.astype(np.int64),
        polygon_offsets=offsets.astype(np.int64),
    )


def _largest_part(geometry: shapely.Geometry) -> shapely.Geometry:
    parts = shapely.get_parts(geometry)
    return parts[int(shapely.area(parts).argmax())]
