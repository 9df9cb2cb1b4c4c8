"""Where each scene of a dataset lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from geoseg.annotations import Annotations
from geoseg.errors import SceneError
from geoseg.prepare.layout import Extent, shelves
from geoseg.scene import SceneInfo


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
