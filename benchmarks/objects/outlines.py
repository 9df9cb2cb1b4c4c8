"""Compare regularized with simplified outlines, traced from annotations with moved borders.

    python -m benchmarks.objects.outlines DATASET SPLIT [--scenes N] [--noise PX]

The annotated outlines are burned, and every pixel takes the object of a place up to about PX away, by a smooth random
field. Objects are traced, simplified (1 pixel) and regularized, and compared with their annotations.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations.burn import OUTLINES, Annotations, burn_ids
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.options import PolygonOptions
from geoseg.polygons.table import extract_polygons

LARGEST = 4_000_000
"""Largest scene in pixels."""

METHODS = {
    "traced": PolygonOptions(),
    "simplified": PolygonOptions(simplify=1),
    "regularized": PolygonOptions(simplify=1, regularize=True),
}

Geometry = NDArray[np.object_]
Floats = NDArray[np.float64]


def burn_moved(
    annotations: Annotations, scene: DatasetScene, noise: float, seed: int
) -> NDArray[np.int32]:
    """Return (h, w) 1 + index of the annotation, with borders moved by up to about `noise` pixels."""
    ids = burn_ids(annotations, scene.height, scene.width)
    shape = ids.shape
    field = np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(part, (0, 0), 1.5) for part in field])
    moved = noise * np.clip(0.6 * smooth / smooth.std(), -1, 1) + np.indices(shape)[::-1]
    x, y = moved.astype(np.float32)
    return np.asarray(cv2.remap(ids.astype(np.float32), x, y, cv2.INTER_NEAREST), np.int32)


def trace_ids(
    ids: NDArray[np.int32],
    class_id: NDArray[np.uint8],
    options: PolygonOptions,
    countable: Sequence[bool],
) -> tuple[Geometry, NDArray[np.int64]]:
    """Return polygons, and their IDs."""
    classes = np.concatenate([[0], class_id]).astype(np.uint8)
    strips = [(ids.astype(np.uint32), None)]
    batches = extract_polygons(strips, options, class_id=classes, countable=countable)
    outlines, numbers = [np.empty(0, object)], [np.empty(0, np.int64)]
    for batch in batches:
        assert batch.regions.id is not None  # strips of IDs
        outlines.append(batch.outlines.geometry(Affine.identity()))
        numbers.append(batch.regions.id)
    return np.concatenate(outlines), np.concatenate(numbers)


def measure_distance(outline: shapely.Geometry, reference: shapely.Geometry) -> float:
    """Return the mean distance of an outline from another one, at 100 points."""
    around = shapely.boundary(outline)
    points = shapely.line_interpolate_point(around, np.linspace(0, 1, 100), normalized=True)
    return float(shapely.distance(points, shapely.boundary(reference)).mean())


def score_scene(
    annotations: Annotations, ids: NDArray[np.int32], countable: Sequence[bool]
) -> Iterable[tuple[int, Floats]]:
    """Yield the class of each object, and (methods, 2) IoU and distance; and if the outline was replaced."""
    reference = shapely.make_valid(annotations.geometry)
    found: list[dict[int, shapely.Geometry]] = []
    for options in METHODS.values():
        largest: dict[int, shapely.Geometry] = {}
        for outline, i in zip(
            *trace_ids(ids, annotations.class_id, options, countable), strict=True
        ):
            if i not in largest or outline.area > largest[i].area:
                largest[i] = outline
        found.append(largest)
    for i in found[0]:
        truth = reference[i - 1]
        if all(i in of_method for of_method in found) and truth.area >= 12:
            outlines = [of_method[i] for of_method in found]
            both = shapely.area(shapely.intersection(outlines, truth))
            iou = both / (shapely.area(outlines) + truth.area - both)
            distance = [measure_distance(outline, truth) for outline in outlines]
            replaced = float(not outlines[1].equals_exact(outlines[2], 0.0, normalize=True))
            yield int(annotations.class_id[i - 1]), np.array([*iou, *distance, replaced])


def main() -> None:
    """Print mean IoU in percent, mean distance in pixels, and the share of replaced outlines by class."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("split")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--noise", type=float, default=1.0)
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    legend = dataset.legend
    scenes = [s for s in dataset.split(args.split) if s.width * s.height <= LARGEST]
    chosen = np.random.default_rng(0).permutation(len(scenes))[: args.scenes]
    rows: list[tuple[int, Floats]] = []
    for seed, n in enumerate(chosen.tolist()):
        (annotations,) = dataset.annotations(OUTLINES, scenes=[scenes[n]]).values()
        ids = burn_moved(annotations, scenes[n], args.noise, seed)
        rows += score_scene(annotations, ids, legend.countable)
    class_id = np.array([row[0] for row in rows])
    values = np.array([row[1] for row in rows])
    print(f"{'class':20} objects  IoU: {' '.join(METHODS)}; distance: the same; replaced")
    for c in legend.objects:
        mine = values[class_id == c.id]
        if c.countable and len(mine):
            _print(c.name, mine)
    _print("all", values[np.array(legend.countable)[class_id]])


def _print(name: str, values: Floats) -> None:
    mean = values.mean(axis=0)
    iou, distance = 100 * mean[:3], mean[3:6]
    print(
        f"{name:20} {len(values):6} "
        + " ".join(f"{v:6.1f}" for v in iou)
        + " ".join(f"{v:6.2f}" for v in distance)
        + f" {100 * mean[6]:5.0f} %"
    )


if __name__ == "__main__":
    main()
