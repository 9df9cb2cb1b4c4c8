"""Areas and lengths on the ground of polygons that come without."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.polygons.attributes import area_m2, perimeter_m
from geoseg.polygons.trace import Traced

_BATCH = 20_000


def measured(
    geometry: NDArray[np.object_], crs: CRS | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) areas in m² and (n,) lengths of outlines in m, holes included, as `geoseg.polygons` measures
    them; nan where nobody knows the metres.
    """
    area, length = np.zeros((2, len(geometry)))
    for first in range(0, len(geometry), _BATCH):
        parts, owner = shapely.get_parts(geometry[first : first + _BATCH], return_index=True)
        traced = _traced(parts)
        np.add.at(area, owner + first, area_m2(traced, Affine.identity(), crs))
        np.add.at(length, owner + first, perimeter_m(traced, Affine.identity(), crs))
    return area, length


def _traced(polygons: NDArray[np.object_]) -> Traced:
    """Polygons in map coordinates as if they had been traced there."""
    _, xy, (rings, parts) = shapely.to_ragged_array(polygons)
    count = len(polygons)
    return Traced(
        class_id=np.zeros(count, np.uint8),
        pixels=shapely.area(polygons),  # of one square unit each
        confidence_mean=np.zeros(count, np.float32),
        confidence_min=np.zeros(count, np.float32),
        touches_edge=np.zeros(count, bool),
        perimeter_xy=np.zeros((count, 2), np.int64),
        coordinates=xy,
        ring_offsets=np.asarray(rings, np.int64),
        polygon_offsets=np.asarray(parts, np.int64),
    )
