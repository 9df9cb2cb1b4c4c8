"""Plots: learning curves and class counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geoseg.files import replacing
from geoseg.legend import Legend


def plot_curves(history: Sequence[Mapping[str, Any]], output: Path) -> Path:
    """Loss and validation mIoU against the step, from the lines of a training log; PNG."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes: Axes = figure.subplots()
    axes.plot([h["step"] for h in history], [h["loss"] for h in history], color="#4363d8")
    axes.set(xlabel="step", ylabel="loss", title="Learning curves")
    axes.yaxis.label.set_color("#4363d8")
    scored = [(h["step"], 100 * h["miou"]) for h in history if h["miou"] is not None]
    right = axes.twinx()
    if scored:
        right.plot(*zip(*scored, strict=True), color="#e6194b", marker="o", markersize=4)
    right.set_ylabel("validation mIoU, % (without background)", color="#e6194b")
    right.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    return save_png(figure, output)


def plot_classes(
    objects: Mapping[str, int], pixels: Mapping[str, int], legend: Legend, output: Path
) -> Path:
    """Objects and pixels of every class on a logarithmic scale, most frequent first; PNG."""
    names = sorted((c.name for c in legend.objects), key=lambda name: -objects.get(name, 0))
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, counts, title in (
        (left, objects, "objects"),
        (right, pixels, "pixels"),
    ):
        values = [counts.get(name, 0) for name in names]
        colours = [legend[legend.id_of(name)].colour for name in names]
        bars = axes.barh(names, values, color=colours, edgecolor="#333333", linewidth=0.5)
        axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, fontsize=8)
        axes.set(xscale="symlog", title=f"{title} per class (log scale)")
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
    left.invert_yaxis()
    return save_png(figure, output)


def save_png(figure: Figure, output: Path) -> Path:
    """Write a figure, replacing what was there."""
    with replacing(output, overwrite=True) as scratch:
        figure.savefig(scratch, dpi=120, format="png")
    return output
