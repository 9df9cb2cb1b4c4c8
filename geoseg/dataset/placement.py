"""Positions of the scenes of a dataset: georeferenced, or laid out side by side on a plane.

Scenes with a CRS keep their transform and must share the CRS. Without a CRS, scenes with a geotransform (for example
from a world file) keep it as well: their coordinates are taken as one local coordinate system, so scenes of different
local systems are to be prepared separately. All other scenes are laid out side by side, to the right of those, with y
up, in metres where the pixel size is known and else in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from geoseg.annotations.burn import transform_geometry
from geoseg.dataset.sources import SourceScene
from geoseg.errors import SceneError
from geoseg.raster.georeference import format_crs
from geoseg.raster.scene import SceneInfo

_GAP = 32  # between neighbours, in units of the plane


@dataclass(frozen=True, slots=True)
class Extent:
    """Bounds of a scene and its annotations, in pixels of the scene (x right, y down)."""

    left: float
    top: float
    right: float
    bottom: float

    unit: float
    """Units of the plane per pixel: metres per pixel if known, else 1."""


def place_scenes(scenes: Sequence[SourceScene]) -> list[SourceScene]:
    """Replace the transforms of scenes that are not located.

    No CRS is assigned to the plane: an engineering CRS is read back differently from GeoTIFF and GeoPackage, and a GIS
    would search for a transformation between the two. Raises SceneError if CRSs differ.
    """
    find_common_crs([scene.image for scene in scenes])
    files: dict[str, list[int]] = {}
    for n, scene in enumerate(scenes):
        if not scene.located:
            files.setdefault(scene.stem, []).append(n)
    located = [scene for scene in scenes if scene.located]
    x, y = _upper_right(located) if located else (0, 0)
    extents = [_compute_extent([scenes[n] for n in parts]) for parts in files.values()]
    placed = list(scenes)
    for parts, transform in zip(files.values(), arrange_on_shelves(extents, x=x, y=y), strict=True):
        for n in parts:
            placed[n] = _move_scene(scenes[n], transform)
    return placed


def _move_scene(scene: SourceScene, transform: Affine) -> SourceScene:
    """Replace the transform of the image of a scene."""
    whole = scene.whole and replace(scene.whole, transform=transform)
    own = transform @ Affine.translation(*scene.corner)
    return replace(scene, image=replace(scene.image, transform=own), whole=whole)


def find_common_crs(images: Sequence[SceneInfo]) -> CRS | None:
    """Return the CRS of all images, or None if none has one. Raises SceneError if they differ."""
    first = images[0]
    for image in images:
        if image.crs != first.crs:
            raise SceneError(
                f"{image.path}: has {format_crs(image.crs)}, but {first.path.name} has "
                f"{format_crs(first.crs)}. Reproject to one CRS with gdalwarp -t_srs, or prepare them "
                "separately"
            )
    return first.crs


def arrange_on_shelves(extents: Sequence[Extent], *, x: int = 0, y: int = 0) -> list[Affine]:
    """Arrange extents side by side in rows.

    Parameters
    ----------
    extents
        Extents of scenes.
    x, y
        Upper left corner of the rows, in units of the plane.

    Returns
    -------
    list of Affine
        Transforms from pixels (y down) to the plane (y up), in the order of the extents.

    Notes
    -----
    Tallest first, in rows of a length that makes the whole roughly square. No scene starts at (0, 0): GDAL takes a
    transform with that origin and pixel sizes of 1 and -1 as missing.
    """
    cells = [
        (ceil((e.right - e.left) * e.unit) + _GAP, ceil((e.bottom - e.top) * e.unit) + _GAP)
        for e in extents
    ]
    row_width = max([ceil(sqrt(sum(w * h for w, h in cells))), *(w for w, _ in cells)], default=0)
    transforms = [Affine.identity()] * len(cells)
    start = x + _GAP
    left, top, row_height = start, y - _GAP, 0
    for i in sorted(range(len(cells)), key=lambda i: (-cells[i][1], i)):
        width, height = cells[i]
        if left + width > start + row_width:
            left, top, row_height = start, top - row_height, 0
        extent = extents[i]
        origin = (left - extent.left * extent.unit, top + extent.top * extent.unit)
        transforms[i] = Affine(extent.unit, 0, origin[0], 0, -extent.unit, origin[1])
        left, row_height = left + width, max(row_height, height)
    return transforms


def _compute_extent(scenes: Sequence[SourceScene]) -> Extent:
    """Return the extent of the image of some scenes and of the objects that reach across its edge."""
    image = scenes[0].whole or scenes[0].image
    bounds = [np.array([[0.0, 0.0, image.width, image.height]])]
    for scene in scenes:
        corner = np.tile(scene.corner, 2)
        bounds += [
            shapely.bounds(o.geometry).reshape(-1, 4) + corner for o in scene.layers.values()
        ]
    every = np.concatenate(bounds)
    left, top = np.floor(every[:, :2].min(axis=0))
    right, bottom = np.ceil(every[:, 2:].max(axis=0))
    return Extent(float(left), float(top), float(right), float(bottom), scenes[0].gsd or 1.0)


def _upper_right(scenes: Sequence[SourceScene]) -> tuple[int, int]:
    """Return the right and top edge of located scenes, in their coordinates."""
    boxes = [
        transform_geometry(
            np.array([shapely.box(0, 0, s.image.width, s.image.height)], object), s.image.transform
        )[0]
        for s in scenes
    ]
    _, _, right, top = shapely.total_bounds(boxes).tolist()
    return ceil(right), ceil(top)
