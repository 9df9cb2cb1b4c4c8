"""Map of polygons in one HTML file, for a browser without a GIS."""

from __future__ import annotations

import logging
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
from geoseg.options import StrPath, ViewOptions
from geoseg.raster.georeference import is_undefined
from geoseg.report.features import Features, measure_polygons, read_features
from geoseg.report.map import (
    MapExtent,
    format_crs,
    make_extent,
    merge_bounds,
    render_map,
    total_bounds,
)
from geoseg.report.page import write_page
from geoseg.report.quicklook import Quicklook, read_quicklook

log = logging.getLogger(__name__)


def view(
    polygons: StrPath,
    output: StrPath,
    *,
    scene: StrPath | None = None,
    options: ViewOptions = ViewOptions(),
) -> Path:
    """Write a map of the polygons of a vector file as one self-contained HTML file.

    Parameters
    ----------
    polygons
        GeoPackage, GeoParquet, FlatGeobuf, GeoJSON or Shapefile.
    output
        HTML file.
    scene
        Raster to show below the polygons, which are transformed to its CRS.
    options
        Layers and column of the class, size of the image and of the page, and treatment of an existing
        file. The default column is the one by which the QGIS style of the file classifies, else the
        first of `geoseg.report.features.CLASS_COLUMNS` in the file. The page has a note if outlines were
        simplified.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    SceneError
        If polygons or scene cannot be read.
    ConfigError
        If `output` is not ``.html``, or if the page cannot be made small enough.
    OutputError
        If `output` exists or cannot be written.
    """
    polygons, output, scene = Path(polygons), Path(output), Path(scene) if scene else None
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{output}: maps are written as HTML. Use a file name that ends in .html")
    check_output(output, overwrite=options.overwrite)
    features = read_features(polygons, layers=options.layers, class_column=options.class_column)
    for note in features.notes:
        log.warning("%s: %s", polygons, note)
    quicklook = read_quicklook(scene, size=options.size, enlarge=1.0) if scene else None
    notes: list[str] = []
    if scene and quicklook:
        features = _select_scene(features, scene)
        features, notes = _reproject(features, quicklook, polygons, scene)
    crs = quicklook.crs if quicklook else _read_crs(features)
    features = _add_measures(features, crs)
    extent, outside = _find_extent(features, quicklook, crs)
    if outside and scene:
        log.warning("%s: %s", polygons, outside)
        notes.append(outside)
    title = scene.stem if scene else polygons.stem
    source = f"{polygons.name}{f' over {scene.name}' if scene else ''}"
    html = render_map(
        features,
        extent,
        quicklook,
        title=title,
        source=source,
        notes=notes,
        max_bytes=int(options.max_mb * 1e6),
    )
    return write_page(html, output, overwrite=options.overwrite)


def _select_scene(features: Features, scene: Path) -> Features:
    """Select the polygons of one scene from a file with several."""
    names = features.columns.get("scene")
    if names is None or scene.name not in names:
        return features
    selected = np.asarray(names == scene.name, bool)
    if selected.all():
        return features
    note = f"{(~selected).sum():,} polygons of other scenes are not shown."
    return features.select(selected, note)


def _reproject(
    features: Features, quicklook: Quicklook, polygons: Path, scene: Path
) -> tuple[Features, list[str]]:
    """Transform polygons to the CRS of the scene; return notes for the page."""
    source, target = _read_crs(features), quicklook.crs
    if source is None or target is None:
        if source is not target:
            bare, other = (polygons, scene) if source is None else (scene, polygons)
            log.warning("%s: no CRS; the CRS of %s is assumed", bare, other.name)
            return features, [f"{bare.name} has no CRS; the CRS of {other.name} is assumed."]
        return features, []
    if source == target or pyproj.CRS(source.to_wkt()).equals(
        target.to_wkt(), ignore_axis_order=True
    ):
        return features, []
    try:
        to_scene = pyproj.Transformer.from_crs(source.to_wkt(), target.to_wkt(), always_xy=True)
        moved = shapely.transform(features.geometry, to_scene.transform, interleaved=False)
    except ProjError as error:
        raise SceneError(
            f"{polygons}: cannot be transformed to the CRS of {scene} ({error}). Reproject it first"
        ) from error
    note = f"Polygons were transformed from {format_crs(source)} to {format_crs(target)}."
    log.info("%s: %s", polygons, note)
    result = replace(features, geometry=moved, crs=target.to_wkt())
    known = np.isfinite(shapely.bounds(moved)).all(axis=1)
    if not known.any():
        raise SceneError(
            f"{polygons}: outside the area of the CRS of {scene}. Check the CRS of both"
        )
    if not known.all():
        lost = f"{(~known).sum():,} polygons lie outside the area of that CRS and are not shown."
        result = result.select(known, lost)
    return result, [note]


def _read_crs(features: Features) -> CRS | None:
    try:
        crs = CRS.from_user_input(features.crs) if features.crs else None
    except CRSError:
        return None
    return None if crs is None or is_undefined(crs.to_wkt()) else crs


def _add_measures(features: Features, crs: CRS | None) -> Features:
    """Add areas and perimeters to polygons without them."""
    if crs is None or "area_m2" in features.columns:
        return features
    area, length = measure_polygons(features.geometry, crs)
    columns = {**features.columns, "area_m2": area, "perimeter_m": length}
    return replace(features, columns=columns)


def _find_extent(
    features: Features, quicklook: Quicklook | None, crs: CRS | None
) -> tuple[MapExtent, str | None]:
    """Return the extent of the map, and a note if polygons lie outside the scene."""
    boxes = shapely.bounds(features.geometry)
    bounds = total_bounds(boxes)
    if quicklook is None:
        return make_extent(bounds, bounds, crs=crs, pixel=None), None
    left, bottom, right, top = home = quicklook.bounds
    outside = (
        (boxes[:, 2] < left) | (boxes[:, 0] > right) | (boxes[:, 3] < bottom) | (boxes[:, 1] > top)
    )
    extent = make_extent(merge_bounds(home, bounds), home, crs=crs, pixel=quicklook.scene_pixel)
    if not outside.any():
        return extent, None
    if outside.all():
        return extent, "No polygon lies on the scene. Check that both files belong together."
    return extent, f"{outside.sum():,} polygons lie outside the scene."
