"""Where scenes without a georeference lie on the plane: side by side on shelves, so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from geoseg.annotations.burn import Annotations
from geoseg.errors import SceneError
from geoseg.raster.scene import SceneInfo

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


# Where each scene of a dataset lies.


def common_crs(images: Sequence[SceneInfo]) -> CRS | None:
    """The CRS that all images share, or None when none has one.

    Raises SceneError when they differ.
    """
    first = images[0]
    for image in images:
        if image.crs != first.crs:
            raise SceneError(
                f"{image.path}: has {_name(image.crs)}, but {first.path.name} has "
                f"{_name(first.crs)}. give all one CRS with gdalwarp -t_srs, or prepare them apart"
            )
    return first.crs


def transforms(
    images: Sequence[SceneInfo],
    gsd: Sequence[float | None],
    objects: Sequence[Sequence[Annotations]],
) -> list[Affine]:
    """A transform per image from pixels to map coordinates, its own where it has a CRS.

    The others go side by side on one plane, with room for those `objects` of theirs that reach over
    the edge. No CRS says what this plane is: an engineering CRS comes back from GeoTIFF and
    GeoPackage as two different ones, and a GIS would then look for a way between them.
    """
    if common_crs(images) is not None:
        return [image.transform for image in images]
    return shelves(
        [
            _extent(image, unit or 1.0, truths)
            for image, unit, truths in zip(images, gsd, objects, strict=True)
        ]
    )


def _extent(image: SceneInfo, unit: float, truths: Sequence[Annotations]) -> Extent:
    box = shapely.box(0, 0, image.width, image.height)
    bounds = shapely.total_bounds([box, *(g for truth in truths for g in truth.geometry)])
    left, top = np.floor(bounds[:2])
    right, bottom = np.ceil(bounds[2:])
    return Extent(float(left), float(top), float(right), float(bottom), unit)


def _name(crs: CRS | None) -> str:
    if crs is None:
        return "no CRS"
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else f"the CRS {crs.to_wkt()[:60]}..."
