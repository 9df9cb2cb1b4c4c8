"""Where a scene lies on a label raster."""

from __future__ import annotations

from pathlib import Path

from affine import Affine
from rasterio.io import DatasetReader

from geoseg.errors import AnnotationError
from geoseg.ground import on_one_grid
from geoseg.scene import SceneInfo


def place_on(labels: DatasetReader, path: Path, scene: SceneInfo) -> tuple[int, int]:
    """Column and row of the labels at the scene's first pixel.

    Raises AnnotationError when pixels of both are not one upon the other.
    """
    where = f"{path}: has {labels.width} x {labels.height} pixels, {scene.path} {scene.width} x {scene.height}"
    if Affine.identity() in (labels.transform, scene.transform):
        if (labels.width, labels.height) != (scene.width, scene.height):
            raise AnnotationError(f"{where}. use the labels of this image")
        return 0, 0
    if labels.crs and scene.crs and labels.crs != scene.crs:
        raise AnnotationError(
            f"{path}: has another coordinate reference system than {scene.path}. bring it onto the scene's "
            "grid: gdalwarp -r near"
        )
    across = ~labels.transform @ scene.transform
    left, top = round(across.c), round(across.f)
    aligned = labels.transform @ Affine.translation(left, top)
    if not on_one_grid(aligned, scene.transform, width=scene.width, height=scene.height):
        raise AnnotationError(
            f"{path}: is not on the grid of {scene.path}; pixels of one lie between those of the other. "
            "bring it onto it: gdalwarp -r near -tr and -te of the scene"
        )
    return left, top
