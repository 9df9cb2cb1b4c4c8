"""One scene's labels against one or more truths: all counts, in one pass over strips of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import Annotations, Difficult, Index, burn
from geoseg.metrics.boundary import DISTANCE, Boundaries
from geoseg.metrics.calibration import LEVELS, confidences
from geoseg.metrics.objects import MATCH, Objects
from geoseg.options import PolygonOptions
from geoseg.polygons.attributes import row_areas
from geoseg.polygons.table import Table, segments

Strip = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]
"""Labels (rows, columns) as wide as the scene, and confidences of the same shape if there are any."""

_IDENTITY = Affine.identity()

_AT_A_TIME = 1 << 22
"""Pixels, since counting them takes many times their size."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How is counted."""

    difficult: Difficult = "keep"
    """What becomes of objects marked as difficult."""

    boundary: int = DISTANCE
    """Pixels from a contour that boundary IoU looks at."""

    match: float = MATCH
    """IoU from which on two polygons are one object, above 0 and up to 1."""

    cleaning: PolygonOptions = PolygonOptions()
    """What is done to polygons that were found before they are matched; pixels stay as they are."""

    def __post_init__(self) -> None:
        if self.boundary < 1:
            raise ValueError(f"boundary must be 1 pixel or more, got {self.boundary}")
        if not 0 < self.match <= 1:
            raise ValueError(f"match must be above 0 and up to 1, got {self.match}")


USUAL = Rules()
"""Counted as this says unless somebody asks for something else."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted in one scene."""

    confidences: NDArray[np.int64]
    """(classes, classes, LEVELS) pixels by truth, label and confidence"""

    boundary: NDArray[np.int64]
    """(3, classes) pixels near contours: of both, of the truth, of the labels"""

    objects: NDArray[np.int64]
    """(3, sizes, classes) objects annotated, found and matched"""

    @property
    def matrix(self) -> NDArray[np.int64]:
        """(classes, classes) pixels by truth and label"""
        matrix: NDArray[np.int64] = self.confidences.sum(axis=2)
        return matrix


def tally(
    strips: Iterable[Strip],
    truths: Sequence[Annotations],
    table: Table,
    *,
    width: int,
    height: int,
    rules: Rules,
) -> list[Tally]:
    """Counts against each of the truths.

    strips: from top to bottom, of any height; `table` says what the polygons of the scene have in common.
    """
    classes = len(table.legend)
    pixels = [_Pixels(annotations, classes, rules) for annotations in truths]
    objects = [
        Objects(
            annotations,
            classes,
            width=width,
            height=height,
            match=rules.match,
            difficult=rules.difficult,
        )
        for annotations in truths
    ]

    def counted() -> Iterator[Strip]:
        top = 0
        for labels, confidence in strips:
            for count in pixels:
                count.add(top, labels, confidence)
            top += len(labels)
            yield labels, confidence

    areas = row_areas(table.transform, table.crs, width)
    for batch in segments(counted(), rules.cleaning, areas):
        large = table.large(batch.traced, rules.cleaning)
        geometry = batch.drawn.geometry(_IDENTITY)[large]
        for matched in objects:
            matched.add(geometry, batch.traced.class_id[large])
    return [
        Tally(count.confidences, count.boundaries.counts(), matched.counts())
        for count, matched in zip(pixels, objects, strict=True)
    ]


class _Pixels:
    def __init__(self, annotations: Annotations, classes: int, rules: Rules) -> None:
        self._index, self._classes, self._difficult = Index(annotations), classes, rules.difficult
        self.confidences = np.zeros((classes, classes, LEVELS), np.int64)
        self.boundaries = Boundaries(classes, rules.boundary)

    def add(
        self, top: int, labels: NDArray[np.uint8], confidence: NDArray[np.uint8] | None
    ) -> None:
        """Count rows of the scene, the first of which is `top`."""
        height, width = labels.shape
        rows = max(1, _AT_A_TIME // width)
        for row in range(0, height, rows):
            part = slice(row, row + rows)
            sure = None if confidence is None else confidence[part]
            self._count(top + row, labels[part], sure)

    def _count(
        self, top: int, labels: NDArray[np.uint8], confidence: NDArray[np.uint8] | None
    ) -> None:
        height, width = labels.shape
        truth = burn(
            self._index.window(Window(0, top, width, height)),
            height,
            width,
            transform=Affine.translation(0, -top),
            difficult=self._difficult,
        )
        self.confidences += confidences(truth, labels, confidence, self._classes)
        self.boundaries.add(truth, labels)
