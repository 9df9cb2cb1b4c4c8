"""Choose the constants of the decoders that need no object outputs, class by class.

    python -m benchmarks.objects.choose levels|seeds DATASET SPLIT PLANES OUTPUT.json [--from-name NAME] [--subset N]

PLANES is a folder of `benchmarks.objects.predict`; scenes without planes are left out. The choice `by_class` has the
best F1 of each class, `overall` the best F1 of all objects. Objects are matched by pixels here, by polygons in
`benchmarks.objects.score`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.objects.decode import Planes, build_objects
from benchmarks.objects.levels import NEVER, SeedConstants, decode_seeds, separate_by_level
from benchmarks.objects.predict import read_planes, select_scenes
from benchmarks.objects.scoring import (
    AREAS,
    RARE,
    BurnedReference,
    count_annotations,
    count_by_area,
    read_references,
)
from geoseg.dataset.folder import Dataset

SEEDS = (0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99)
REACHES = (0, 1, 2, 4, 6)
LOWEST = (0, 127, 153, 178, 204, 228, 245)
SIGNIFICANT = (6, 14, 30, 80, 200, NEVER)
PEAKS = np.array([0, 153, 190, 218, 234, 245, 249, 252, 254])

Table = NDArray[np.int64]
"""(2, classes, areas, peaks) predicted and matched objects, by area and by peak."""


@dataclass(frozen=True, slots=True)
class Option:
    """Constants of one class, and what they find."""

    class_id: int

    constants: tuple[int, ...]
    """Of `levels`: lowest, significant, min_pixels and peak. Of `seeds`: seed, reach and min_pixels."""

    predicted: int
    matched: int


def count_seeds(
    planes: Planes, reference: BurnedReference, classes: int
) -> dict[tuple[int, ...], Table]:
    """Count the objects of a scene for each seed and reach."""
    tables: dict[tuple[int, ...], Table] = {}
    ones = np.ones(classes, np.int64)
    for confidence in SEEDS:
        seed = round(255 * confidence)
        for reach in REACHES if seed else (0,):
            constants = SeedConstants(np.full(classes, seed, np.uint8), ones * reach, ones)
            objects = decode_seeds(planes["labels"], planes["confidence"], constants)
            found = reference.match(objects)
            table = np.zeros((2, classes, len(AREAS), 1), np.int64)
            for c in range(1, classes):
                table[0, c, :, 0], table[1, c, :, 0] = count_by_area(found, c)
            tables[seed, reach] = table
    return tables


def count_levels(
    planes: Planes, reference: BurnedReference, classes: int
) -> dict[tuple[int, ...], Table]:
    """Count the objects of a scene for each lowest confidence and significant area."""
    tables: dict[tuple[int, ...], Table] = {}
    labels, confidence = planes["labels"], planes["confidence"]
    ones = np.ones(classes, np.int64)
    for significant in SIGNIFICANT:
        for lowest, ids, peak in separate_by_level(labels, confidence, ones * significant):
            if lowest not in LOWEST:
                continue
            objects = build_objects(ids, labels, ones)
            peaks = np.zeros(len(objects.class_id), np.uint8)
            on = objects.ids > 0
            peaks[objects.ids[on] - 1] = peak[ids[on]]
            found = reference.match(objects)
            table = np.zeros((2, classes, len(AREAS), len(PEAKS)), np.int64)
            i = np.searchsorted(AREAS, found.pixels, side="right") - 1
            j = np.searchsorted(PEAKS, peaks, side="right") - 1
            np.add.at(table[0], (found.class_id, i, j), 1)
            np.add.at(table[1], (found.class_id, i, j), found.matched)
            # at least this area and peak
            tables[lowest, significant] = (
                table[:, :, ::-1, ::-1].cumsum(2).cumsum(3)[:, :, ::-1, ::-1]
            )
    return tables


METHODS = {"levels": count_levels, "seeds": count_seeds}


def list_options(tables: Mapping[tuple[int, ...], Table]) -> list[list[Option]]:
    """Return the options of each class, background (none) first."""
    classes = next(iter(tables.values())).shape[1]
    options: list[list[Option]] = [[] for _ in range(classes)]
    for first, table in tables.items():
        _, _, areas, peaks = table.shape
        for c, i, j in product(range(1, classes), range(areas), range(peaks)):
            last = (int(PEAKS[j]),) if peaks > 1 else ()
            constants = (*first, int(AREAS[i]), *last)
            options[c].append(Option(c, constants, int(table[0, c, i, j]), int(table[1, c, i, j])))
    return options


def choose_by_class(
    options: Sequence[Sequence[Option]], annotated: NDArray[np.int64]
) -> list[Option]:
    """Choose the option with the best F1 of each class."""
    return [
        max(of, key=lambda o: 2 * o.matched / max(1, annotated[o.class_id] + o.predicted))
        for of in options[1:]
    ]


def choose_overall(
    options: Sequence[Sequence[Option]], annotated: NDArray[np.int64]
) -> list[Option]:
    """Choose the options with the best F1 of all objects.

    Notes
    -----
    F1 = 2 M / (A + P) is largest where 2 M - F1 P is, which is a sum over classes: Dinkelbach (1967).
    """
    f1, chosen = 0.3, []
    for _ in range(20):
        chosen = [max(of, key=lambda o: 2 * o.matched - f1 * o.predicted) for of in options[1:]]
        f1 = _total_f1(chosen, annotated)
    return chosen


def format_choice(
    chosen: Sequence[Option], annotated: NDArray[np.int64], names: Sequence[str]
) -> str:
    """Format constants, counts and F1 of each class, and F1 of all objects."""
    lines, scores = [], []
    for o in chosen:
        name, total = names[o.class_id], annotated[o.class_id]
        f1 = 200 * o.matched / max(1, total + o.predicted)
        if total and name not in RARE:
            scores.append(f1)
        counts = f"annotated {total:6} predicted {o.predicted:6} matched {o.matched:6}"
        lines.append(f"  {name:20} {o.constants!s:24} {counts} F1 {f1:5.1f}")
    mean = float(np.mean(scores))
    total_f1 = 100 * _total_f1(chosen, annotated)
    return "\n".join([*lines, f"  F1 {total_f1:.1f}, mean over classes {mean:.1f}"])


def _total_f1(chosen: Sequence[Option], annotated: NDArray[np.int64]) -> float:
    matched, predicted = sum(o.matched for o in chosen), sum(o.predicted for o in chosen)
    return float(2 * matched / max(1, annotated.sum() + predicted))


def main() -> None:
    """Print and write the choices."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("split")
    parser.add_argument("planes", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--from-name", default="", help="only scenes of this name or later")
    parser.add_argument("--subset", type=int)
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    names = dataset.legend.names
    scenes = select_scenes(dataset.split(args.split), args.subset, from_name=args.from_name)
    scenes = [scene for scene in scenes if (args.planes / f"{scene.name}.npz").exists()]
    if not scenes:
        parser.error(f"{args.planes}: no planes of these scenes. Run benchmarks.objects.predict")
    references = read_references(dataset, scenes)
    annotated = count_annotations(references.values(), len(names))
    tables: dict[tuple[int, ...], Table] = {}
    for name, reference in references.items():
        planes = read_planes(args.planes, name)
        for setting, table in METHODS[args.method](planes, reference, len(names)).items():
            tables[setting] = tables.get(setting, 0) + table
    options = list_options(tables)
    result: dict[str, object] = {"method": args.method}
    for title, choose in (("by_class", choose_by_class), ("overall", choose_overall)):
        chosen = choose(options, annotated)
        print(f"{title}, {len(scenes)} scenes\n{format_choice(chosen, annotated, names)}")
        result[title] = {names[o.class_id]: o.constants for o in chosen}
    args.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
