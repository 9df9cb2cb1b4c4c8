"""Checks of the scenes of a dataset: their objects, duplicate images, and overlaps of splits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import OUTLINES, QUADS, Annotations, shift_annotations
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.dataset.record import hash_ends
from geoseg.dataset.sources import SourceScene
from geoseg.dataset.split import TRAIN, VAL, compute_footprint
from geoseg.files import sha256
from geoseg.legend import IGNORE, Legend
from geoseg.raster.scene import SceneInfo

log = logging.getLogger(__name__)

_SHARED = 1e-6  # of a scene's area: neighbours have a border in common only


def validate_objects(
    scene: SourceScene, report: ValidationReport, *, drop_difficult: bool
) -> SourceScene:
    """Remove objects outside the scene or the annotated area, duplicates and, if asked for, difficult objects."""
    layers = {}
    for layer, objects in scene.layers.items():
        inside, cut = find_inside(objects, scene.image)
        if scene.whole is not None:  # borders between blocks are no edges
            _, cut = find_inside(shift_annotations(objects, *scene.corner), scene.whole)
        duplicate = inside & find_duplicates(objects)
        marked = objects.difficult & inside & ~duplicate & drop_difficult
        beyond, across = find_outside_area(objects)
        beyond &= inside & ~duplicate & ~marked
        for kind, action, affected in (
            (IssueKind.OUTSIDE, Action.LEFT_OUT, ~inside),
            (IssueKind.CUT, Action.KEPT, cut & ~duplicate & ~marked),
            (IssueKind.DUPLICATE_OBJECT, Action.LEFT_OUT, duplicate),
            (IssueKind.DIFFICULT, Action.LEFT_OUT, marked),
            (IssueKind.OUTSIDE_AREA, Action.LEFT_OUT, beyond),
            (IssueKind.CUT_BY_AREA, Action.KEPT, across & inside & ~duplicate & ~marked),
        ):
            count = int(affected.sum())
            file = scene.files[layer]
            report.add(kind, file, action, scene=scene.name, count=count, note=layer)
        layers[layer] = objects[inside & ~duplicate & ~marked & ~beyond]
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


def find_outside_area(
    annotations: Annotations,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find annotations outside of the annotated area, and those that its border cuts.

    Returns
    -------
    two (n,) arrays of bool
    """
    if annotations.area is None:
        return np.zeros(len(annotations), bool), np.zeros(len(annotations), bool)
    shapely.prepare(annotations.area)
    within = shapely.covers(annotations.area, annotations.geometry)
    outside = np.zeros(len(annotations), bool)
    common = shapely.intersection(annotations.geometry[~within], annotations.area)
    outside[~within] = shapely.area(common) == 0
    return outside, ~within & ~outside


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


def select_annotated(scenes: Sequence[SourceScene], report: ValidationReport) -> list[SourceScene]:
    """Return the scenes that have an annotated area; others are added to the report."""
    selected = []
    for scene in scenes:
        if scene.area is None or scene.area.area > 0:
            selected.append(scene)
        else:
            report.add(IssueKind.NOT_ANNOTATED, scene.path, Action.LEFT_OUT, scene=scene.name)
    return selected


def report_missing_classes(
    scenes: Sequence[SourceScene], legend: Legend, report: ValidationReport
) -> None:
    """Add classes that occur in the dataset, but not in *train* or *val*, to the report and log them."""
    occurring: dict[str | None, set[int]] = {}
    for scene in scenes:
        for objects in scene.layers.values():
            occurring.setdefault(scene.split, set()).update(objects.class_id.tolist())
    every = set().union(*occurring.values()) - {IGNORE}
    for split in (TRAIN, VAL):
        missing = (
            [legend.name_of(c) for c in sorted(every - occurring[split])]
            if split in occurring
            else []
        )
        for name in missing:
            report.add(
                IssueKind.MISSING_CLASS, scenes[0].path, Action.KEPT, note=f"{name}, not in {split}"
            )
        if missing:
            log.warning(
                "no object in %s of: %s. Annotate more of them, or choose another --val-share, or in geoseg prepare "
                "another --block or --split-list",
                *(split, ", ".join(missing)),
            )


_CELLS = 8  # along the longer side of a scene
_EMPTY_SHARE = 0.5
_DENSE = 3  # objects in a cell with any


def report_sparse_annotations(scenes: Sequence[SourceScene], report: ValidationReport) -> None:
    """Warn once if much of a scene holds no annotation although the rest holds many, and no area is given."""
    sparse = []
    for scene in scenes:
        share, density = measure_empty_cells(scene)
        if scene.area is None and share >= _EMPTY_SHARE and density >= _DENSE:
            report.add(
                IssueKind.SPARSE, scene.path, Action.KEPT, scene=scene.name, note=f"{share:.0%}"
            )
            sparse.append((scene, share))
    if sparse:
        scene, share = sparse[0]
        others = f" ({len(sparse) - 1} other scenes likewise)" if len(sparse) > 1 else ""
        log.warning(
            "%s: no annotation in %.0f %% of the scene, many in the rest%s. Objects that are not annotated are "
            "trained as background: name the annotated part with --annotated-area, or outline the other part "
            "with class ignore",
            *(scene.path, 100 * share, others),
        )


def measure_empty_cells(scene: SourceScene) -> tuple[float, float]:
    """Return the share of cells of a grid on a scene without an annotation, and the mean number in the others."""
    image = scene.image
    side = max(image.width, image.height) / _CELLS
    columns, rows = (max(1, round(length / side)) for length in (image.width, image.height))
    count = np.zeros((rows, columns), int)
    for objects in scene.layers.values():
        bounds = shapely.bounds(objects.geometry).reshape(-1, 4)
        cells = (bounds / (image.width, image.height, image.width, image.height)) * (
            columns,
            rows,
            columns,
            rows,
        )
        first = cells[:, :2].astype(int).clip(0, (columns - 1, rows - 1))
        last = cells[:, 2:].astype(int).clip(0, (columns - 1, rows - 1))
        for (left, top), (right, bottom) in zip(first, last, strict=True):
            count[top : bottom + 1, left : right + 1] += 1
    used = count > 0
    return float(1 - used.mean()), float(count[used].mean()) if used.any() else 0.0
