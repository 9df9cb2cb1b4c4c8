"""What is odd about the objects of a scene, and scenes that should not be there twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import OUTLINES, QUADS, Annotations
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.dataset.placement import common_crs
from geoseg.dataset.scenes import Input, ends
from geoseg.dataset.split import footprint
from geoseg.files import sha256
from geoseg.raster.scene import SceneInfo

_SHARED = 1e-6  # of a scene's area: neighbours share a border only


def checked(scene: Input, *, difficult: Literal["keep", "drop"], report: ValidationReport) -> Input:
    """A scene without objects outside it, objects that come twice, and, to be dropped, difficult ones."""
    truths = {}
    for layer, objects in scene.truths.items():
        within, cut = inside(objects, scene.image)
        twice = within & repeated(objects)
        marked = objects.difficult & within & ~twice & (difficult == "drop")
        for kind, done, found in (
            (IssueKind.OUTSIDE, Action.LEFT_OUT, ~within),
            (IssueKind.CUT, Action.KEPT, cut & ~twice & ~marked),
            (IssueKind.DUPLICATE_OBJECT, Action.LEFT_OUT, twice),
            (IssueKind.DIFFICULT, Action.LEFT_OUT, marked),
        ):
            count = int(found.sum())
            name = scene.source.name
            report.add(kind, scene.file(layer), done, scene=name, count=count, note=layer)
        truths[layer] = objects[within & ~twice & ~marked]
    if len(truths.get(QUADS, ())) and not len(truths.get(OUTLINES, "some")):
        report.add(
            IssueKind.NO_OUTLINE,
            scene.file(QUADS),
            Action.KEPT,
            scene=scene.source.name,
            count=len(truths[QUADS]),
        )
    return replace(scene, truths=truths)


def inside(
    annotations: Annotations, image: SceneInfo
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) True where the interior of an annotation reaches into the image, and where its edge cuts it."""
    left, top, right, bottom = shapely.bounds(annotations.geometry).reshape(-1, 4).T
    whole = (left >= 0) & (top >= 0) & (right <= image.width) & (bottom <= image.height)
    reaches = whole.copy()
    across = annotations.geometry[~whole]
    reaches[~whole] = (
        shapely.area(shapely.clip_by_rect(across, 0, 0, image.width, image.height)) > 0
    )
    return reaches, reaches & ~whole


def repeated(annotations: Annotations) -> NDArray[np.bool_]:
    """(n,) True for an annotation of the same class and geometry as an earlier one, wherever its ring begins."""
    wkb = shapely.to_wkb(shapely.normalize(annotations.geometry))
    first: dict[tuple[int, bytes], int] = {}
    earliest = [
        first.setdefault(key, number)
        for number, key in enumerate(zip(annotations.class_id.tolist(), wkb, strict=True))
    ]
    again: NDArray[np.bool_] = np.array(earliest, int) != np.arange(len(annotations))
    return again


def check_twins(inputs: Sequence[Input], report: ValidationReport) -> None:
    """Tell of images that have the same bytes. Only those that begin and end alike are read whole."""
    alike: dict[tuple[int, str], list[Path]] = {}
    for path in dict.fromkeys(i.source.image for i in inputs):
        alike.setdefault((path.stat().st_size, ends(path)), []).append(path)
    first: dict[str, Path] = {}
    for path in (path for paths in alike.values() if len(paths) > 1 for path in paths):
        twin = first.setdefault(sha256(path), path)
        if twin != path:
            report.add(IssueKind.DUPLICATE_SCENE, path, Action.KEPT, note=f"the same as {twin}")


def check_ground(inputs: Sequence[Input], report: ValidationReport) -> None:
    """Tell of scenes in different splits that show the same ground."""
    if common_crs([i.image for i in inputs]) is None:
        return
    by_split: dict[str | None, list[Input]] = {}
    for scene in inputs:
        by_split.setdefault(scene.source.split, []).append(scene)
    ground = {split: _ground(scenes) for split, scenes in by_split.items()}
    for one, other in combinations(by_split, 2):
        pairs = shapely.STRtree(ground[other]).query(ground[one], predicate="intersects").T
        for a, b in pairs:
            shared = shapely.area(shapely.intersection(ground[one][a], ground[other][b]))
            if shared > _SHARED * shapely.area(ground[one][a]):
                here, there = by_split[one][a].source, by_split[other][b].source
                report.add(
                    IssueKind.SHARED_GROUND,
                    here.image,
                    Action.KEPT,
                    scene=here.name,
                    note=f"in {one}, with {there.name} in {other}",
                )


def _ground(scenes: Sequence[Input]) -> NDArray[np.object_]:
    return np.array(
        [footprint(i.image.transform, Window(0, 0, i.image.width, i.image.height)) for i in scenes],
        object,
    )
