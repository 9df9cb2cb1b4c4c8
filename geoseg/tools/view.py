"""Polygons → a map in one HTML file, for people without a GIS."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import shapely
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoseg.errors import ConfigError, SceneError
from geoseg.files import check_output
from geoseg.report.backdrop import Backdrop, read_backdrop
from geoseg.report.features import Features, read_features
from geoseg.report.map import Ground, box_of, crs_name, ground_of, map_page, measured, union
from geoseg.report.page import write_page

log = logging.getLogger(__name__)

MAX_MB = 20.0
PICTURE_SIZE = 2048


def view(
    polygons: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    scene: str | os.PathLike[str] | None = None,
    layers: Sequence[str] = (),
    class_column: str | None = None,
    size: int = PICTURE_SIZE,
    max_mb: float = MAX_MB,
    overwrite: bool = False,
) -> Path:
    """Write a map of the polygons of a vector file to `output` (``.html``) and return it.

    The page is complete in itself and asks no network. Below the polygons lies `scene`, its longer
    side `size` pixels at most; polygons in another CRS than the scene's are brought into it. What
    `layers` and `class_column` mean is said at `geoseg.report.features.read_features`.

    The page takes `max_mb` MB at most; outlines are simplified until it does, and it says what
    was simplified or left out. Raises SceneError, ConfigError, OutputError.
    """
    polygons, output, scene = Path(polygons), Path(output), Path(scene) if scene else None
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{output}: a map is a web page. give it a name in .html")
    check_output(output, overwrite=overwrite)
    features = read_features(polygons, layers=layers, class_column=class_column)
    for note in features.notes:
        log.warning("%s: %s", polygons, note)
    backdrop = read_backdrop(scene, size=size, enlarge=1.0) if scene else None
    notes: list[str] = []
    if scene and backdrop:
        features = _of_scene(features, scene)
        features, notes = _in_crs_of(features, backdrop, polygons, scene)
    crs = backdrop.crs if backdrop else _crs(features)
    features = _with_measures(features, crs)
    ground, outside = _ground(features, backdrop, crs)
    if outside and scene:
        log.warning("%s: %s", polygons, outside)
        notes.append(outside)
    title = scene.stem if scene else polygons.stem
    source = f"{polygons.name}{f' over {scene.name}' if scene else ''}"
    html = map_page(
        features,
        ground,
        backdrop,
        title=title,
        source=source,
        notes=notes,
        max_bytes=int(max_mb * 1e6),
    )
    return write_page(html, output, overwrite=overwrite)


def _of_scene(features: Features, scene: Path) -> Features:
    """Of a file with the polygons of several scenes, those of this one."""
    of = features.columns.get("scene")
    if of is None or scene.name not in of:
        return features
    mine = np.asarray(of == scene.name, bool)
    if mine.all():
        return features
    return features.where(mine, f"{(~mine).sum():,} polygons of other scenes are not shown.")


def _in_crs_of(
    features: Features, backdrop: Backdrop, polygons: Path, scene: Path
) -> tuple[Features, list[str]]:
    """Polygons in the scene's CRS, and what to say of it."""
    own, theirs = _crs(features), backdrop.crs
    if own is None or theirs is None:
        if own is not theirs:
            bare = polygons if own is None else scene
            log.warning("%s: has no CRS; its coordinates are taken for those of the other", bare)
            note = f"{bare.name} has no coordinate reference system; its coordinates are taken as they are."
            return features, [note]
        return features, []
    if own == theirs or pyproj.CRS(own.to_wkt()).equals(theirs.to_wkt(), ignore_axis_order=True):
        return features, []
    try:
        to_scene = pyproj.Transformer.from_crs(own.to_wkt(), theirs.to_wkt(), always_xy=True)
        moved = shapely.transform(features.geometry, to_scene.transform, interleaved=False)
    except ProjError as error:
        raise SceneError(
            f"{polygons}: cannot be brought into the CRS of {scene} ({error}). reproject it first"
        ) from error
    note = f"Polygons were brought from {crs_name(own)} into the scene's {crs_name(theirs)}."
    log.info("%s: %s", polygons, note)
    found = replace(features, geometry=moved, crs=theirs.to_wkt())
    known = np.isfinite(shapely.bounds(moved)).all(axis=1)
    if not known.any():
        raise SceneError(f"{polygons}: lies nowhere in the CRS of {scene}. check the CRS of both")
    if not known.all():
        found = found.where(
            known, f"{(~known).sum():,} polygons lie nowhere in it and are not shown."
        )
    return found, [note]


def _crs(features: Features) -> CRS | None:
    try:
        crs = CRS.from_user_input(features.crs) if features.crs else None
    except CRSError:
        return None
    # GDAL's word for a layer that says that nobody knows
    return None if crs is None or "undefined" in crs.to_wkt()[:40].lower() else crs


def _with_measures(features: Features, crs: CRS | None) -> Features:
    """Areas and lengths, where the file tells none and they can be known."""
    if crs is None or "area_m2" in features.columns:
        return features
    area, length = measured(features.geometry, crs)
    columns = {**features.columns, "area_m2": area, "perimeter_m": length}
    return replace(features, columns=columns)


def _ground(
    features: Features, backdrop: Backdrop | None, crs: CRS | None
) -> tuple[Ground, str | None]:
    """The ground of the map, and a sentence where polygons lie outside the scene."""
    boxes = shapely.bounds(features.geometry)
    around = box_of(boxes)
    if backdrop is None:
        return ground_of(around, around, crs=crs, pixel=None), None
    left, bottom, right, top = home = backdrop.bounds
    away = (
        (boxes[:, 2] < left) | (boxes[:, 0] > right) | (boxes[:, 3] < bottom) | (boxes[:, 1] > top)
    )
    ground = ground_of(union(home, around), home, crs=crs, pixel=backdrop.scene_pixel)
    if not away.any():
        return ground, None
    if away.all():
        return ground, "No polygon lies on the scene: do both belong together?"
    return ground, f"{away.sum():,} polygons lie outside the scene."
