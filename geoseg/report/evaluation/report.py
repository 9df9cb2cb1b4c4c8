"""What the page of an evaluation shows, gathered: scenes to look at, counts, curves, and where all comes from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.annotations import Annotations
from geoseg.dataset import Dataset, DatasetScene
from geoseg.engine.labelled import Labelled
from geoseg.model.file import Model
from geoseg.progress import Track, silent
from geoseg.report.evaluation.choice import RULE, choose
from geoseg.report.evaluation.page import write_evaluation_page
from geoseg.report.evaluation.provenance import of_data, of_labels, of_model, of_rules, of_run
from geoseg.report.evaluation.shown import look, pictures
from geoseg.score.scene import Rules

log = logging.getLogger(__name__)

_LARGEST_LOG = 1 << 26  # bytes


def report(
    evaluations: Sequence[Mapping[str, Any]],
    output: Path,
    *,
    dataset: Dataset,
    labelled: Labelled,
    model: Model | None,
    truths: Mapping[str, Mapping[str, Annotations]],
    rules: Rules,
    command: str = "",
    overwrite: bool = False,
    track: Track = silent,
) -> Path:
    """Write the page of `evaluations` (as JSON) of a split of `dataset`; the best truth comes first.

    `labelled` gives labels of the scenes that are shown once more, `model` is what made them, if that is known.
    `truths` are annotations by layer and scene, `command` is what was typed. Returns `output`.
    Raises SceneError, OutputError.
    """
    evaluations = sorted(evaluations, key=lambda one: one["truth"] != dataset.default_layer)
    first = evaluations[0]
    split = dataset.split(first["split"])
    scores = first["by_scene"]
    chosen = choose({name: (of["miou"], of["pixels"]) for name, of in scores.items()})
    scenes = {scene.name: scene for scene in split}
    scored = sum(of["miou"] is not None for of in scores.values())
    rule = RULE.format(truth=first["truth"], scored=scored)
    if others := len(scores) - scored:
        rule += f" {others} more hold no object."
    return write_evaluation_page(
        evaluations,
        output,
        counts=_counts(dataset, first["split"]),
        scenes=[
            {"rank": chosen[name], **_shown(scenes[name], dataset, labelled, truths, rules)}
            for name in track(list(chosen), "pictures")
        ],
        rule=rule,
        learning=learning_log(model.path) if model else [],
        provenance=[
            of_model(model) if model else of_labels(labelled.path),
            of_data(dataset, split, list(truths)),
            of_rules(rules, first),
            of_run(command),
        ],
        card=model.card.to_json() if model else None,
        overwrite=overwrite,
    )


def _shown(
    scene: DatasetScene,
    dataset: Dataset,
    labelled: Labelled,
    truths: Mapping[str, Mapping[str, Annotations]],
    rules: Rules,
) -> dict[str, Any]:
    annotations = {layer: of[scene.name] for layer, of in truths.items()}
    with labelled.open(scene) as (labels, _):
        looked = look(dataset.path(scene), labels, annotations, difficult=rules.difficult)
    size = {"width": scene.width, "height": scene.height}
    return {"name": scene.name, **size, **pictures(looked, dataset.legend)}


def _counts(dataset: Dataset, split: str) -> dict[str, Any]:
    return {
        layer: {"objects": of.splits[split].objects, "pixels": of.splits[split].pixels}
        for layer, of in dataset.layers.items()
        if split in of.splits
    }


def learning_log(model: Path) -> list[dict[str, Any]]:
    """The lines of the training log that lies beside a model; none without one."""
    path = model.with_suffix(".log.jsonl")
    if not path.is_file():
        return []
    try:
        if path.stat().st_size > _LARGEST_LOG:
            raise ValueError("it is too large")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [
            {
                key: None if line[key] is None else float(line[key])
                for key in ("step", "loss", "miou")
            }
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        log.warning("%s: no learning curve is drawn, it is no training log (%s)", path, fault)
        return []
