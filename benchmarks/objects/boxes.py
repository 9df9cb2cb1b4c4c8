"""Measure oriented boxes of burned quads against the quads.

python -m benchmarks.objects.boxes DATASET SPLIT [--count N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.annotations.burn import QUADS
from geoseg.dataset.folder import Dataset
from geoseg.polygons.boxes import oriented_boxes
from geoseg.polygons.trace import trace

SIDE = 320
"""Largest side of a quad in pixels, and width of the canvas."""

Floats = NDArray[np.float64]


def measure_rectangles(rectangles: NDArray[np.object_]) -> Floats:
    """Return (n, 3) length, width, and direction in degrees clockwise from up."""
    corners = shapely.get_coordinates(rectangles).reshape(-1, 5, 2)
    sides = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]], axis=1)
    sizes = np.linalg.norm(sides, axis=2)
    x, y = sides[np.arange(len(sides)), sizes.argmax(axis=1)].T
    return np.column_stack([sizes.max(1), sizes.min(1), np.degrees(np.arctan2(x, -y)) % 180])


def select_quads(
    dataset: Dataset, split: str, count: int
) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
    """Return up to `count` quads of each class that are rectangles, and their classes."""
    annotations = dataset.annotations(QUADS, scenes=dataset.split(split)).values()
    quads = np.concatenate([part.geometry for part in annotations])
    classes = np.concatenate([part.class_id for part in annotations])
    around = shapely.area(shapely.oriented_envelope(quads))
    left, top, right, bottom = shapely.bounds(quads).T
    small = np.maximum(right - left, bottom - top) < SIDE - 8
    usable = small & (shapely.area(quads) > np.maximum(0.97 * around, 20))
    mixed = np.random.default_rng(0).permutation(np.flatnonzero(usable))
    rank = np.zeros(len(mixed), int)
    for c in np.unique(classes):
        mine = classes[mixed] == c
        rank[mine] = np.arange(mine.sum())
    chosen = mixed[rank < count]
    return quads[chosen], classes[chosen]


def burn_column(quads: NDArray[np.object_]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Burn quads below each other at random shifts; return the canvas, and the first row of each."""
    shift = np.random.default_rng(1).random((len(quads), 2)) + 2
    rows = []
    for quad, (x, y) in zip(quads, shift, strict=True):
        left, top, _, bottom = np.floor(quad.bounds)
        moved = shapely.affinity.translate(quad, x - left, y - top)
        shape = (int(bottom - top) + 6, SIDE)
        rows.append(rasterize([moved], shape, transform=Affine.identity(), dtype=np.uint8))
    return np.concatenate(rows), np.cumsum([0, *map(len, rows[:-1])])


def main() -> None:
    """Print mean errors, and mean absolute errors in brackets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("split")
    parser.add_argument("--count", type=int, default=300, help="quads of each class")
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    quads, classes = select_quads(dataset, args.split, args.count)
    canvas, first = burn_column(quads)
    batches = list(trace([(canvas, None)]))
    traced = np.concatenate([batch.geometry(Affine.identity()) for batch in batches])
    owner = np.searchsorted(first, shapely.bounds(traced)[:, 1], side="right") - 1
    whole = np.bincount(owner, minlength=len(quads))[owner] == 1
    truth = measure_rectangles(shapely.oriented_envelope(quads))[owner]
    found = {
        "smallest rectangle": measure_rectangles(shapely.oriented_envelope(traced)),
        "oriented box": np.concatenate([oriented_boxes(batch) for batch in batches])[:, 2:],
    }
    groups = {"all": whole, **{dataset.legend.names[c]: classes[owner] == c for c in set(classes)}}
    for name, of in groups.items():
        for method, boxes in found.items():
            _print(name, method, (boxes - truth)[of & whole])


def _print(name: str, method: str, error: Floats) -> None:
    angle = np.abs((error[:, 2] + 90) % 180 - 90).mean()
    length, width = (f"{e.mean():+.2f} ({np.abs(e).mean():.2f})" for e in error[:, :2].T)
    print(f"{name:20} {method:18} {len(error):5} length {length} width {width} angle {angle:.2f}")


if __name__ == "__main__":
    main()
