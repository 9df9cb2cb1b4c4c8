"""Evaluation of a split: counts of every scene in one pass over its strips, and all scores made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import QUADS, AnnotationIndex, Annotations, burn
from geoseg.legend import Legend
from geoseg.metrics.average_precision import resample_ap50
from geoseg.metrics.bootstrap import (
    LEVEL,
    RESAMPLES,
    draw_resamples,
    percentile_interval,
    sum_resamples,
)
from geoseg.metrics.boundary import BoundaryCounter, boundary_iou
from geoseg.metrics.calibration import (
    LEVELS,
    confidence_histogram,
    reliability_curve,
    sweep_thresholds,
)
from geoseg.metrics.confusion import Scores, divide, mean_score, round_score
from geoseg.metrics.object_scores import ObjectCounts
from geoseg.metrics.objects import ObjectCollector, resample_f1, resample_pq
from geoseg.options import ScoringOptions
from geoseg.polygons.boxes import fit_oriented_boxes
from geoseg.polygons.table import AttributeTable, Polygons

PredictedStrip = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]
"""Labels (rows, columns) of the scene's full width, and confidences of the same shape or None."""

Interval = list[float | None] | None
"""Lower and upper bound of a score; None where there are too few scenes."""

_BLOCK_PIXELS = 1 << 22  # counted at once; counting takes many times their size


@dataclass(frozen=True, slots=True)
class SceneCounts:
    """Counts of one scene against one reference."""

    confidences: NDArray[np.int64]
    """(classes, classes, LEVELS) pixels by reference class, predicted class and confidence."""

    boundary: NDArray[np.int64]
    """(3, classes) pixels near contours: of both, of the reference, of the labels."""

    objects: ObjectCounts
    """Objects, and their matches."""

    @property
    def matrix(self) -> NDArray[np.int64]:
        """(classes, classes) confusion matrix, rows by reference."""
        matrix: NDArray[np.int64] = self.confidences.sum(axis=2)
        return matrix


class SceneCounter:
    """Count pixels and objects of a scene against each of several references.

    Parameters
    ----------
    references
        Layer to annotations in pixels of the scene. With the layer ``quads``, oriented boxes are scored too.
    table
        Legend, CRS and transform of the scene.
    width, height
        Size of the scene in pixels.
    scoring
        How scores are computed.
    corner
        Column and row of a block in its file, of which `table` and the polygons are; None for a whole file.
    """

    def __init__(
        self,
        references: Mapping[str, Annotations],
        table: AttributeTable,
        *,
        width: int,
        height: int,
        scoring: ScoringOptions,
        corner: tuple[int, int] | None = None,
    ) -> None:
        self._table, self._scoring = table, scoring
        x, y = corner or (0, 0)
        self._to_scene = Affine.translation(-x, -y)
        self._block = shapely.box(0, 0, width, height) if corner else None
        classes = len(table.legend)
        self._pixels = {
            layer: _PixelCounter(annotations, classes, scoring)
            for layer, annotations in references.items()
        }
        collector = partial(ObjectCollector, classes=classes, width=width, height=height)
        self._objects = {
            layer: collector(
                annotations,
                match=scoring.match,
                difficult=scoring.difficult,
                block=corner is not None,
            )
            for layer, annotations in references.items()
        }
        self._boxes = {
            layer: collector(self._mark_outside(annotations), difficult="ignore", clip=False)
            for layer, annotations in references.items()
            if layer == QUADS
        }

    def _mark_outside(self, annotations: Annotations) -> Annotations:
        """Mark quads whose centre is outside of the block as difficult, so that they do not count."""
        if self._block is None:
            return annotations
        inside = shapely.intersects(shapely.centroid(annotations.geometry), self._block)
        return replace(annotations, difficult=annotations.difficult | ~inside)

    def count_strips(self, strips: Iterable[PredictedStrip]) -> Iterator[PredictedStrip]:
        """Yield labels and confidences from top to bottom after their pixels have been counted."""
        top = 0
        for labels, confidence in strips:
            for counter in self._pixels.values():
                counter.add(top, labels, confidence)
            top += len(labels)
            yield labels, confidence

    def add(self, polygons: Polygons) -> None:
        """Count a batch of predicted polygons; those below the smallest size are left out."""
        kept = self._table.is_kept(polygons.regions, self._scoring.cleaning)
        class_id, score = polygons.regions.class_id[kept], polygons.regions.confidence_mean[kept]
        geometry = polygons.outlines.geometry(self._to_scene)[kept]
        for collector in self._objects.values():
            collector.add(geometry, class_id, score)
        if self._boxes:
            boxes = fit_oriented_boxes(polygons.regions).geometry(self._to_scene)[kept]
            if self._block is not None:
                inside = shapely.intersects(shapely.centroid(boxes), self._block)
                boxes, class_id, score = boxes[inside], class_id[inside], score[inside]
            for collector in self._boxes.values():
                collector.add(boxes, class_id, score)

    def finish(self) -> dict[str, SceneCounts]:
        """Match the objects and return the counts by layer."""
        boxes = {layer: collector.finish() for layer, collector in self._boxes.items()}
        return {
            layer: SceneCounts(
                self._pixels[layer].confidences,
                self._pixels[layer].boundaries.finish(),
                ObjectCounts.of_scene(collector.finish(), boxes.get(layer), self._scoring.match),
            )
            for layer, collector in self._objects.items()
        }


class _PixelCounter:
    """Count the pixels of a scene against one reference, which is burned strip by strip."""

    def __init__(self, annotations: Annotations, classes: int, scoring: ScoringOptions) -> None:
        self._index, self._classes, self._difficult = (
            AnnotationIndex(annotations),
            classes,
            scoring.difficult,
        )
        self.confidences = np.zeros((classes, classes, LEVELS), np.int64)
        self.boundaries = BoundaryCounter(classes, scoring.boundary)

    def add(
        self, top: int, labels: NDArray[np.uint8], confidence: NDArray[np.uint8] | None
    ) -> None:
        """Count rows of the scene, starting at row `top`."""
        height, width = labels.shape
        rows = max(1, _BLOCK_PIXELS // width)
        for row in range(0, height, rows):
            part = slice(row, row + rows)
            levels = None if confidence is None else confidence[part]
            self._count(top + row, labels[part], levels)

    def _count(
        self, top: int, labels: NDArray[np.uint8], confidence: NDArray[np.uint8] | None
    ) -> None:
        height, width = labels.shape
        reference = burn(
            self._index.query_window(Window(0, top, width, height)),
            height,
            width,
            transform=Affine.translation(0, -top),
            difficult=self._difficult,
        )
        self.confidences += confidence_histogram(reference, labels, confidence, self._classes)
        self.boundaries.add(reference, labels)


@dataclass(frozen=True)
class Evaluation:
    """Counts of one split against one reference, and the scores computed from them."""

    model: Path
    """Model file, or folder of the labels."""

    dataset: Path
    split: str

    layer: str
    """Annotation layer that serves as reference: outlines or quads."""

    legend: Legend
    scoring: ScoringOptions

    scenes: tuple[str, ...]

    matrices: NDArray[np.int64]
    """(scenes, classes, classes) confusion matrix of each scene, rows by reference."""

    boundaries: NDArray[np.int64]
    """(scenes, 3, classes) pixels near contours: of both, of the reference, of the labels."""

    objects: ObjectCounts
    """Objects of all scenes, and their matches."""

    confidences: NDArray[np.int64]
    """(classes, classes, LEVELS) pixels of all scenes by reference class, predicted class and confidence."""

    @cached_property
    def scores(self) -> Scores:
        """Pixel scores of all scenes together."""
        return Scores(self.matrices.sum(axis=0))

    @cached_property
    def scenes_per_class(self) -> NDArray[np.int64]:
        """(classes,) number of scenes with reference pixels of a class."""
        scenes: NDArray[np.int64] = (self.matrices.sum(axis=2) > 0).sum(axis=0)
        return scenes

    def to_json(self) -> dict[str, Any]:
        """Return all scores as JSON data; ``docs/evaluation.md`` describes it."""
        scores = self.scores.to_json(self.legend)
        del scores["classes"]
        intervals, of_classes, of_objects = self._intervals
        boundary = boundary_iou(self.boundaries.sum(axis=0))
        return {
            "model": self.model.name,
            "dataset": self.dataset.resolve().name,
            "split": self.split,
            "truth": self.layer,
            "scenes": len(self.scenes),
            "legend": self.legend.to_json(),
            "rules": asdict(self.scoring),
            **scores,
            "boundary_miou": round_score(mean_score(self.scores.matrix.sum(axis=1), boundary)),
            "boundary_px": self.scoring.boundary,
            "intervals": intervals,
            "classes": self._classes_json(of_classes, of_objects),
            "objects": {**self.objects.to_json(self.legend), "iou": self.scoring.match},
            **self._confidence_json(),
            "by_scene": {
                name: {
                    **_scene_json(Scores(matrix), self.legend),
                    "objects": self.objects.scene_json(scene, self.legend),
                }
                for scene, (name, matrix) in enumerate(zip(self.scenes, self.matrices, strict=True))
            },
            "confusion": self.scores.matrix.tolist(),
        }

    def card_json(self) -> dict[str, Any]:
        """Return the scores that a model card stores, 0 to 1."""
        scores = self.scores.to_json(self.legend)
        about = {"dataset": self.dataset.resolve().name, "scenes": len(self.scenes)}
        if self.scoring.difficult != "keep":
            about["difficult"] = self.scoring.difficult
        return {
            **about,
            "miou": scores["miou"],
            "miou_with_background": scores["miou_with_background"],
            "iou": {name: of_class["iou"] for name, of_class in scores["classes"].items()},
        }

    def _classes_json(
        self, intervals: Sequence[Interval], object_intervals: Sequence[Interval]
    ) -> dict[str, Any]:
        classes: dict[str, Any] = self.scores.to_json(self.legend)["classes"]
        boundary = boundary_iou(self.boundaries.sum(axis=0))
        for c in self.legend:
            classes[c.name] |= {
                "scenes": int(self.scenes_per_class[c.id]),
                "boundary_iou": round_score(boundary[c.id]),
                "interval": intervals[c.id],
            }
        for c in self.legend.objects:
            classes[c.name]["objects"] = {
                **self.objects.class_json(c.id, countable=c.countable),
                "interval": object_intervals[c.id],
            }
        return classes

    @cached_property
    def _intervals(self) -> tuple[dict[str, Any], list[Interval], list[Interval]]:
        """Compute intervals of the means, of the IoU of each class, and of the object F1 of each class."""
        resamples = draw_resamples(len(self.scenes))
        mious, ious = resample_ious(resamples, self.matrices)
        f1, f1s = resample_f1(resamples, self.objects.counts)
        ap50, _ = resample_ap50(resamples, self.objects.detections)
        pq, _ = resample_pq(resamples, self.objects.panoptic, self.legend.countable)
        means = {
            "miou": _interval_json(mious, len(self.scenes)),
            "objects_f1": _interval_json(f1, len(self.scenes)),
            "objects_ap50": _interval_json(ap50, len(self.scenes)),
            "objects_pq": _interval_json(pq, len(self.scenes)),
            "level": LEVEL,
            "resamples": RESAMPLES,
        }
        of_classes, of_objects = (
            [
                _interval_json(of_class, int(scenes))
                for of_class, scenes in zip(scores.T, self.scenes_per_class, strict=True)
            ]
            for scores in (ious, f1s)
        )
        return means, of_classes, of_objects

    def _confidence_json(self) -> dict[str, Any]:
        """Return calibration and thresholds; None where some confidences are unknown."""
        if self.confidences[..., -1].any() or not self.confidences.any():
            return {"calibration": None, "threshold": None}
        return {
            "calibration": {
                **reliability_curve(self.confidences).to_json(),
                "objects": reliability_curve(self.confidences, background=False).to_json(),
            },
            "threshold": sweep_thresholds(self.confidences).to_json(self.legend),
        }


class SplitCounts:
    """Collect the counts of scenes against one reference; of the large histograms, only the sum is kept."""

    def __init__(self) -> None:
        self._scenes: list[str] = []
        self._matrices: list[NDArray[np.int64]] = []
        self._boundaries: list[NDArray[np.int64]] = []
        self._objects: list[ObjectCounts] = []
        self._confidences: NDArray[np.int64] | None = None

    def add(self, scene: str, counts: SceneCounts) -> None:
        """Add the counts of a scene."""
        self._scenes.append(scene)
        self._matrices.append(counts.matrix)
        self._boundaries.append(counts.boundary)
        self._objects.append(counts.objects)
        if self._confidences is None:
            self._confidences = np.zeros_like(counts.confidences)
        self._confidences += counts.confidences

    def evaluation(self, **about: Any) -> Evaluation:
        """Return the evaluation of one or more scenes; `about` are the other fields of `Evaluation`."""
        assert self._confidences is not None
        return Evaluation(
            scenes=tuple(self._scenes),
            matrices=np.stack(self._matrices),
            boundaries=np.stack(self._boundaries),
            objects=ObjectCounts.concatenate(self._objects),
            confidences=self._confidences,
            **about,
        )


def resample_ious(
    resamples: NDArray[np.float64], matrices: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the IoU of resampled scenes.

    Parameters
    ----------
    resamples
        (resamples, scenes) draws, see `draw_resamples`.
    matrices
        (scenes, classes, classes) confusion matrices.

    Returns
    -------
    (resamples,) array
        Mean IoU without background.
    (resamples, classes) array
        IoU per class; NaN where a class has no reference pixels in the scenes of a resample.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    counts = np.stack([hits, matrices.sum(axis=2), matrices.sum(axis=1)], axis=1)
    sums = sum_resamples(resamples, counts)
    ious = np.where(sums[:, 1] > 0, boundary_iou(sums), np.nan)
    present = (~np.isnan(ious[:, 1:])).sum(axis=1)
    return divide(np.nansum(ious[:, 1:], axis=1), present), ious


def _scene_json(scores: Scores, legend: Legend) -> dict[str, Any]:
    """Return the scores of one scene, of the classes in its reference or labels."""
    of_scene = scores.to_json(legend)
    return {
        "miou": of_scene["miou"],
        "pixels": of_scene["pixels"],
        "classes": {
            name: of_class["iou"]
            for name, of_class in of_scene["classes"].items()
            if of_class["iou"] is not None
        },
    }


def _interval_json(scores: NDArray[np.float64], scenes: int) -> Interval:
    bounds = percentile_interval(scores, scenes=scenes)
    return None if bounds is None else [round_score(bound) for bound in bounds]
