"""Random objects with integer coordinates, whose polygons and masks have equal areas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.metrics.objects import ObjectCollector, SceneObjects
from geoseg.options import Difficult

CLASSES = 3
SIDE = 160


@dataclass(frozen=True, slots=True)
class DrawnScene:
    """Annotated and predicted objects, in part close to each other."""

    annotations: Annotations
    predicted: NDArray[np.object_]
    class_id: NDArray[np.uint8]
    score: NDArray[np.float32]

    def collect(self, *, difficult: Difficult = "ignore", clip: bool = True) -> SceneObjects:
        """Return the objects as the evaluation collects them."""
        collector = ObjectCollector(
            self.annotations, CLASSES, width=SIDE, height=SIDE, difficult=difficult, clip=clip
        )
        middle = len(self.predicted) // 2
        for part in (slice(None, middle), slice(middle, None)):
            collector.add(self.predicted[part], self.class_id[part], self.score[part])
        return collector.finish()


def draw_scene(seed: int, *, turned: bool = False) -> DrawnScene:
    """Draw rectangles, some of them with a corner cut out, or turned by any angle."""
    rng = np.random.default_rng(seed)
    annotated, predicted = (int(n) for n in rng.integers(0, 12, 2))
    boxes = _draw_boxes(rng, annotated)
    class_id = rng.integers(1, CLASSES, annotated).astype(np.uint8)
    copied = rng.integers(0, annotated, predicted) if annotated else np.zeros(0, int)
    near = np.clip(boxes[copied] + rng.integers(-4, 5, (len(copied), 4)), 0, SIDE)
    found = np.concatenate([near, _draw_boxes(rng, 2)])
    found_class = np.concatenate([class_id[copied], np.ones(2, np.uint8)])
    wrong = rng.random(len(found)) < 0.2
    found_class[wrong] = rng.integers(1, CLASSES, wrong.sum())
    valid = (found[:, 2:] > found[:, :2]).all(axis=1)
    return DrawnScene(
        Annotations(_polygons(rng, boxes, turned), class_id, rng.random(annotated) < 0.2),
        _polygons(rng, found[valid], turned),
        found_class[valid],
        (rng.integers(0, 9, valid.sum()) / 8).astype(np.float32),  # with ties
    )


def _draw_boxes(rng: np.random.Generator, number: int) -> NDArray[np.int64]:
    """(n, 4) left, top, right, bottom of boxes of all three sizes of COCO."""
    size = rng.choice([12, 32, 60, 96, 120], (number, 2)) + rng.integers(0, 3, (number, 2))
    corner = rng.integers(0, SIDE - size)
    return np.hstack([corner, corner + size])


def _polygons(
    rng: np.random.Generator, boxes: NDArray[np.int64], turned: bool
) -> NDArray[np.object_]:
    polygons: NDArray[np.object_] = shapely.box(*boxes.T)
    if turned:
        angles = rng.uniform(0, 30, len(boxes))
        return np.array(
            [shapely.affinity.rotate(p, a) for p, a in zip(polygons, angles, strict=True)], object
        )
    cut = (rng.random(len(boxes)) < 0.3) & (boxes[:, 2:] - boxes[:, :2] > 4).all(axis=1)
    corner = shapely.box(boxes[:, 0], boxes[:, 1], boxes[:, 0] + 3, boxes[:, 1] + 2)
    polygons[cut] = shapely.difference(polygons[cut], corner[cut])
    return polygons
