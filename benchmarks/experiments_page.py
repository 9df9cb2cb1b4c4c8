"""docs/experiments.md, from the results of experiments.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

Row = Mapping[str, Any]

BASELINE, FULL, GOAL = "baseline", "full", 180
WITHOUT = "without-"
"""So begin the names of rows that leave one lever out of the full recipe."""

APART = "helicopter"
"""A class of which the validation scenes hold so little that it says little: mIoU is given with and without it."""

_HEAD = """\
# Experiments

What each lever against class imbalance is worth, alone, together and left out, at equal compute. Written by
`benchmarks/experiments.py`; do not edit it by hand.

```
pip install "geoseg[pretrained]"
geoseg prepare DOTA -o dota --splits train,val --outlines instances.parquet
{command}
```

One row again: the last command with `--rows NAME` and an empty `--folder`. A row's configuration is
`configs/ablation/NAME.toml`; `geoseg preview` draws its windows.

**Equal compute**: every row trains for {budget:g} TFLOP of forward and backward arithmetic (forward as PyTorch
counts it, backward twice that), however many steps those are; reading windows, the validation at the end and
the shares that are put right after training are not counted. **Scores** are mIoU in percent over the {classes}
object classes of the {scenes} validation scenes, whole scenes, without background; a relative gain stands
beside the absolute score it belongs to, and is that over the mean of the table's first row. ± is half the
distance between the seeds' extremes. Minutes are those of training with {threads} threads, on a machine that may
have been busy. These are short trainings made for comparison: what longer ones reach is in the README.
"""


def page(rows: Sequence[Row]) -> str:
    """The whole page, in Markdown, of rows of one budget and the same settings."""
    if not rows:
        return "# Experiments\n\nNone yet: see `benchmarks/experiments.py`.\n"
    truths = sorted(rows[0]["scores"])  # outlines before quads
    first = rows[0]["scores"][truths[0]]
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
    parts = [head, _verdict(rows, truths)]
    parts.append("## One lever alone, and all together\n\n" + _table(whole, truths, BASELINE))
    if left_out:
        full = [row for row in rows if row["name"] == FULL]
        parts.append("## One lever left out\n\n" + _table([*full, *left_out], truths, FULL))
    parts += [f"## Per class, {truth}\n\n" + _by_class(rows, truth, classes) for truth in truths]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _verdict(rows: Sequence[Row], truths: Sequence[str]) -> str:
    names = _names(rows)
    if not {BASELINE, FULL} <= set(names):
        return ""
    lines = []
    for truth in truths:
        base, full = (mean(_mious(names[name], truth)) for name in (BASELINE, FULL))
        gain = _gain(full, base)
        met = "n/a" if gain is None else "reached" if gain >= GOAL else "missed"
        said = f"{100 * base:.1f} % → {100 * full:.1f} % mIoU ({_percent(gain)})"
        lines.append(f"- **{truth}**: baseline → full recipe {said}; goal +{GOAL} %: {met}")
    seeds = {name: _mious(of, truths[0]) for name, of in names.items()}
    below = [n for n in seeds if max(seeds[n]) < min(seeds[BASELINE])]
    like = [n for n in seeds if n != BASELINE and _within(seeds[n], seeds[BASELINE])]
    lines.append(f"- below every seed of the baseline on {truths[0]}: {_listed(below)}")
    lines.append(f"- no further from the baseline than its seeds from each other: {_listed(like)}")
    if left_out := [name for name in seeds if name.startswith(WITHOUT)]:
        above = [n for n in left_out if min(seeds[n]) > max(seeds[FULL])]
        like = [n for n in left_out if _within(seeds[n], seeds[FULL])]
        lines.append(f"- above every seed of the full recipe on {truths[0]}: {_listed(above)}")
        lines.append(
            f"- no further from the full recipe than its seeds from each other: {_listed(like)}"
        )
    return "\n".join(lines)


def _table(rows: Sequence[Row], truths: Sequence[str], reference: str) -> str:
    """A line for each name; relative gains are those over the row `reference`."""
    names = _names(rows)
    cells = [f"{t} | without {APART} | gain" for t in truths]
    lines = [
        f"| row | what it changes | {' | '.join(cells)} | seeds | steps | minutes |",
        "|:--|:--|" + "--:|" * (3 * len(truths) + 3),
    ]
    for name, of in names.items():
        told = []
        for truth in truths:
            scores = _mious(of, truth)
            base = mean(_mious(names[reference], truth)) if reference in names else None
            gain = None if base is None or name == reference else _gain(mean(scores), base)
            apart = mean(_without(row["scores"][truth]) for row in of)
            told.append(f"{_spread(scores)} | {100 * apart:.1f} | {_percent(gain)}")
        minutes = mean(row["seconds"] for row in of) / 60
        seeds = ", ".join(str(row["seed"]) for row in of)
        lines.append(
            f"| {name} | {of[0]['about']} | {' | '.join(told)} "
            f"| {seeds} | {of[0]['steps']} | {minutes:.1f} |"
        )
    return "\n".join(lines)


def _by_class(rows: Sequence[Row], truth: str, classes: Sequence[str]) -> str:
    """IoU in percent, the mean of the seeds; a row per line."""
    lines = [f"| row | {' | '.join(classes)} |", "|:--|" + "--:|" * len(classes)]
    for name, of in _names(rows).items():
        cells = [
            _cell([row["scores"][truth]["classes"][class_name]["iou"] for row in of])
            for class_name in classes
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _names(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by name, in the order of their first."""
    names: dict[str, list[Row]] = {}
    for row in rows:
        names.setdefault(row["name"], []).append(row)
    return names


def _mious(rows: Sequence[Row], truth: str) -> list[float]:
    return [row["scores"][truth]["miou"] or 0.0 for row in rows]


def _without(scores: Mapping[str, Any]) -> float:
    found = [
        of["iou"] or 0.0
        for name, of in scores["classes"].items()
        if name not in ("background", APART) and of["pixels"]
    ]
    return mean(found) if found else 0.0


def _gain(value: float, base: float) -> float | None:
    """In percent of `base`; None where that is nothing."""
    return 100 * (value / base - 1) if base else None


def _percent(gain: float | None) -> str:
    return "–" if gain is None else f"{gain:+.0f} %"


def _spread(scores: Sequence[float]) -> str:
    middle = f"{100 * mean(scores):.2f}"
    return middle if len(scores) == 1 else f"{middle} ± {50 * (max(scores) - min(scores)):.2f}"


def _within(scores: Sequence[float], others: Sequence[float]) -> bool:
    return min(others) <= mean(scores) <= max(others)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _cell(scores: Sequence[float | None]) -> str:
    known = [score for score in scores if score is not None]
    return f"{100 * mean(known):.1f}" if known else "–"
