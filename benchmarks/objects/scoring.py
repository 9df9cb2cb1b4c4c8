"""Scores of objects and labels against the outlines of a dataset, and the counts from which constants are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray

from benchmarks.objects.decode import Objects
from geoseg.annotations.burn import OUTLINES, Annotations, burn, burn_ids
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.metrics import objects as scoring
from geoseg.metrics.confusion import Scores, confusion_matrix, mean_score
from geoseg.metrics.objects import MATCHED, PREDICTED, REFERENCE, ObjectCollector, object_f1

RARE = ("helicopter",)
"""Classes left out of means over classes: the validation scenes have too few of them."""

AREAS = np.array(
    [1, 6, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000]
)
"""Smallest areas that are tried, in pixels."""


def trace_objects(objects: Objects) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
    """Trace objects along pixel edges.

    Returns
    -------
    (n,) array
        Polygons or multipolygons in pixels of the scene.
    (n,) array
        Class IDs.
    """
    shapes = rasterio.features.shapes(objects.ids, mask=objects.ids > 0, connectivity=8)
    traced = [(shapely.geometry.shape(geometry), int(i)) for geometry, i in shapes]
    if not traced:
        return np.empty(0, object), np.empty(0, np.uint8)
    geometry = np.array([polygon for polygon, _ in traced], object)
    ids = np.array([i for _, i in traced])
    order = np.argsort(ids, kind="stable")
    geometry, ids = geometry[order], ids[order]
    unique, first, count = np.unique(ids, return_index=True, return_counts=True)
    joined = geometry[first]
    for n in np.flatnonzero(count > 1):
        joined[n] = shapely.union_all(geometry[first[n] : first[n] + count[n]])
    invalid = ~shapely.is_valid(joined)
    joined[invalid] = shapely.make_valid(joined[invalid])
    return joined, objects.class_id[unique - 1]


def count_objects(objects: Objects, annotations: Annotations, classes: int) -> NDArray[np.int64]:
    """Return (3, classes) annotated, predicted and matched objects, matched as polygons as in `geoseg evaluate`."""
    height, width = objects.ids.shape
    collector = ObjectCollector(annotations, classes, width=width, height=height)
    collector.add(*trace_objects(objects))
    counts: NDArray[np.int64] = scoring.count_objects(collector.finish(), 0.5).sum(axis=1)
    return counts


def count_pixels(
    labels: NDArray[np.uint8], annotations: Annotations, classes: int
) -> NDArray[np.int64]:
    """Return the (classes, classes) confusion matrix of a scene."""
    return confusion_matrix(burn(annotations, *labels.shape), labels, classes)


def mean_iou(matrix: NDArray[np.int64], names: Sequence[str]) -> float:
    """Compute the mean IoU in percent over the classes of the reference, without background and `RARE`."""
    reference = matrix.sum(1)
    reference[np.isin(names, RARE)] = 0
    return 100 * mean_score(reference, Scores(matrix).iou)


def format_scores(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    """Format F1 in percent: of all objects, mean over classes without `RARE`, and by class."""
    by_class = 100 * np.where(counts[REFERENCE] > 0, object_f1(counts), np.nan)
    total = counts.sum(axis=1)
    f1 = 200 * total[MATCHED] / max(1, total[REFERENCE] + total[PREDICTED])
    mean = np.nanmean(by_class[~np.isin(names, RARE)])
    parts = [f"{n} {f:.0f}" for n, f in zip(names, by_class, strict=True) if not np.isnan(f)]
    return f"F1 {f1:.1f}, mean over classes {mean:.1f} | {' '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Predicted objects of one setting, before small ones are dropped."""

    class_id: NDArray[np.uint8]
    """(n,) class IDs."""

    pixels: NDArray[np.int64]
    """(n,) areas in pixels."""

    matched: NDArray[np.bool_]
    """(n,) True where an annotated object of the class has an IoU of at least 0.5."""


@dataclass(frozen=True, slots=True)
class BurnedReference:
    """Annotations of a scene, burned: matching by pixels takes a fraction of the time of matching polygons."""

    annotations: Annotations

    ids: NDArray[np.int32]
    """(h, w) 1 + index of the annotation; 0 outside."""

    area: NDArray[np.float64]
    """(n,) areas of the annotations inside the scene, in square pixels."""

    def match(self, objects: Objects) -> Candidates:
        """Match objects by pixels, by falling IoU, each at most once."""
        matched = np.zeros(len(objects.class_id), bool)
        both = (objects.ids > 0) & (self.ids > 0)
        pair, common = np.unique(
            objects.ids[both].astype(np.int64) << 32 | self.ids[both], return_counts=True
        )
        predicted, reference = (pair >> 32) - 1, (pair & 0xFFFFFFFF) - 1
        iou = common / (objects.pixels[predicted] + self.area[reference] - common)
        same = objects.class_id[predicted] == self.annotations.class_id[reference]
        possible = np.flatnonzero((iou >= 0.5) & same)
        used: set[int] = set()
        for i in possible[np.argsort(-iou[possible], kind="stable")]:
            if int(reference[i]) not in used and not matched[predicted[i]]:
                used.add(int(reference[i]))
                matched[predicted[i]] = True
        return Candidates(objects.class_id, objects.pixels, matched)


def burn_reference(annotations: Annotations, scene: DatasetScene) -> BurnedReference:
    """Burn the annotations of a scene."""
    inside = shapely.clip_by_rect(annotations.geometry, 0, 0, scene.width, scene.height)
    ids = burn_ids(annotations, scene.height, scene.width)
    return BurnedReference(annotations, ids, shapely.area(inside))


def read_references(dataset: Dataset, scenes: Sequence[DatasetScene]) -> dict[str, BurnedReference]:
    """Read the outlines of scenes, by scene name."""
    annotations = dataset.annotations(OUTLINES, scenes=scenes)
    return {scene.name: burn_reference(annotations[scene.name], scene) for scene in scenes}


def count_annotations(references: Iterable[BurnedReference], classes: int) -> NDArray[np.int64]:
    """Return (classes,) annotated objects."""
    counts = np.zeros(classes, np.int64)
    for reference in references:
        np.add.at(counts, reference.annotations.class_id, 1)
    return counts


def concatenate(candidates: Iterable[Candidates]) -> Candidates:
    """Join the candidates of several scenes."""
    parts = list(candidates)
    return Candidates(
        np.concatenate([part.class_id for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.matched for part in parts]),
    )


def count_by_area(
    candidates: Candidates, class_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (areas,) predicted and matched objects of a class, for each smallest area of `AREAS`."""
    mine = candidates.class_id == class_id
    pixels, matched = candidates.pixels[mine], candidates.matched[mine]
    keep = pixels[None] >= AREAS[:, None]
    return keep.sum(1), (keep & matched).sum(1)
