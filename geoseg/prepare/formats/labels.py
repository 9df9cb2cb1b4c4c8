"""Label rasters: the class of every pixel of a scene, as an id or as a colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.windows import Window

from geoseg.errors import AnnotationError, SceneError
from geoseg.files import Source
from geoseg.legend import BACKGROUND, IGNORE, IGNORED
from geoseg.polygons.trace import trace
from geoseg.prepare.drawn import Drawn
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.prepare.formats.colours import colours_named
from geoseg.prepare.formats.label_files import label_files
from geoseg.prepare.formats.label_grid import place_on
from geoseg.prepare.formats.label_raster import LabelRaster, open_label_raster
from geoseg.prepare.reading import Reading
from geoseg.scene import SceneInfo


def read_labels(path: Path, images: Sequence[SceneInfo], reading: Reading, /) -> list[Drawn | None]:
    """The regions of label rasters, along the edges of their pixels: burning them gives the labels back.

    `path` is a folder of rasters named as the scenes (`label_files`), or one raster for all of them. A raster
    has the scene's size, or lies on its grid; what of the scene it does not cover is ignored. Without
    `reading.colours` it holds class ids: 0 is background, 255 and nodata are ignored, names are those
    of `reading.legend`, else the raster's own (`geoseg.polygons.raster_legend`). Ignored ground becomes
    objects named IGNORED. Rasters are read by strips.

    What is wrong with a raster is told as a fault of its scenes. Raises AnnotationError when no raster belongs
    to a scene or none holds a class, ConfigError for unknown `reading.colours`.
    """
    colours = colours_named(reading.colours) if reading.colours else None
    findings = reading.findings
    found: dict[Source, Drawn] = {}
    for file, scenes in label_files(path, images, findings).items():
        with (
            _told(findings),
            open_label_raster(file, legend=reading.legend, colours=colours) as raster,
        ):
            for scene in scenes:
                with _told(findings):
                    found[scene.path] = _regions(raster, scene, findings)
    names = {name for drawn in found.values() for name in drawn.name}
    if names == {IGNORED}:
        raise AnnotationError(
            f"{path}: holds no class, only background and what is ignored. if {IGNORE} is a class, name it in a "
            "file for --colours"
        )
    return [found.get(scene.path) for scene in images]


@contextmanager
def _told(findings: Findings) -> Iterator[None]:
    """Tell of a fault instead of raising it."""
    try:
        yield
    except (AnnotationError, SceneError) as fault:
        findings.fault(fault)


def _regions(raster: LabelRaster, scene: SceneInfo, findings: Findings) -> Drawn:
    """What a raster says about a scene."""
    left, top = place_on(raster.dataset, raster.path, scene)
    columns, rows = raster.dataset.width, raster.dataset.height
    first, last = max(left, 0), min(left + scene.width, columns)
    upper, lower = max(top, 0), min(top + scene.height, rows)
    if first >= last or upper >= lower:
        raise AnnotationError(
            f"{scene.path}: lies nowhere on {raster.path}. leave it out, or name its labels"
        )
    placed = Affine.translation(first - left, upper - top)
    strips = raster.strips(Window(first, upper, last - first, lower - upper))
    batches = [(t.geometry(placed), t.class_id) for t in trace(strips, skip=(BACKGROUND,))]
    raster.check()
    covered = shapely.box(first - left, upper - top, last - left, lower - top)
    bare = shapely.difference(shapely.box(0, 0, scene.width, scene.height), covered)
    if bare.area:
        batches.append((np.array([bare], object), np.array([IGNORE], np.uint8)))
        note = f"{bare.area / (scene.width * scene.height):.1%} of the scene, ignored"
        name = Path(scene.path).stem
        findings.add(Kind.NO_TRUTH, raster.path, Done.KEPT, scene=name, note=note)
    geometry = np.concatenate([np.empty(0, object), *(g for g, _ in batches)])
    label = np.concatenate([np.empty(0, np.uint8), *(ids for _, ids in batches)])
    return Drawn(geometry, raster.names[label], np.zeros(len(label), bool))
