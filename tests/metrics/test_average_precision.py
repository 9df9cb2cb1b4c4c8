from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from geoseg.annotations.burn import Annotations, burn
from geoseg.metrics.average_precision import (
    COCO_RECALLS,
    VOC_RECALLS,
    Detections,
    average_precision,
    match_coco,
    match_dota,
    resample_ap50,
)
from tests.metrics.drawings import CLASSES, SIDE, DrawnScene, draw_scene

SEEDS = st.lists(st.integers(0, 10**6), min_size=1, max_size=4)


class _CocoEval(COCOeval):  # type: ignore[misc]
    """COCO's evaluation, with objects that do not count; pycocotools has them by size only, or as crowds."""

    def _prepare(self) -> None:
        super()._prepare()
        for of_image in self._gts.values():
            for annotation in of_image:
                annotation["ignore"] = annotation["difficult"]


def mask_of(polygon: shapely.Polygon) -> dict[str, object]:
    one = Annotations(np.array([polygon], object), np.ones(1, np.uint8), np.zeros(1, bool))
    encoded: dict[str, object] = rle.encode(np.asfortranarray(burn(one, SIDE, SIDE)))
    return encoded


def of_pycocotools(scenes: Sequence[DrawnScene]) -> NDArray[np.float64]:
    """(areas, thresholds, classes) average precision, of masks."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, scene in enumerate(scenes, 1):
        known = scene.annotations
        for polygon, class_id, hard in zip(
            known.geometry, known.class_id, known.difficult, strict=True
        ):
            about = {"id": len(annotations) + 1, "iscrowd": 0, "difficult": int(hard)}
            place = {"segmentation": mask_of(polygon), "area": polygon.area, "image_id": image}
            annotations.append({**about, **place, "category_id": int(class_id)})
        for polygon, class_id, score in zip(
            scene.predicted, scene.class_id, scene.score, strict=True
        ):
            of = {"image_id": image, "category_id": int(class_id), "score": float(score)}
            results.append({**of, "segmentation": mask_of(polygon)})
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": n, "width": SIDE, "height": SIDE} for n in range(1, len(scenes) + 1)],
        "categories": [{"id": n, "name": str(n)} for n in range(1, CLASSES)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = _CocoEval(coco, coco.loadRes(results), "segm")
        evaluation.params.maxDets = [10**6]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]  # thresholds, recalls, classes, areas
    scores = np.where(precision > -1, precision, np.nan).mean(axis=1).transpose(2, 0, 1)
    return np.concatenate([np.full((*scores.shape[:2], 1), np.nan), scores], axis=2)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_polygons_along_pixel_edges_have_the_average_precision_of_pycocotools(
    seeds: list[int],
) -> None:
    scenes = [draw_scene(seed) for seed in seeds]
    detections = Detections.concatenate([match_coco(scene.collect()) for scene in scenes])
    np.testing.assert_allclose(
        average_precision(detections, COCO_RECALLS), of_pycocotools(scenes), atol=1e-12
    )


def of_dota(scenes: Sequence[DrawnScene], class_id: int) -> float:
    """Compute the AP of one class as ``voc_eval`` of DOTA's development kit does (VOC 2007)."""
    found = [
        (float(score), image, polygon)
        for image, scene in enumerate(scenes)
        for polygon, of, score in zip(scene.predicted, scene.class_id, scene.score, strict=True)
        if of == class_id
    ]
    quads = [
        [
            [polygon, bool(hard), False]
            for polygon, of, hard in zip(
                scene.annotations.geometry,
                scene.annotations.class_id,
                scene.annotations.difficult,
                strict=True,
            )
            if of == class_id
        ]
        for scene in scenes
    ]
    number = sum(not hard for image in quads for _, hard, _ in image)
    if not number:
        return float("nan")
    true, false, curve = 0, 0, []
    for _, image, polygon in sorted(found, key=lambda of: -of[0]):
        overlaps = [
            polygon.intersection(q).area / polygon.union(q).area for q, _, _ in quads[image]
        ]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] > 0.5:
            quad = quads[image][best]
            if not quad[1]:
                true, false = true + (not quad[2]), false + quad[2]
                quad[2] = True
        else:
            false += 1
        curve.append((true / number, true / max(true + false, 1)))
    points = np.arange(0, 1.1, 0.1)
    return sum(max([p for r, p in curve if r >= t], default=0) for t in points) / 11


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_oriented_boxes_have_the_average_precision_of_dota(seeds: list[int]) -> None:
    scenes = [draw_scene(seed, turned=True) for seed in seeds]
    boxes = [match_dota(scene.collect(clip=False)) for scene in scenes]
    scores = average_precision(Detections.concatenate(boxes), VOC_RECALLS)[0, 0]
    expected = [of_dota(scenes, class_id) for class_id in range(CLASSES)]
    np.testing.assert_allclose(scores, expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=3, unique=True), st.data())
def test_a_scene_that_is_drawn_twice_counts_twice(seeds: list[int], data: st.DataObject) -> None:
    rng = np.random.default_rng(seeds[0])
    scenes = [draw_scene(seed) for seed in seeds]
    counted = [
        match_coco(replace(scene, score=rng.random(len(scene.score)).astype(np.float32)).collect())
        for scene in scenes
    ]
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(seeds), max_size=len(seeds)))
    _, resampled = resample_ap50(np.array([times], float), Detections.concatenate(counted))
    repeated = [part for part, number in zip(counted, times, strict=True) for _ in range(number)]
    if repeated:
        expected = average_precision(Detections.concatenate(repeated), COCO_RECALLS)[0, 0]
        np.testing.assert_allclose(resampled[0], expected, atol=1e-12)


def test_correct_objects_have_an_average_precision_of_one_in_any_order() -> None:
    scene = draw_scene(4)
    of = replace(scene.annotations, difficult=np.zeros(len(scene.annotations), bool))
    exact = replace(
        scene,
        annotations=of,
        predicted=of.geometry,
        class_id=of.class_id,
        score=scene.score[:1].repeat(len(of)),
    )
    scores = average_precision(match_coco(exact.collect()), COCO_RECALLS)[0]
    assert len(of) > 3
    assert (scores[:, np.unique(of.class_id)] == 1).all()


@pytest.mark.parametrize("unknown", [1, 3])
def test_average_precision_is_undefined_if_a_confidence_is_unknown(unknown: int) -> None:
    scene = draw_scene(4)
    scene.score[:unknown] = np.nan
    assert np.isnan(average_precision(match_coco(scene.collect()), COCO_RECALLS)).all()
