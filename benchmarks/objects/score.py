"""Score decoders that need no object outputs, as polygons, against connected components.

    python -m benchmarks.objects.score DATASET SPLIT PLANES [CONSTANTS.json ...] [--subset N]

PLANES is a folder of `benchmarks.objects.predict`; CONSTANTS are files of `benchmarks.objects.choose`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.objects.decode import Objects, Planes, decode_components
from benchmarks.objects.levels import LevelConstants, SeedConstants, decode_levels, decode_seeds
from benchmarks.objects.predict import read_planes, select_scenes
from benchmarks.objects.scoring import count_objects, count_pixels, format_scores, mean_iou
from geoseg.annotations.burn import OUTLINES
from geoseg.dataset.folder import Dataset

Decoder = Callable[[Planes], Objects]


def build_decoder(
    method: str, constants: Mapping[str, Sequence[int]], names: Sequence[str]
) -> Decoder:
    """Return a decoder with the constants of each class."""
    if method == "levels":
        rows = np.array([(0, 1, 1, 0), *(constants[name] for name in names[1:])], np.int64)
        return partial(_decode_levels, constants=LevelConstants(*rows.T))
    rows = np.array([(0, 0, 1), *(constants[name] for name in names[1:])], np.int64)
    seed, reach, min_pixels = rows.T
    return partial(_decode_seeds, constants=SeedConstants(seed.astype(np.uint8), reach, min_pixels))


def read_decoders(files: Sequence[Path], names: Sequence[str]) -> dict[str, Decoder]:
    """Return connected components, and a decoder for each choice in each file."""
    ones = np.ones(len(names), np.int64)
    decoders: dict[str, Decoder] = {"components": partial(_decode_components, min_pixels=ones)}
    for path in files:
        choices = json.loads(path.read_text(encoding="utf-8"))
        method = choices.pop("method")
        for title, constants in choices.items():
            decoders[f"{path.stem} {title}"] = build_decoder(method, constants, names)
    return decoders


def _decode_components(planes: Planes, min_pixels: NDArray[np.int64]) -> Objects:
    return decode_components(planes["labels"], min_pixels)


def _decode_levels(planes: Planes, constants: LevelConstants) -> Objects:
    return decode_levels(planes["labels"], planes["confidence"], constants)


def _decode_seeds(planes: Planes, constants: SeedConstants) -> Objects:
    return decode_seeds(planes["labels"], planes["confidence"], constants)


def main() -> None:
    """Print mIoU, and F1 of each decoder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("split")
    parser.add_argument("planes", type=Path)
    parser.add_argument("constants", type=Path, nargs="*")
    parser.add_argument("--subset", type=int)
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    names = dataset.legend.names
    decoders = read_decoders(args.constants, names)
    scenes = select_scenes(dataset.split(args.split), args.subset)
    annotations = dataset.annotations(OUTLINES, scenes=scenes)
    counts = {name: np.zeros((3, len(names)), np.int64) for name in decoders}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for scene in scenes:
        planes, reference = read_planes(args.planes, scene.name), annotations[scene.name]
        matrix += count_pixels(planes["labels"], reference, len(names))
        for name, decode in decoders.items():
            counts[name] += count_objects(decode(planes), reference, len(names))
    print(f"{len(scenes)} scenes of {args.split}, mIoU {mean_iou(matrix, names):.1f}")
    for name, of in counts.items():
        print(f"{name:22} {format_scores(of, names)}")


if __name__ == "__main__":
    main()
