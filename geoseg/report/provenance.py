"""Provenance of an evaluation: facts about model, data, scoring and run for the HTML report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyproj import CRS

from geoseg._version import __version__
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.models.model_file import Model
from geoseg.options import ScoringOptions

Facts = tuple[str, Sequence[tuple[str, str]]]
"""Title of a group of facts, and their names and texts."""

_TRAINING_KEYS = (
    ("name", "name"),
    ("author", "author"),
    ("data", "training data"),
    ("layer", "ground truth"),
    ("terms", "terms of the data"),
    ("steps", "steps"),
    ("hours", "hours"),
    ("date", "date"),
    ("geoseg", "geoseg"),
    ("note", "note"),
    ("failures", "known failures"),
)
"""Keys of the training section of a model card, and their names in the report."""

_DIFFICULT = {"keep": "scored like other objects", "ignore": "not scored", "drop": "background"}


def describe_model(model: Model) -> Facts:
    """List the facts of a model card."""
    card, training = model.card, model.card.training
    parameters = ", ".join(f"{name} {value}" for name, value in card.parameters.items())
    facts = [
        ("file", model.path.name),
        ("sha256", model.sha256),
        (
            "architecture",
            f"{card.architecture} ({parameters})" if parameters else card.architecture,
        ),
        *(
            (title, _format_value(training[key]))
            for key, title in _TRAINING_KEYS
            if key in training
        ),
    ]
    if ancestors := list(_list_ancestors(training)):
        facts.append(("fine-tuned from", "; before that, ".join(ancestors)))
    if card.pixel_size_m:
        facts.append(("pixel size", _format_sizes(card.pixel_size_m)))
    return "Model", facts


def describe_labels(folder: Path) -> Facts:
    """List the facts of labels whose model is unknown."""
    return "Labels", [("folder", folder.name)]


def describe_data(dataset: Dataset, scenes: Sequence[DatasetScene], layers: Iterable[str]) -> Facts:
    """List the facts of the scenes that were scored."""
    facts = [
        ("dataset", dataset.folder.resolve().name),
        ("split", f"{scenes[0].split}, {len(scenes):,} scenes"),
        ("ground truth", ", ".join(layers)),
        ("pixels", f"{dataset.bands} bands of {dataset.dtype}"),
    ]
    if sizes := [scene.pixel_size_m for scene in scenes if scene.pixel_size_m]:
        facts.append(("pixel size", f"{_format_sizes(sizes)}, known for {len(sizes):,} scenes"))
    if sources := Counter(scene.image_source for scene in scenes if scene.image_source):
        counted = (f"{name} {count:,}" for name, count in sources.most_common(8))
        facts.append(("imagery", ", ".join(counted)))
    crs = CRS.from_wkt(dataset.crs).name if dataset.crs else "none"
    return "Data", [*facts, ("CRS", crs)]


def describe_scoring(scoring: ScoringOptions, evaluation: Mapping[str, Any]) -> Facts:
    """List how the scores were computed."""
    intervals = evaluation["intervals"]
    cleaning = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value:g}"
        for name, value in asdict(scoring.cleaning).items()
        if value
    ]
    matching = f"polygons, matched at an IoU of at least {scoring.match:g}"
    return "Scores", [
        ("difficult", _DIFFICULT[scoring.difficult]),
        ("boundary IoU", f"pixels up to {scoring.boundary} px from a contour"),
        ("objects", "; ".join([matching, *cleaning])),
        (
            "intervals",
            f"{intervals['level']:.0%}, percentile bootstrap over scenes, "
            f"{intervals['resamples']:,} resamples",
        ),
    ]


def describe_run(command: str) -> Facts:
    """List version, date, and the command if there was one."""
    facts = [
        ("geoseg", __version__),
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    return "Run", [("command", command), *facts] if command else facts


def _format_value(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _list_ancestors(training: Mapping[str, Any]) -> Iterator[str]:
    """Yield the models that a model was fine-tuned from, the latest first."""
    while isinstance(ancestor := training.get("ancestor"), dict):
        yield f"{ancestor.get('name', 'a model')} ({ancestor.get('steps', '?')} steps)"
        training = ancestor


def _format_sizes(sizes: Sequence[float]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:.3g} m" if low == high else f"{low:.3g} to {high:.3g} m"
