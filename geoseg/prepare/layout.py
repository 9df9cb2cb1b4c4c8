"""Where scenes without a georeference lie on the plane: side by side on shelves, so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from affine import Affine

_GAP = 32  # between neighbours, in the units of the plane


@dataclass(frozen=True, slots=True)
class Extent:
    """What a scene and its annotations take up, in pixels of the scene (x right, y down)."""

    left: float
    top: float
    right: float
    bottom: float

    unit: float
    """Units of the plane per pixel: metres where they are known, else 1."""


def shelves(extents: Sequence[Extent]) -> list[Affine]:
    """A transform per scene from its pixels (y down) to the plane (y up), all extents apart.

    Tallest first, in rows as long as makes the whole roughly square; the transforms come in the
    order of the extents. None begins at (0, 0), where a transform of 1 and -1 is none to GDAL.
    """
    cells = [
        (ceil((e.right - e.left) * e.unit) + _GAP, ceil((e.bottom - e.top) * e.unit) + _GAP)
        for e in extents
    ]
    row_width = max([ceil(sqrt(sum(w * h for w, h in cells))), *(w for w, _ in cells)], default=0)
    transforms = [Affine.identity()] * len(cells)
    x, y, row_height = _GAP, -_GAP, 0
    for i in sorted(range(len(cells)), key=lambda i: (-cells[i][1], i)):
        width, height = cells[i]
        if x + width > row_width + _GAP:
            x, y, row_height = _GAP, y - row_height, 0
        extent = extents[i]
        origin = (x - extent.left * extent.unit, y + extent.top * extent.unit)
        transforms[i] = Affine(extent.unit, 0, origin[0], 0, -extent.unit, origin[1])
        x, row_height = x + width, max(row_height, height)
    return transforms
