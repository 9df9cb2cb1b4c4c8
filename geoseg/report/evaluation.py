"""HTML report of an evaluation: scores, curves, sample scenes, and provenance on one page."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from geoseg._version import __version__
from geoseg.annotations.burn import Annotations
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.inference.label_source import LabelSource
from geoseg.legend import Legend
from geoseg.metrics.object_errors import count_error, group_classes
from geoseg.models.model_file import Model
from geoseg.options import PolygonOptions, ScoringOptions
from geoseg.progress import Track, silent
from geoseg.raster.bands import describe_bands
from geoseg.raster.stretch import choose_stretch
from geoseg.report.page import escape_text, read_asset, render_page, write_page
from geoseg.report.scene_images import encode_images, read_images

log = logging.getLogger(__name__)

_SCRIPTS = (
    *("elements", "tables", "headline", "classes", "confusion"),
    *("curves", "objects", "distribution", "zoom", "scenes", "main"),
)
_BINS = 20  # of the histogram of scene scores
_MAX_POINTS = 400  # of a learning curve
_MOST_COUNTED = 3  # classes whose numbers per scene are shown
_NONE = {"truth": 0, "found": 0}
_MAX_LOG_BYTES = 1 << 26

SCENES_PER_RANK = 3

SELECTION = (
    "Scenes with objects, ordered by their mean IoU without background ({layer}); of equal ones, the one with "
    "fewer pixels comes first. Shown are the first, the middle and the last of {scored}."
)
"""Sentence on how the sample scenes are selected."""

EvaluationJson = Mapping[str, Any]
"""One item of the list that ``geoseg evaluate --json`` writes; missing parts are left out of the page."""

References = Mapping[str, Mapping[str, Annotations]]
"""Layer and scene name to annotations."""

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


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Content of a report in addition to the scores; empty parts are left out of the page."""

    counts: Mapping[str, Any] | None = None
    """Layer to ``objects`` and ``pixels`` by class, of the split."""

    scenes: Sequence[Mapping[str, Any]] = ()
    """Encoded images of sample scenes, each with ``name``, ``rank``, ``width`` and ``height``."""

    rule: str = ""
    """How the sample scenes were selected."""

    learning: Sequence[Mapping[str, Any]] = ()
    """Lines of the training log."""

    provenance: Sequence[Facts] = ()
    """Facts about model, data, scoring and run."""

    card: Mapping[str, Any] | None = None
    """Model card."""


def write_report(
    evaluations: Sequence[EvaluationJson],
    output: Path,
    content: ReportContent,
    *,
    overwrite: bool = False,
) -> Path:
    """Write one HTML file with evaluations of the same model and scenes, one for each reference.

    Raises
    ------
    OutputError
        If `output` exists and `overwrite` is off, or if it cannot be written.
    """
    names = {scene["name"] for scene in content.scenes}
    data = {
        **asdict(content),
        "evaluations": [_select_scenes(evaluation, names) for evaluation in evaluations],
        "learning": _replace_nonfinite(_thin_log(content.learning)),
        "card": _replace_nonfinite(content.card),
    }
    first = evaluations[0]
    title = escape_text(_title(first))
    body = read_asset("evaluation/body.html").replace("{subtitle}", escape_text(_subtitle(first)))
    html = render_page(
        _title(first),
        body.replace("{title}", title),
        data=data,
        styles=["evaluation/style.css"],
        scripts=[f"evaluation/{name}.js" for name in _SCRIPTS],
    )
    return write_page(html, output, overwrite=overwrite)


def collect_content(
    evaluations: Sequence[EvaluationJson],
    dataset: Dataset,
    source: LabelSource,
    references: References,
    scoring: ScoringOptions,
    *,
    model: Model | None,
    command: str = "",
    track: Track = silent,
) -> ReportContent:
    """Collect the content of a report: sample scenes, class counts, learning curve, provenance.

    Parameters
    ----------
    evaluations
        Evaluations as JSON data; sample scenes are selected by the first.
    dataset
        Dataset that was scored.
    source
        Source of the labels of the sample scenes.
    references
        Annotations by layer and scene.
    scoring
        How scores were computed.
    model
        Model that made the labels; None if unknown.
    command
        Command line of the run.
    track
        Progress of the sample scenes.

    Raises
    ------
    SceneError
        If a sample scene cannot be read.
    """
    first = evaluations[0]
    split = dataset.split(first["split"])
    scenes = {scene.name: scene for scene in split}
    ranks = rank_scenes({n: (of["miou"], of["pixels"]) for n, of in first["by_scene"].items()})
    return ReportContent(
        counts=_count_classes(dataset, first["split"]),
        scenes=[
            {
                "rank": ranks[name],
                **_show_scene(scenes[name], dataset, source, references, scoring),
            }
            for name in track(list(ranks), "pictures")
        ],
        rule=_describe_selection(first),
        learning=read_log(model.path) if model else [],
        provenance=[
            describe_model(model) if model else describe_labels(source.path),
            describe_data(dataset, split, list(references)),
            describe_scoring(scoring, first),
            describe_run(command),
        ],
        card=model.card.to_json() if model else None,
    )


def rank_scenes(
    scores: Mapping[str, tuple[float | None, int]], *, each: int = SCENES_PER_RANK
) -> dict[str, str]:
    """Select the best, the middle and the worst scenes.

    Parameters
    ----------
    scores
        Scene name to mean IoU (None without objects) and number of pixels.
    each
        Largest number of scenes per rank.

    Returns
    -------
    dict
        Scene name to ``best``, ``median`` or ``worst``, in this order.
    """
    scored = [
        (-score, pixels, name) for name, (score, pixels) in scores.items() if score is not None
    ]
    names = [name for _, _, name in sorted(scored)]
    few = min(each, max(1, len(names) // 3))
    middle = (len(names) - few) // 2
    ranks = {"best": names[:few], "median": names[middle : middle + few], "worst": names[-few:]}
    selected: dict[str, str] = {}
    for rank, of_rank in ranks.items():
        for name in of_rank:
            selected.setdefault(name, rank)
    return selected


def read_log(model: Path) -> list[dict[str, Any]]:
    """Read the lines of the training log in the sidecar file of a model; empty without one."""
    path = model.with_suffix(".log.jsonl")
    if not path.is_file():
        return []
    try:
        if path.stat().st_size > _MAX_LOG_BYTES:
            raise ValueError("too large")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [
            {
                key: None if line[key] is None else float(line[key])
                for key in ("step", "loss", "miou")
            }
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        log.warning("%s: not a training log (%s); the report has no learning curve", path, fault)
        return []


def _title(evaluation: EvaluationJson) -> str:
    return f"{evaluation['model']} on {evaluation['dataset']}, {evaluation['split']}"


def _subtitle(evaluation: EvaluationJson) -> str:
    scenes = evaluation["scenes"]
    parts = [f"{scenes:,} {'scene' if scenes == 1 else 'scenes'}"]
    if evaluation.get("pixels"):
        parts.append(f"{evaluation['pixels'] / 1e6:,.1f} million pixels")
    return " · ".join([*parts, f"{len(evaluation['legend']) - 1} classes"])


def _select_scenes(evaluation: EvaluationJson, names: set[str]) -> dict[str, Any]:
    """Keep the scores of the named scenes, and the histogram of all scene scores."""
    by_scene = {name: _scene_score(score) for name, score in evaluation.get("by_scene", {}).items()}
    mious = np.array([s["miou"] for s in by_scene.values() if s["miou"] is not None], float)
    spread = {
        "counts": np.histogram(mious, bins=_BINS, range=(0, 1))[0].tolist(),
        "median": float(np.median(mious)) if len(mious) else None,
    }
    return {
        **evaluation,
        "by_scene": {name: score for name, score in by_scene.items() if name in names},
        "spread": spread if len(mious) > 1 else None,
        "scene_counts": _group_counts(evaluation),
    }


def _group_counts(evaluation: EvaluationJson) -> dict[str, Any]:
    """Collect the numbers of objects per scene: of vehicles, ships and planes, or of the most frequent classes.

    Each group has ``error``, see `count_error`, and ``scenes``: list of annotated, predicted, number of such scenes.
    """
    by_scene = map(_scene_score, evaluation.get("by_scene", {}).values())
    scenes = [score["objects"] for score in by_scene if "objects" in score]
    legend = Legend.from_json(evaluation["legend"])
    groups = {
        group: [legend[class_id].name for class_id in ids]
        for group, ids in group_classes(legend).items()
    }
    if not groups:
        totals = Counter(dict.fromkeys(legend.names[1:], 0))
        for of_scene in scenes:
            totals.update({name: numbers["truth"] for name, numbers in of_scene.items()})
        groups = {name: [name] for name, total in totals.most_common(_MOST_COUNTED) if total}
    counts = {}
    for group, names in groups.items():
        numbers = np.array(
            [
                [sum(of.get(name, _NONE)[key] for name in names) for key in ("truth", "found")]
                for of in scenes
            ]
        ).reshape(-1, 2)
        numbers = numbers[numbers.any(axis=1)]
        points, repeated = np.unique(numbers, axis=0, return_counts=True)
        counts[group] = {
            "error": count_error(*numbers.T),
            "scenes": np.column_stack([points, repeated]).tolist(),
        }
    return counts


def _scene_score(score: Any) -> Mapping[str, Any]:
    """Return the scores of a scene; evaluations of older versions have a number."""
    return score if isinstance(score, Mapping) else {"miou": score}


def _describe_selection(evaluation: EvaluationJson) -> str:
    scores = evaluation["by_scene"]
    scored = sum(of["miou"] is not None for of in scores.values())
    text = SELECTION.format(layer=evaluation["truth"], scored=scored)
    without = len(scores) - scored
    return f"{text} {without} more contain no objects." if without else text


def _show_scene(
    scene: DatasetScene,
    dataset: Dataset,
    source: LabelSource,
    references: References,
    scoring: ScoringOptions,
) -> dict[str, Any]:
    annotations = {layer: of[scene.name] for layer, of in references.items()}
    with source.open(scene) as opened:
        (window,) = opened.windows
        images = read_images(
            dataset.path(scene),
            opened.labels,
            annotations,
            stretch=choose_stretch(dataset.band_names, dataset.dtype, dataset.statistics),
            difficult=scoring.difficult,
            window=window if scene.window else None,
        )
    size = {"width": scene.width, "height": scene.height}
    return {"name": scene.name, **size, **encode_images(images, dataset.legend)}


def _count_classes(dataset: Dataset, split: str) -> dict[str, Any]:
    return {
        layer: {"objects": of.splits[split].objects, "pixels": of.splits[split].pixels}
        for layer, of in dataset.layers.items()
        if split in of.splits
    }


def _thin_log(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Keep about `_MAX_POINTS` lines, and all with a validation score."""
    step = max(1, len(lines) // _MAX_POINTS)
    kept = [
        line
        for number, line in enumerate(lines)
        if number % step == 0 or line.get("miou") is not None or number == len(lines) - 1
    ]
    return [{key: line.get(key) for key in ("step", "loss", "miou")} for line in kept]


def _replace_nonfinite(data: Any) -> Any:
    """Replace NaN and infinity in JSON data by None; a training that diverged logs them."""
    if isinstance(data, float):
        return data if isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _replace_nonfinite(value) for key, value in data.items()}
    return [_replace_nonfinite(value) for value in data] if isinstance(data, list | tuple) else data


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
        ("pixels", describe_bands(dataset.band_names, dataset.dtype)),
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
    default = asdict(PolygonOptions())
    cleaning = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value}"
        for name, value in asdict(scoring.cleaning).items()
        if value != default[name]
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
