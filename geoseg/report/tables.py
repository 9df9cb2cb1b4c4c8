"""Evaluations for people to read: Markdown that lines up in a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geoseg.dataset.statistics import ClassStats, Stats
from geoseg.metrics.comparison import Agreement, Comparison
from geoseg.metrics.evaluation import Evaluation
from geoseg.metrics.objects import SIZES
from geoseg.training.class_weights import WEIGHTINGS

_MOST_CHANGES = 20
"""Pairs of classes that a person is shown."""


def report_text(evaluation: Evaluation) -> str:
    """Everything worth a look in a terminal; scores in percent."""
    scores = evaluation.to_json()
    return f"""{scores["split"]}, {scores["scenes"]} scenes, truth: {scores["truth"]}

Pixels (border: IoU within {scores["boundary_px"]} px of the contours)

{_pixel_table(scores)}

Objects (matched from an IoU of {scores["objects"]["iou"]:g} on; by size: recall)

{_object_table(scores)}

{_confidence_text(scores)}"""


def score_table(evaluation: Evaluation) -> str:
    """Per-class scores of pixels, in percent."""
    return _pixel_table(evaluation.to_json())


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in plain text too: the first to the left, others to the right."""
    filled = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    widths = [max(3, *(len(row[n]) for row in [head, *filled])) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return f"| {' | '.join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)])} |"

    rule = [f":{'-' * (widths[0] - 1)}", *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *map(line, filled)])


def percent(score: float | None) -> str:
    """A score in percent, – where it is not defined."""
    return "–" if score is None else f"{100 * score:z.1f}"


def spread(interval: Sequence[float] | None) -> str:
    """An interval in percent; nothing where there is none."""
    return "" if interval is None else f"{percent(interval[0])} – {percent(interval[1])}"


def _pixel_table(scores: dict[str, Any]) -> str:
    rows = [
        [
            name,
            percent(score["iou"]),
            spread(score["interval"]),
            *(percent(score[key]) for key in ("boundary_iou", "precision", "recall", "f1")),
            f"{score['pixels']:,}",
        ]
        for name, score in scores["classes"].items()
    ]
    means = [
        [
            "**mean IoU**",
            f"**{percent(scores['miou'])}**",
            spread(scores["intervals"]["miou"]),
            percent(scores["boundary_miou"]),
        ],
        ["with background", percent(scores["miou_with_background"])],
    ]
    level = f"{100 * scores['intervals']['level']:.0f} %"
    head = ["class", "IoU", level, "border", "precision", "recall", "F1", "true pixels"]
    return markdown(head, [*rows, *means])


def _object_table(scores: dict[str, Any]) -> str:
    of_classes = {
        name: score["objects"] for name, score in scores["classes"].items() if "objects" in score
    }
    rows = [
        [
            name,
            *(f"{of[key]:,}" for key in ("truth", "found")),
            *(percent(of[key]) for key in ("precision", "recall", "f1")),
            *(percent(of["by_size"][size]["recall"]) for size in SIZES),
        ]
        for name, of in [*of_classes.items(), ("all", scores["objects"])]
    ]
    head = ["class", "annotated", "found", "precision", "recall", "F1", *SIZES]
    return markdown(head, rows)


def _confidence_text(scores: dict[str, Any]) -> str:
    if scores["calibration"] is None:
        return "Nobody knows how sure the labels are: no confidence beside them.\n"
    ece, best = scores["calibration"], scores["threshold"]["overall"]
    text = (
        f"Confidence is off by {percent(ece['ece'])} points on average, "
        f"by {percent(ece['objects']['ece'])} where an object is labelled.\n"
    )
    if best["gain"]:
        text += (
            f"Labels less sure than {best['confidence']:g} taken for background: "
            f"mean IoU {percent(best['miou'])} (+{percent(best['gain'])}).\n"
        )
    return text


def agreement_text(found: Agreement) -> str:
    """How far two label rasters agree, and what changed most."""
    told = found.to_json()
    rows = [
        [
            name,
            *(percent(of[k]) for k in ("iou", "f1")),
            f"{of['pixels_a']:,}",
            f"{of['pixels_b']:,}",
        ]
        for name, of in told["classes"].items()
        if of["pixels_a"] or of["pixels_b"]
    ]
    changes = [
        [f"{of['from']} → {of['to']}", f"{of['pixels']:,}", _area(of["area_m2"])]
        for of in told["changes"]
    ]
    hidden = len(changes) - _MOST_CHANGES
    changes = [*changes[:_MOST_CHANGES], *([[f"{hidden} more"]] if hidden > 0 else [])]
    changes.append(["**all**", f"{told['changed']:,}", _area(told["changed_m2"])])
    head = ["A → B", "pixels", *([] if told["changed_m2"] is None else ["area, m²"])]
    changes = [row[: len(head)] for row in changes]
    text = f"{percent(told['agreement'])} % of {told['pixels']:,} pixels have the same label.\n"
    if told["only_a"] or told["only_b"]:
        text += f"Not compared: {told['only_a']:,} pixels that only A labels, {told['only_b']:,} only B.\n"
    classes = markdown(["class", "IoU", "F1", "pixels in A", "pixels in B"], rows)
    return f"{text}\n{classes}\n\n{markdown(head, changes)}\n"


def comparison_text(comparison: Comparison) -> str:
    """Two evaluations side by side."""
    told = comparison.to_json()
    all_classes = {"iou": told["miou"], "objects_f1": told["objects_f1"]}
    rows = [
        [name, *_apart(of["iou"]), spread(of["iou"]["interval"]), *_apart(of.get("objects_f1"))]
        for name, of in [*told["classes"].items(), ("**mean, all**", all_classes)]
    ]
    level = f"{100 * told['level']:.0f} %"
    head = ["class", "IoU: A", "B", "B - A", level, "objects' F1: A", "B", "B - A"]
    return f"""{told["split"]}, {told["scenes"]} scenes, truth: {told["truth"]}; A: {told["a"]}, B: {told["b"]}

{markdown(head, rows)}

* more than the choice of scenes explains, if it was the only number looked at
"""


def _apart(of: dict[str, Any] | None) -> list[str]:
    """Two scores and their difference."""
    if of is None:
        return [""] * 3
    apart = of["difference"]
    told = "–" if apart is None else f"{100 * apart:+z.1f}{'*' if of['differs'] else ' '}"
    return [percent(of["a"]), percent(of["b"]), told]


def _area(square_metres: float | None) -> str:
    return "" if square_metres is None else f"{square_metres:,.0f}"


# Statistics for people to read.

_COMPANIONS = 4  # of a class, that have a place in a line


def stats_table(found: Stats) -> str:
    """A line per class, most pixels first; weights as multiples of the background's."""
    filled = any(c.quad_fill is not None for c in found.classes)
    names = [f"{name} x" for name in WEIGHTINGS if name != "none"]
    head = ["class", "objects", "pixels", "share %", "size px", *["of quad %"] * filled, *names]
    return _aligned([head, *(_row(c, found.classes[0], filled) for c in found.by_pixels())])


def co_occurrence_table(found: Stats) -> str:
    """A line per class: in how many scenes it is, and which others are most often in these too."""
    rows = [["class", "scenes", "with, of these scenes"]]
    for c in found.by_pixels():
        if c.scenes:
            others = sorted(c.together.items(), key=lambda item: -item[1])
            named = [f"{name} {100 * n / c.scenes:.0f} %" for name, n in others if n]
            more = len(named) - _COMPANIONS
            listed = ", ".join(named[:_COMPANIONS]) + (f", {more} more" if more > 0 else "")
            rows.append([c.name, f"{c.scenes:,}", listed or "none"])
    return _aligned(rows, left=(0, 2))


def _row(c: ClassStats, background: ClassStats, filled: bool) -> list[str]:
    size = f"{c.size[1]:.0f} ({c.size[0]:.0f}-{c.size[2]:.0f})" if c.size else "-"
    objects = f"{c.objects:,}" if c is not background else "-"
    share = "-" if c.quad_fill is None else f"{100 * c.quad_fill:.0f}"
    relative = [
        _short(c.times(background, weighting)) for weighting in WEIGHTINGS if weighting != "none"
    ]
    head = [c.name, objects, f"{c.pixels:,}", f"{100 * c.share:.3f}", size]
    return [*head, *[share] * filled, *relative]


def _short(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
