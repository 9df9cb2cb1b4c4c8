"""The page of an evaluation: what its scripts draw, and the HTML around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.report.page import page, resource, text, write_page

_SCRIPTS = (
    *("elements", "tables", "headline", "classes", "confusion"),
    *("curves", "distribution", "zoom", "scenes", "main"),
)
_BINS = 20
_MOST_LINES = 400  # of a learning curve

Evaluation = Mapping[str, Any]
"""What `geoseg evaluate --json` says of one truth; whatever it does not say is left out of the page."""

Facts = tuple[str, Sequence[tuple[str, str]]]
"""A title, and under it names and texts."""


def write_evaluation_page(
    evaluations: Sequence[Evaluation],
    output: Path,
    *,
    counts: Mapping[str, Any] | None = None,
    scenes: Sequence[Mapping[str, Any]] = (),
    rule: str = "",
    learning: Sequence[Mapping[str, Any]] = (),
    provenance: Sequence[Facts] = (),
    card: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one HTML file that shows evaluations of the same model and scenes, one for each truth.

    counts: layer → ``objects`` and ``pixels`` by class, of the split that was scored.
    scenes: `shown.pictures`, each with ``name``, ``rank`` (best, median or worst), ``width`` and ``height``;
    `rule` says how they were chosen. learning: lines of a training log. card: the model's.
    Returns `output`. Raises OutputError.
    """
    data = {
        "evaluations": [
            _shortened(one, {scene["name"] for scene in scenes}) for one in evaluations
        ],
        "counts": counts or {},
        "scenes": list(scenes),
        "rule": rule,
        "learning": _finite(_thinned(learning)),
        "provenance": [[title, [list(fact) for fact in facts]] for title, facts in provenance],
        "card": _finite(card),
    }
    first = evaluations[0]
    title = f"{first['model']} on {first['dataset']}, {first['split']}"
    body = resource("evaluation/body.html")
    html = page(
        title,
        body.replace("{subtitle}", text(_subtitle(first))).replace("{title}", text(title)),
        data=data,
        styles=["evaluation/style.css"],
        scripts=[f"evaluation/{name}.js" for name in _SCRIPTS],
    )
    return write_page(html, output, overwrite=overwrite)


def _subtitle(first: Evaluation) -> str:
    parts = [f"{first['scenes']:,} {'scene' if first['scenes'] == 1 else 'scenes'}"]
    if first.get("pixels"):
        parts.append(f"{first['pixels'] / 1e6:,.1f} million pixels")
    return " · ".join([*parts, f"{len(first['legend']) - 1} classes"])


def _shortened(evaluation: Evaluation, shown: set[str]) -> dict[str, Any]:
    """Without the scores of scenes that are not shown; how they are spread stays."""
    by_scene = {name: _scene(score) for name, score in evaluation.get("by_scene", {}).items()}
    mious = np.array([s["miou"] for s in by_scene.values() if s["miou"] is not None], float)
    spread = {
        "counts": np.histogram(mious, bins=_BINS, range=(0, 1))[0].tolist(),
        "median": float(np.median(mious)) if len(mious) else None,
    }
    return {
        **evaluation,
        "by_scene": {name: score for name, score in by_scene.items() if name in shown},
        "spread": spread if len(mious) > 1 else None,
    }


def _scene(score: Any) -> Mapping[str, Any]:
    """Older evaluations have a number for a scene."""
    return score if isinstance(score, Mapping) else {"miou": score}


def _thinned(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """At most _MOST_LINES and every one with a score, as far as a curve needs them."""
    step = max(1, len(lines) // _MOST_LINES)
    kept = [
        line
        for number, line in enumerate(lines)
        if number % step == 0 or line.get("miou") is not None or number == len(lines) - 1
    ]
    return [{key: line.get(key) for key in ("step", "loss", "miou")} for line in kept]


def _finite(data: Any) -> Any:
    """JSON data without the numbers that JSON has no word for; a training that diverged has some."""
    if isinstance(data, float):
        return data if isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data
