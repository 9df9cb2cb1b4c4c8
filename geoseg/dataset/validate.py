"""Checks of the scenes of a dataset: their objects, duplicate images, and overlaps of splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import OUTLINES, QUADS, Annotations
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.dataset.record import hash_ends
from geoseg.dataset.sources import SourceScene
from geoseg.dataset.split import compute_footprint
from geoseg.files import sha256
from geoseg.raster.scene import SceneInfo

_SHARED = 1e-6  # of a scene's area: neighbours have a border in common only


def validate_objects(
    scene: SourceScene, report: ValidationReport, *, drop_difficult: bool
) -> SourceScene:
    """Remove objects outside the scene, duplicates and, if asked for, difficult objects."""
    layers = {}
    for layer, objects in scene.layers.items():
        inside, cut = find_inside(objects, scene.image)
        duplicate = inside & find_duplicates(objects)
        marked = objects.difficult & inside & ~duplicate & drop_difficult
        for kind, action, affected in (
            (IssueKind.OUTSIDE, Action.LEFT_OUT, ~inside),
            (IssueKind.CUT, Action.KEPT, cut & ~duplicate & ~marked),
            (IssueKind.DUPLICATE_OBJECT, Action.LEFT_OUT, duplicate),
            (IssueKind.DIFFICULT, Action.LEFT_OUT, marked),
        ):
            count = int(affected.sum())
            file = scene.files[layer]
            report.add(kind, file, action, scene=scene.name, count=count, note=layer)
        layers[layer] = objects[inside & ~duplicate & ~marked]
    if layers.get(QUADS) and OUTLINES in layers and not layers[OUTLINES]:
        count = len(layers[QUADS])
        file = scene.files[QUADS]
        report.add(IssueKind.NO_OUTLINE, file, Action.KEPT, scene=scene.name, count=count)
    return replace(scene, layers=layers)


def find_inside(
    annotations: Annotations, image: SceneInfo
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find annotations whose interior intersects the image, and those that the edge of the image cuts.

    Returns
    -------
    two (n,) arrays of bool
    """
    left, top, right, bottom = shapely.bounds(annotations.geometry).reshape(-1, 4).T
    whole = (left >= 0) & (top >= 0) & (right <= image.width) & (bottom <= image.height)
    inside = whole.copy()
    across = annotations.geometry[~whole]
    inside[~whole] = shapely.area(shapely.clip_by_rect(across, 0, 0, image.width, image.height)) > 0
    return inside, inside & ~whole


def find_duplicates(annotations: Annotations) -> NDArray[np.bool_]:
    """Return (n,) True for annotations with the class and geometry of an earlier one, at any start of the ring."""
    wkb = shapely.to_wkb(shapely.normalize(annotations.geometry))
    first: dict[tuple[int, bytes], int] = {}
    earliest = [
        first.setdefault(key, number)
        for number, key in enumerate(zip(annotations.class_id.tolist(), wkb, strict=True))
    ]
    duplicate: NDArray[np.bool_] = np.array(earliest, int) != np.arange(len(annotations))
    return duplicate


def report_duplicate_images(scenes: Sequence[SourceScene], report: ValidationReport) -> None:
    """Add images with the same bytes to the report. Only files with the same ends are read completely."""
    candidates: dict[tuple[int, str], list[Path]] = {}
    for path in dict.fromkeys(scene.path for scene in scenes):
        candidates.setdefault((path.stat().st_size, hash_ends(path)), []).append(path)
    first: dict[str, Path] = {}
    for path in (path for paths in candidates.values() if len(paths) > 1 for path in paths):
        other = first.setdefault(sha256(path), path)
        if other != path:
            report.add(IssueKind.DUPLICATE_SCENE, path, Action.KEPT, note=f"the same as {other}")


def report_overlaps(scenes: Sequence[SourceScene], report: ValidationReport) -> None:
    """Add scenes of different splits that overlap on the ground to the report."""
    by_split: dict[str | None, list[SourceScene]] = {}
    for scene in scenes:
        if scene.located:
            by_split.setdefault(scene.split, []).append(scene)
    ground = {split: _compute_footprints(scenes) for split, scenes in by_split.items()}
    for one, other in combinations(by_split, 2):
        pairs = shapely.STRtree(ground[other]).query(ground[one], predicate="intersects").T
        for a, b in pairs:
            shared = shapely.area(shapely.intersection(ground[one][a], ground[other][b]))
            if shared > _SHARED * shapely.area(ground[one][a]):
                scene, overlapping = by_split[one][a], by_split[other][b]
                report.add(
                    IssueKind.SHARED_GROUND,
                    scene.path,
                    Action.KEPT,
                    scene=scene.name,
                    note=f"in {one}, with {overlapping.name} in {other}",
                )


def _compute_footprints(scenes: Sequence[SourceScene]) -> NDArray[np.object_]:
    images = [scene.image for scene in scenes]
    windows = [Window(0, 0, image.width, image.height) for image in images]
    return np.array(
        [compute_footprint(i.transform, w) for i, w in zip(images, windows, strict=True)], object
    )
