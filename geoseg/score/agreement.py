"""Two label rasters of one place: where they agree, and what became of what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE, Legend
from geoseg.polygons.attributes import RowArea
from geoseg.score.metrics import Scores, confusion, number, ratio


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pixels and areas by the class in one raster, A, and in the other, B."""

    legend: Legend

    matrix: NDArray[np.int64]
    """(classes, classes) pixels, rows by A, columns by B"""

    area_m2: NDArray[np.float64]
    """(classes, classes) likewise in square metres; NaN where nobody knows them"""

    only: tuple[int, int]
    """Pixels that have a label in A but not in B, and in B but not in A; they count nowhere else."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; ``docs/evaluation.md`` describes it."""
        scores = Scores(self.matrix)
        same, pixels = int(np.trace(self.matrix)), int(self.matrix.sum())
        known = not np.isnan(self.area_m2).any()
        changed = self.area_m2.sum() - np.trace(self.area_m2)
        return {
            "legend": self.legend.to_json(),
            "pixels": pixels,
            "changed": pixels - same,
            "agreement": number(float(ratio(same, pixels))),
            "changed_m2": round(float(changed), 2) if known else None,
            "only_a": self.only[0],
            "only_b": self.only[1],
            "classes": {
                c.name: {
                    "iou": number(scores.iou[c.id]),
                    "f1": number(scores.f1[c.id]),
                    "pixels_a": int(self.matrix[c.id].sum()),
                    "pixels_b": int(self.matrix[:, c.id].sum()),
                }
                for c in self.legend
            },
            "changes": list(self._changes(known=known)),
            "confusion": self.matrix.tolist(),
        }

    def _changes(self, *, known: bool) -> Iterator[dict[str, Any]]:
        """Pairs of classes, most pixels first."""
        changed = self.matrix - np.diag(np.diag(self.matrix))
        for index in np.argsort(-changed.ravel(), kind="stable"):
            a, b = divmod(int(index), len(changed))
            if not changed[a, b]:
                return
            yield {
                "from": self.legend[a].name,
                "to": self.legend[b].name,
                "pixels": int(changed[a, b]),
                "area_m2": round(float(self.area_m2[a, b]), 2) if known else None,
            }


def agreement(
    strips: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], legend: Legend, areas: RowArea
) -> Agreement:
    """Of labels of A and of B, (rows, columns) each, from top to bottom."""
    classes, row = len(legend), 0
    matrix = np.zeros((classes, classes), np.int64)
    area = np.zeros((classes, classes))
    only_a = only_b = 0
    for a, b in strips:
        only_a += int(np.count_nonzero((b == IGNORE) & (a != IGNORE)))
        only_b += int(np.count_nonzero((a == IGNORE) & (b != IGNORE)))
        # pixels of a row are equally large, those of two rows perhaps not
        for row_a, row_b, size in zip(a, b, areas(row, len(a)), strict=True):
            pairs = confusion(row_a, row_b, classes)
            matrix += pairs
            area += pairs * size
        row += len(a)
    return Agreement(legend, matrix, area, (only_a, only_b))


def differing(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) 1 where labels differ, 0 where they are the same, IGNORE where one has none."""
    differ: NDArray[np.uint8] = (a != b).astype(np.uint8)
    differ[(a == IGNORE) | (b == IGNORE)] = IGNORE
    return differ
