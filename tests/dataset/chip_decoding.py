"""Decode the annotations of chips as the tools that read them do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


def pixels_of_rle(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """Decode uncompressed run lengths to (h, w) pixels, as COCO's own tools do."""
    height, width = segmentation["size"]
    found = coco_mask.decode(coco_mask.frPyObjects(segmentation, height, width))
    return np.asarray(found, bool)


def polygon_of(segmentation: list[list[float]]) -> shapely.Geometry:
    """Return the polygon or multipolygon of COCO's lists of corners."""
    parts = [shapely.Polygon(np.reshape(ring, (-1, 2))) for ring in segmentation]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def yolo(path: Path, width: int, height: int) -> list[tuple[int, shapely.Polygon]]:
    """Return class number and polygon of every line, in pixels, after the checks of Ultralytics."""
    found = []
    for line in path.read_text().splitlines():
        number, *values = line.split()
        shares = np.array(values, float).reshape(-1, 2)
        assert len(shares) >= 3
        assert shares.min() >= 0
        assert shares.max() <= 1
        found.append((int(number), shapely.Polygon(shares * (width, height))))
    return found
