"""What the numbers of a page come from, as facts: a title, and under it names and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyproj import CRS

import geoseg
from geoseg.dataset import Dataset, DatasetScene
from geoseg.model.file import Model
from geoseg.report.evaluation.page import Facts
from geoseg.score.scene import Rules

_OF_TRAINING = (
    ("name", "name"),
    ("author", "author"),
    ("data", "trained on"),
    ("layer", "truth"),
    ("terms", "terms of the data"),
    ("steps", "steps"),
    ("hours", "hours"),
    ("date", "date"),
    ("geoseg", "geoseg"),
    ("note", "note"),
    ("failures", "known failures"),
)
"""Keys of a card's training, and what they are called here."""

_DIFFICULT = {"keep": "scored like any other", "ignore": "not counted", "drop": "background"}


def of_model(model: Model) -> Facts:
    """What its card says."""
    card, training = model.card, model.card.training
    parameters = ", ".join(f"{name} {value}" for name, value in card.parameters.items())
    facts = [
        ("file", model.path.name),
        ("sha256", model.sha256),
        (
            "architecture",
            f"{card.architecture} ({parameters})" if parameters else card.architecture,
        ),
        *((title, _text(training[key])) for key, title in _OF_TRAINING if key in training),
    ]
    if lineage := list(_lineage(training)):
        facts.append(("went on from", ", which went on from ".join(lineage)))
    if card.pixel_size_m:
        facts.append(("pixel size", _span(card.pixel_size_m)))
    return "Model", facts


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _lineage(training: Mapping[str, Any]) -> Iterator[str]:
    """The models that one went on from, the last before it first."""
    while isinstance(ancestor := training.get("ancestor"), dict):
        yield f"{ancestor.get('name', 'a model')}, {ancestor.get('steps', '?')} steps"
        training = ancestor


def of_labels(folder: Path) -> Facts:
    """Labels of which nobody knows what made them."""
    return "Labels", [("folder", folder.name)]


def of_data(dataset: Dataset, scenes: Sequence[DatasetScene], layers: Iterable[str]) -> Facts:
    """Of the scenes that were scored."""
    facts = [
        ("dataset", dataset.folder.resolve().name),
        ("split", f"{scenes[0].split}, {len(scenes):,} scenes"),
        ("truths", ", ".join(layers)),
        ("pixels", f"{dataset.bands} bands of {dataset.dtype}"),
    ]
    if sizes := [scene.pixel_size_m for scene in scenes if scene.pixel_size_m]:
        facts.append(("pixel size", f"{_span(sizes)}, known of {len(sizes):,} scenes"))
    if sources := Counter(scene.image_source for scene in scenes if scene.image_source):
        told = (f"{name} {count:,}" for name, count in sources.most_common(8))
        facts.append(("imagery", ", ".join(told)))
    place = CRS.from_wkt(dataset.crs).name if dataset.crs else "local coordinates"
    return "Data", [*facts, ("map", place)]


def of_rules(rules: Rules, evaluation: Mapping[str, Any]) -> Facts:
    """How was counted."""
    intervals = evaluation["intervals"]
    cleaned = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value:g}"
        for name, value in asdict(rules.cleaning).items()
        if value
    ]
    matched = f"polygons, matched at an IoU of {rules.match:g} or more"
    return "Scores", [
        ("difficult", _DIFFICULT[rules.difficult]),
        ("boundary IoU", f"pixels up to {rules.boundary} px from a contour"),
        ("objects", "; ".join([matched, *cleaned])),
        (
            "intervals",
            f"{intervals['level']:.0%}, percentile bootstrap over scenes, "
            f"{intervals['resamples']:,} times",
        ),
    ]


def of_run(command: str) -> Facts:
    """When, by which version, and by which command if one was typed."""
    facts = [
        ("geoseg", geoseg.__version__),
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    return "Run", [("command", command), *facts] if command else facts


def _span(sizes: Sequence[float]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:.3g} m" if low == high else f"{low:.3g} to {high:.3g} m"
