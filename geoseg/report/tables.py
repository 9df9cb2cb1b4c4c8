"""Text tables of evaluations, comparisons and statistics: aligned Markdown for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geoseg.dataset.statistics import ClassStats, Stats
from geoseg.metrics.comparison import OBJECT_SCORES, Agreement, Comparison
from geoseg.metrics.evaluation import Evaluation
from geoseg.metrics.objects import SIZES
from geoseg.training.class_weights import WEIGHTINGS

_MAX_CHANGES = 20  # pairs of classes in the text
_MAX_COMPANIONS = 4  # co-occurring classes per line


def format_evaluation(evaluation: Evaluation) -> str:
    """Format all scores of an evaluation, in percent."""
    scores = evaluation.to_json()
    return f"""{scores["split"]}, {scores["scenes"]} scenes, reference: {scores["truth"]}

Pixels (boundary: IoU within {scores["boundary_px"]} px of the contours)

{_format_pixels(scores)}

Objects (matched at an IoU of at least {scores["objects"]["iou"]:g}; small, medium, large: recall by size)

{_format_objects(scores)}

{_format_object_summary(scores)}
{_format_confidence(scores)}"""


def format_scores(evaluation: Evaluation) -> str:
    """Format the pixel scores per class, in percent."""
    return _format_pixels(evaluation.to_json())


def format_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table with aligned columns: the first to the left, others to the right."""
    filled = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    widths = [max(3, *(len(row[n]) for row in [head, *filled])) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return f"| {' | '.join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)])} |"

    rule = [f":{'-' * (widths[0] - 1)}", *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *map(line, filled)])


def format_percent(score: float | None) -> str:
    """Format a score in percent; – where it is undefined."""
    return "–" if score is None else f"{100 * score:z.1f}"


def format_interval(interval: Sequence[float] | None) -> str:
    """Format an interval in percent; empty where there is none."""
    return (
        "" if interval is None else f"{format_percent(interval[0])} – {format_percent(interval[1])}"
    )


def _format_pixels(scores: dict[str, Any]) -> str:
    rows = [
        [
            name,
            format_percent(score["iou"]),
            format_interval(score["interval"]),
            *(format_percent(score[key]) for key in ("boundary_iou", "precision", "recall", "f1")),
            f"{score['pixels']:,}",
        ]
        for name, score in scores["classes"].items()
    ]
    means = [
        [
            "**mean IoU**",
            f"**{format_percent(scores['miou'])}**",
            format_interval(scores["intervals"]["miou"]),
            format_percent(scores["boundary_miou"]),
        ],
        ["with background", format_percent(scores["miou_with_background"])],
    ]
    level = f"{100 * scores['intervals']['level']:.0f} %"
    head = ["class", "IoU", level, "boundary", "precision", "recall", "F1", "pixels"]
    return format_markdown(head, [*rows, *means])


def _format_objects(scores: dict[str, Any]) -> str:
    of_classes = {
        name: score["objects"] for name, score in scores["classes"].items() if "objects" in score
    }
    rows = [
        [
            name,
            *(f"{of[key]:,}" for key in ("truth", "found")),
            *(format_percent(of[key]) for key in ("precision", "recall", "f1")),
            *(format_percent(of["by_size"][size]["recall"]) for size in SIZES),
        ]
        for name, of in [*of_classes.items(), ("all", scores["objects"])]
    ]
    head = ["class", "annotated", "predicted", "precision", "recall", "F1", *SIZES]
    return format_markdown(head, rows)


def _format_object_summary(scores: dict[str, Any]) -> str:
    """Format average precision, panoptic quality, error kinds and count errors in a line each."""
    of = scores["objects"]
    precision = ", ".join(
        f"{title} {format_percent(of['ap'][key])}"
        for title, key in (("AP", "ap"), ("AP50", "ap50"), ("AP75", "ap75"))
    )
    quality = of["panoptic"]
    panoptic = ", ".join(f"{key.upper()} {format_percent(quality[key])}" for key in quality)
    lines = [
        f"Mean over classes: {precision} (COCO's protocol).",
        f"Countable classes: {panoptic}.",
        *(f"{title}: {_format_kinds(of['kinds'][key])}." for title, key in _SIDES),
    ]
    if "box_ap50" in of:
        lines.append(f"Oriented boxes: mAP50 {format_percent(of['box_ap50'])} (DOTA's protocol).")
    errors = [
        f"{group} {format_percent(error['from_10']['median'])} ({error['from_10']['scenes']})"
        for group, error in of["count_error"].items()
        if error["from_10"]["scenes"]
    ]
    if errors:
        about = "Count error, %, median of (n) scenes with 10 or more"
        lines.append(f"{about}: {', '.join(errors)}.")
    return "\n".join(lines) + "\n"


_SIDES = (("Annotated, %", "truth"), ("Predicted, %", "found"))


def _format_kinds(kinds: dict[str, int]) -> str:
    """Format the share of each error kind in percent."""
    total = max(1, sum(kinds.values()))
    return ", ".join(f"{kind} {100 * count / total:.0f}" for kind, count in kinds.items())


def _format_confidence(scores: dict[str, Any]) -> str:
    if scores["calibration"] is None:
        return "No calibration: confidences of the labels are unknown.\n"
    ece, best = scores["calibration"], scores["threshold"]["overall"]
    text = (
        f"Expected calibration error: {format_percent(ece['ece'])} points, "
        f"{format_percent(ece['objects']['ece'])} where an object is predicted.\n"
    )
    if best["gain"]:
        text += (
            f"With labels of a confidence below {best['confidence']:g} as background: "
            f"mean IoU {format_percent(best['miou'])} (+{format_percent(best['gain'])}).\n"
        )
    return text


def format_agreement(agreement: Agreement) -> str:
    """Format the agreement of two label rasters, and the most frequent changes."""
    data = agreement.to_json()
    rows = [
        [
            name,
            *(format_percent(of[k]) for k in ("iou", "f1")),
            f"{of['pixels_a']:,}",
            f"{of['pixels_b']:,}",
        ]
        for name, of in data["classes"].items()
        if of["pixels_a"] or of["pixels_b"]
    ]
    changes = [
        [f"{of['from']} → {of['to']}", f"{of['pixels']:,}", _format_area(of["area_m2"])]
        for of in data["changes"]
    ]
    hidden = len(changes) - _MAX_CHANGES
    changes = [*changes[:_MAX_CHANGES], *([[f"{hidden} more"]] if hidden > 0 else [])]
    changes.append(["**all**", f"{data['changed']:,}", _format_area(data["changed_m2"])])
    head = ["A → B", "pixels", *([] if data["changed_m2"] is None else ["area, m²"])]
    changes = [row[: len(head)] for row in changes]
    text = (
        f"{format_percent(data['agreement'])} % of {data['pixels']:,} pixels have the same label.\n"
    )
    if data["only_a"] or data["only_b"]:
        text += f"Not compared: {data['only_a']:,} pixels labelled in A only, {data['only_b']:,} in B only.\n"
    classes = format_markdown(["class", "IoU", "F1", "pixels in A", "pixels in B"], rows)
    return f"{text}\n{classes}\n\n{format_markdown(head, changes)}\n"


def format_comparison(comparison: Comparison) -> str:
    """Format two evaluations side by side."""
    data = comparison.to_json()
    all_classes = {"iou": data["miou"], **{name: data[name] for name in OBJECT_SCORES}}
    of_classes = [*data["classes"].items(), ("**mean, all**", all_classes)]
    pixels = [
        [name, *_format_difference(of["iou"]), format_interval(of["iou"]["interval"])]
        for name, of in of_classes
    ]
    objects = [
        [name, *(cell for score in OBJECT_SCORES for cell in _format_difference(of.get(score)))]
        for name, of in of_classes
        if "objects_f1" in of
    ]
    level = f"{100 * data['level']:.0f} %"
    sides = ["B", "B - A"]
    head = ["class", *(cell for s in ("F1", "AP50", "PQ") for cell in (f"{s}: A", *sides))]
    return f"""{data["split"]}, {data["scenes"]} scenes, reference: {data["truth"]}; A: {data["a"]}, B: {data["b"]}

Pixels

{format_markdown(["class", "IoU: A", *sides, level], pixels)}

Objects (PQ: countable classes)

{format_markdown(head, objects)}

* The {level} interval of this difference excludes 0 (not corrected for multiple comparisons).
"""


def _format_difference(of: dict[str, Any] | None) -> list[str]:
    """Format two scores and their difference."""
    if of is None:
        return [""] * 3
    change = of["difference"]
    text = "–" if change is None else f"{100 * change:+z.1f}{'*' if of['differs'] else ' '}"
    return [format_percent(of["a"]), format_percent(of["b"]), text]


def _format_area(square_metres: float | None) -> str:
    return "" if square_metres is None else f"{square_metres:,.0f}"


def format_stats(stats: Stats) -> str:
    """Format a line per class, most pixels first, and a line per band.

    Class weights are relative to background.
    """
    filled = any(c.quad_fill is not None for c in stats.classes)
    names = [f"{name} x" for name in WEIGHTINGS if name != "none"]
    head = ["class", "objects", "pixels", "share %", "size px", *["of quad %"] * filled, *names]
    classes = _align_columns(
        [head, *(_format_class(c, stats.classes[0], filled) for c in stats.by_pixels())]
    )
    return f"{classes}\n\n{_format_bands(stats.bands)}" if stats.bands else classes


def _format_bands(bands: Mapping[str, Mapping[str, float]]) -> str:
    head = ["band", *next(iter(bands.values()))]
    rows = [[name, *(f"{value:.6g}" for value in band.values())] for name, band in bands.items()]
    return _align_columns([head, *rows])


def format_co_occurrence(stats: Stats) -> str:
    """Format a line per class: number of scenes with it, and the classes most frequent in them."""
    rows = [["class", "scenes", "co-occurring classes, % of these scenes"]]
    for c in stats.by_pixels():
        if c.scenes:
            others = sorted(c.together.items(), key=lambda item: -item[1])
            named = [f"{name} {100 * n / c.scenes:.0f} %" for name, n in others if n]
            more = len(named) - _MAX_COMPANIONS
            listed = ", ".join(named[:_MAX_COMPANIONS]) + (f", {more} more" if more > 0 else "")
            rows.append([c.name, f"{c.scenes:,}", listed or "none"])
    return _align_columns(rows, left=(0, 2))


def _format_class(c: ClassStats, background: ClassStats, filled: bool) -> list[str]:
    size = f"{c.size[1]:.0f} ({c.size[0]:.0f}-{c.size[2]:.0f})" if c.size else "-"
    objects = f"{c.objects:,}" if c is not background else "-"
    share = "-" if c.quad_fill is None else f"{100 * c.quad_fill:.0f}"
    relative = [
        _format_weight(c.times(background, weighting))
        for weighting in WEIGHTINGS
        if weighting != "none"
    ]
    head = [c.name, objects, f"{c.pixels:,}", f"{100 * c.share:.3f}", size]
    return [*head, *[share] * filled, *relative]


def _format_weight(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _align_columns(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
