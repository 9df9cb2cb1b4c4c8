"""Measure for each class how often objects touch, and how large they are.

    python -m benchmarks.objects.neighbours DATASET [--split train] [--distance 1.5]

The countable classes of `geoseg.legend.COUNTABLE_NAMES` were chosen by these figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import OUTLINES, Annotations
from geoseg.dataset.folder import Dataset


def has_neighbour(annotations: Annotations, distance: float) -> NDArray[np.bool_]:
    """Return (n,) True for objects with another one of their class within `distance` pixels."""
    one, other = shapely.STRtree(annotations.geometry).query(
        annotations.geometry, predicate="dwithin", distance=distance
    )
    same = (one != other) & (annotations.class_id[one] == annotations.class_id[other])
    result = np.zeros(len(annotations), bool)
    result[one[same]] = True
    return result


def main() -> None:
    """Print a line per class."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--distance", type=float, default=1.5, help="pixels")
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    scenes = list(dataset.annotations(OUTLINES, scenes=dataset.split(args.split)).values())
    class_id = np.concatenate([scene.class_id for scene in scenes])
    close = np.concatenate([has_neighbour(scene, args.distance) for scene in scenes])
    area = np.concatenate([shapely.area(scene.geometry) for scene in scenes])
    print("| class | objects | with a neighbour, % | median area, px |\n| :-- | --: | --: | --: |")
    for c in dataset.legend.objects:
        mine = class_id == c.id
        if mine.any():
            share, median = 100 * close[mine].mean(), np.median(area[mine])
            print(f"| {c.name} | {mine.sum():,} | {share:.1f} | {median:,.0f} |")


if __name__ == "__main__":
    main()
