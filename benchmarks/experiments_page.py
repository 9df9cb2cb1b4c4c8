"""Write docs/experiments.md from the results of experiments.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

Row = Mapping[str, Any]

BASELINE, FULL, GOAL = "baseline", "full", 180
WITHOUT = "without-"
"""Prefix of rows that remove one measure from the full recipe."""

RARE = "helicopter"
"""Class with too few validation objects for a reliable score; mIoU is given with and without it."""

_HEAD = """\
# Experiments

Ablation of the measures against class imbalance at equal compute: each alone, all together, and each left out.
Written by `benchmarks/experiments.py`; do not edit it by hand.

```
pip install "geoseg[pretrained]"
geoseg prepare DOTA -o dota --splits train,val --outlines instances.parquet
{command}
```

To repeat one row, run the last command with `--rows NAME` and an empty `--folder`. The configuration of a row is
`configs/ablation/NAME.toml`; `geoseg preview` shows its windows.

**Equal compute**: every row trains for {budget:g} TFLOP of forward and backward passes (forward as counted by
PyTorch, backward twice that). Reading windows, the final validation and logit adjustment are not counted.
**Scores** are mIoU in percent over the {classes} object classes of the {scenes} validation scenes, whole scenes,
without background. A gain is relative to the mean of the first row of the table. ± is half the range of the seeds.
Minutes are training times with {threads} threads on a shared machine. These are short trainings for comparison; [The
shipped model](shipped-model.md) has the scores of longer ones.
"""


def format_page(rows: Sequence[Row]) -> str:
    """Format the page in Markdown from rows with one budget and the same settings."""
    if not rows:
        return "# Experiments\n\nNo results; run `benchmarks/experiments.py`.\n"
    layers = sorted(rows[0]["scores"])  # outlines before quads
    first = rows[0]["scores"][layers[0]]
    classes = [name for name in first["classes"] if name != "background"]
    budget = rows[0]["budget"]
    settings = "".join(f" --set '{setting}'" for setting in rows[0]["settings"])
    head = _HEAD.format(
        command=f"python -m benchmarks.experiments dota --budget {budget:g}{settings}",
        budget=budget,
        classes=len(classes),
        scenes=first["scenes"],
        threads=", ".join(sorted({str(row["threads"]) for row in rows})),
    )
    whole = [row for row in rows if not row["name"].startswith(WITHOUT)]
    left_out = [row for row in rows if row["name"].startswith(WITHOUT)]
    parts = [head, _format_summary(rows, layers)]
    parts.append(
        "## Each measure alone, and all together\n\n" + _format_table(whole, layers, BASELINE)
    )
    if left_out:
        full = [row for row in rows if row["name"] == FULL]
        parts.append(
            "## One measure left out\n\n" + _format_table([*full, *left_out], layers, FULL)
        )
    parts += [
        f"## Per class, {layer}\n\n" + _format_classes(rows, layer, classes) for layer in layers
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _format_summary(rows: Sequence[Row], layers: Sequence[str]) -> str:
    names = _group_by_name(rows)
    if not {BASELINE, FULL} <= set(names):
        return ""
    lines = []
    for layer in layers:
        base, full = (mean(_mious(names[name], layer)) for name in (BASELINE, FULL))
        gain = _relative_gain(full, base)
        met = "n/a" if gain is None else "reached" if gain >= GOAL else "missed"
        change = f"{100 * base:.1f} % → {100 * full:.1f} % mIoU ({_format_gain(gain)})"
        lines.append(f"- **{layer}**: baseline → full recipe {change}; goal +{GOAL} %: {met}")
    seeds = {name: _mious(of, layers[0]) for name, of in names.items()}
    below = [n for n in seeds if max(seeds[n]) < min(seeds[BASELINE])]
    like = [n for n in seeds if n != BASELINE and _is_within(seeds[n], seeds[BASELINE])]
    lines.append(f"- below all seeds of the baseline on {layers[0]}: {_join_names(below)}")
    lines.append(f"- within the range of the baseline seeds: {_join_names(like)}")
    if left_out := [name for name in seeds if name.startswith(WITHOUT)]:
        above = [n for n in left_out if min(seeds[n]) > max(seeds[FULL])]
        like = [n for n in left_out if _is_within(seeds[n], seeds[FULL])]
        lines.append(f"- above all seeds of the full recipe on {layers[0]}: {_join_names(above)}")
        lines.append(f"- within the range of the full recipe seeds: {_join_names(like)}")
    return "\n".join(lines)


def _format_table(rows: Sequence[Row], layers: Sequence[str], reference: str) -> str:
    """Format a line per name; gains are relative to the row `reference`."""
    names = _group_by_name(rows)
    cells = [f"{t} | without {RARE} | gain" for t in layers]
    lines = [
        f"| row | change | {' | '.join(cells)} | seeds | steps | minutes |",
        "|:--|:--|" + "--:|" * (3 * len(layers) + 3),
    ]
    for name, of in names.items():
        cells_of_row = []
        for layer in layers:
            scores = _mious(of, layer)
            base = mean(_mious(names[reference], layer)) if reference in names else None
            gain = None if base is None or name == reference else _relative_gain(mean(scores), base)
            without_rare = mean(_miou_without_rare(row["scores"][layer]) for row in of)
            cells_of_row.append(
                f"{_format_scores(scores)} | {100 * without_rare:.1f} | {_format_gain(gain)}"
            )
        minutes = mean(row["seconds"] for row in of) / 60
        seeds = ", ".join(str(row["seed"]) for row in of)
        lines.append(
            f"| {name} | {of[0]['about']} | {' | '.join(cells_of_row)} "
            f"| {seeds} | {of[0]['steps']} | {minutes:.1f} |"
        )
    return "\n".join(lines)


def _format_classes(rows: Sequence[Row], layer: str, classes: Sequence[str]) -> str:
    """Format the IoU per class in percent, averaged over the seeds."""
    lines = [f"| row | {' | '.join(classes)} |", "|:--|" + "--:|" * len(classes)]
    for name, of in _group_by_name(rows).items():
        cells = [
            _format_cell([row["scores"][layer]["classes"][class_name]["iou"] for row in of])
            for class_name in classes
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _group_by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group rows by name, in order of appearance."""
    names: dict[str, list[Row]] = {}
    for row in rows:
        names.setdefault(row["name"], []).append(row)
    return names


def _mious(rows: Sequence[Row], layer: str) -> list[float]:
    return [row["scores"][layer]["miou"] or 0.0 for row in rows]


def _miou_without_rare(scores: Mapping[str, Any]) -> float:
    scores_of_classes = [
        of["iou"] or 0.0
        for name, of in scores["classes"].items()
        if name not in ("background", RARE) and of["pixels"]
    ]
    return mean(scores_of_classes) if scores_of_classes else 0.0


def _relative_gain(value: float, base: float) -> float | None:
    """Return the gain over `base` in percent; None if `base` is 0."""
    return 100 * (value / base - 1) if base else None


def _format_gain(gain: float | None) -> str:
    return "–" if gain is None else f"{gain:+.0f} %"


def _format_scores(scores: Sequence[float]) -> str:
    middle = f"{100 * mean(scores):.2f}"
    return middle if len(scores) == 1 else f"{middle} ± {50 * (max(scores) - min(scores)):.2f}"


def _is_within(scores: Sequence[float], others: Sequence[float]) -> bool:
    return min(others) <= mean(scores) <= max(others)


def _join_names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _format_cell(scores: Sequence[float | None]) -> str:
    known = [score for score in scores if score is not None]
    return f"{100 * mean(known):.1f}" if known else "–"
