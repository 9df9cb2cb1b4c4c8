"""Polygons with other outlines than those of their pixels."""

from __future__ import annotations

from dataclasses import replace
from math import floor

import numpy as np
import shapely

from geoseg.polygons.arcs import draw_rings
from geoseg.polygons.trace import Traced
from geoseg.polygons.vertices import Vertices

_POINTS_OF_A_CORNER = 5


def drawn(traced: Traced, vertices: Vertices, *, simplify: float, smooth: float) -> Traced:
    """The polygons with fewer corners, and rounder ones, but the same neighbours.

    `traced` is noded, `vertices` knows the row lines that it spans. Outlines of neighbours are the
    same, to the last bit; polygons stay valid, lose no hole and do not overlap.
    """
    points = len(traced.coordinates) * (_POINTS_OF_A_CORNER if smooth else 1)
    coordinates = np.empty((points, 2))
    offsets = np.zeros_like(traced.ring_offsets)
    limit = floor(2 * simplify**2)
    draw_rings(
        traced.coordinates,
        traced.ring_offsets,
        vertices.corners,
        vertices.nodes,
        vertices.first,
        limit,
        float(smooth),
        coordinates,
        offsets,
    )
    return replace(traced, coordinates=coordinates[: offsets[-1]].copy(), ring_offsets=offsets)


def boxes(traced: Traced) -> Traced:
    """The smallest rectangle around each polygon, at any angle, its shell alone."""
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        traced.coordinates.astype(np.float64),
        (traced.ring_offsets, traced.polygon_offsets),
    )
    around = shapely.orient_polygons(shapely.oriented_envelope(polygons), exterior_cw=True)
    _, coordinates, (rings, offsets) = shapely.to_ragged_array(around)
    return replace(
        traced,
        coordinates=coordinates,
        ring_offsets=rings.astype(np.int64),
        polygon_offsets=offsets.astype(np.int64),
    )
