"""Compare the decoders of object outputs on the same planes.

    python -m benchmarks.objects.compare DATASET SPLIT PLANES [--subset 60] [--labels reference|FOLDER]
        [--objects reference] [--decoders components,interior,distance,centres] [--choice FILE] [--output FILE]

PLANES is a folder of `benchmarks.objects.predict`. `--labels` replaces the predicted labels by burned outlines
(`reference`) or by those of another folder; `--objects reference` replaces the object outputs by their targets, which
gives the ceiling of a decoder. Settings and smallest areas are those with the best F1 of all objects, matched by
pixels, on the same scenes, or come from `--choice`, a file written by `--output`. The printed F1 is that of polygons.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.objects.decode import (
    OFFSET_STEP,
    CentreSettings,
    ClassRules,
    DistanceSettings,
    InteriorSettings,
    Objects,
    Planes,
    decode_centres,
    decode_components,
    decode_distance,
    decode_interior,
)
from benchmarks.objects.network import OBJECT_OUTPUTS
from benchmarks.objects.predict import read_planes, select_scenes
from benchmarks.objects.scoring import (
    AREAS,
    BurnedReference,
    Candidates,
    concatenate,
    count_annotations,
    count_by_area,
    count_objects,
    count_pixels,
    format_scores,
    mean_iou,
    read_references,
)
from benchmarks.objects.targets import COUNTABLE, OFFSET_UNIT, compute_targets, find_centroids
from geoseg.annotations.burn import burn
from geoseg.dataset.folder import Dataset
from geoseg.legend import IGNORE


@dataclass(frozen=True, slots=True)
class ComponentSettings:
    """Connected components have no settings."""


Settings = ComponentSettings | InteriorSettings | DistanceSettings | CentreSettings
DECODERS: dict[str, Callable[..., Settings]] = {
    "components": ComponentSettings,
    "interior": InteriorSettings,
    "distance": DistanceSettings,
    "centres": CentreSettings,
}


@dataclass(frozen=True, slots=True)
class LabelledScene:
    """Planes and ground truth of a scene."""

    planes: Planes
    reference: BurnedReference


def list_settings(decoder: str) -> list[Settings]:
    """Return the settings of a decoder that are tried."""
    if decoder == "interior":
        grid = product((38, 64, 90, 115, 140, 166), (64, 102, 140, 256), (1, 2))
        return [InteriorSettings(*values) for values in grid]
    if decoder == "distance":
        return [
            DistanceSettings(seed, tuple(range(seed - 25, 10, -25)) if low else (), reach)
            for seed, reach, low in product((38, 64, 90, 115, 140, 165), (1, 2, 3), (0, 1))
        ]
    if decoder == "centres":
        grid = product((12, 25, 40, 64, 90), (2, 3), (3, 5, 8))
        return [CentreSettings(*values) for values in grid]
    return [ComponentSettings()]


def decode(planes: Planes, settings: Settings, rules: ClassRules) -> Objects:
    """Decode planes by the decoder of `settings`."""
    if isinstance(settings, InteriorSettings):
        return decode_interior(planes, settings, rules)
    if isinstance(settings, DistanceSettings):
        return decode_distance(planes, settings, rules)
    if isinstance(settings, CentreSettings):
        return decode_centres(planes, settings, rules)
    return decode_components(planes["labels"], rules.min_pixels)


def reference_planes(reference: BurnedReference, countable: NDArray[np.bool_]) -> Planes:
    """Return the targets of a whole scene as the planes of the object outputs."""
    height, width = reference.ids.shape
    separated = np.isin(reference.annotations.class_id, np.flatnonzero(countable))
    separated = np.append(False, separated)  # by ID
    ids = np.where(separated[reference.ids], reference.ids, 0).astype(np.int32)
    centroids = find_centroids(reference.annotations, width, height)
    values = compute_targets(ids, centroids, pad=0).values.astype(np.float32)
    planes: Planes = {}
    for name, value in zip(OBJECT_OUTPUTS, values, strict=True):
        if name.startswith("offset"):
            steps = value * OFFSET_UNIT / OFFSET_STEP
            planes[name] = steps.round().clip(-127, 127).astype(np.int8)
        else:
            planes[name] = (255 * value).round().astype(np.uint8)
    return planes


def read_scene(
    folder: Path, name: str, reference: BurnedReference, labels: str | None
) -> LabelledScene:
    """Read the planes of a scene, its labels replaced as `--labels` says."""
    planes = read_planes(folder, name) if folder.is_dir() else {}
    if labels == "reference":
        burned = burn(reference.annotations, *reference.ids.shape)
        planes["labels"] = np.where(burned == IGNORE, 0, burned).astype(np.uint8)
    elif labels:
        planes["labels"] = read_planes(Path(labels), name)["labels"]
    return LabelledScene(planes, reference)


def choose_settings(
    decoder: str, scenes: Sequence[LabelledScene], countable: NDArray[np.bool_]
) -> tuple[Settings, NDArray[np.int64]]:
    """Choose the settings and smallest areas with the best F1 of all objects."""
    classes = len(countable)
    annotated = int(count_annotations((s.reference for s in scenes), classes).sum())
    rules = ClassRules(countable, np.ones(classes, np.int64))
    results = []
    for settings in list_settings(decoder):
        found = concatenate(s.reference.match(decode(s.planes, settings, rules)) for s in scenes)
        f1, areas = choose_areas(found, annotated, classes)
        results.append((f1, settings, areas))
    _, settings, areas = max(results, key=lambda result: result[0])
    return settings, areas


def choose_areas(
    candidates: Candidates, annotated: int, classes: int
) -> tuple[float, NDArray[np.int64]]:
    """Choose the smallest area of each class for the best F1 of all objects, and return both.

    Notes
    -----
    See `benchmarks.objects.choose.choose_overall`.
    """
    curves = [count_by_area(candidates, c) for c in range(1, classes)]
    f1, picks = 0.3, [0] * len(curves)
    for _ in range(10):
        picks = [int(np.argmax(2 * matched - f1 * predicted)) for predicted, matched in curves]
        predicted = sum(int(curve[0][i]) for curve, i in zip(curves, picks, strict=True))
        matched = sum(int(curve[1][i]) for curve, i in zip(curves, picks, strict=True))
        f1 = 2 * matched / max(1, annotated + predicted)
    return f1, np.array([1, *AREAS[picks]], np.int64)


def restore_choice(decoder: str, choice: dict[str, Any]) -> tuple[Settings, NDArray[np.int64]]:
    """Return settings and smallest areas from JSON data."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in choice["settings"].items()}
    return DECODERS[decoder](**values), np.array(choice["min_pixels"], np.int64)


def main() -> None:
    """Choose the settings of each decoder and print F1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("split")
    parser.add_argument("planes", type=Path)
    parser.add_argument("--subset", type=int, default=60)
    parser.add_argument("--labels", help="reference, or another folder of planes")
    parser.add_argument("--objects", choices=("reference",))
    parser.add_argument("--decoders", default=",".join(DECODERS))
    parser.add_argument("--choice", type=Path, help="take settings from this file")
    parser.add_argument("--output", type=Path, help="write settings to this file")
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    names = dataset.legend.names
    countable = np.isin(names, COUNTABLE)
    selected = select_scenes(dataset.split(args.split), args.subset)
    references = read_references(dataset, selected)
    scenes = [
        read_scene(args.planes, n, reference, args.labels) for n, reference in references.items()
    ]
    if args.objects:
        for scene in scenes:
            scene.planes.update(reference_planes(scene.reference, countable))
    matrix = sum(
        count_pixels(s.planes["labels"], s.reference.annotations, len(names)) for s in scenes
    )
    print(f"{len(scenes)} scenes of {args.split}, mIoU {mean_iou(np.asarray(matrix), names):.1f}")
    given = json.loads(args.choice.read_text(encoding="utf-8")) if args.choice else {}
    chosen = {}
    for decoder in args.decoders.split(","):
        if decoder in given:
            settings, min_pixels = restore_choice(decoder, given[decoder])
        else:
            settings, min_pixels = choose_settings(decoder, scenes, countable)
        chosen[decoder] = {"settings": asdict(settings), "min_pixels": min_pixels.tolist()}
        counts = np.zeros((3, len(names)), np.int64)
        for s in scenes:
            objects = decode(s.planes, settings, ClassRules(countable, min_pixels))
            counts += count_objects(objects, s.reference.annotations, len(names))
        print(f"{decoder:10} {format_scores(counts, names)} | {asdict(settings)}", flush=True)
    if args.output:
        args.output.write_text(json.dumps(chosen), encoding="utf-8")


if __name__ == "__main__":
    main()
