"""Plots: learning curves, and how unevenly the classes of a dataset occur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    return _save(figure, output)


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
    return _save(figure, output)


@dataclass(frozen=True, slots=True)
class Bar:
    """One class in `plot_imbalance`."""

    name: str
    colour: str
    objects: int
    pixels: int

    size: tuple[float, float, float] | None
    """Smallest, middle and largest side of its objects, pixels."""

    weights: Mapping[str, float]
    """By weighting, as multiples of the background's."""


def plot_imbalance(bars: Sequence[Bar], title: str, output: Path) -> Path:
    """Pixels, objects, sizes and weights of classes, in the order given, on logarithmic scales; PNG."""
    figure = Figure(figsize=(16, 1.4 + 0.36 * len(bars)), layout="constrained")
    figure.suptitle(title)
    axes: Sequence[Axes] = figure.subplots(1, 4, sharey=True, width_ratios=(1, 1, 0.8, 1.2))
    names = [bar.name for bar in bars]
    for of, counts, what in (
        (axes[0], [bar.pixels for bar in bars], "pixels"),
        (axes[1], [bar.objects for bar in bars], "objects"),
    ):
        colours = [bar.colour for bar in bars]
        drawn = of.barh(names, counts, color=colours, edgecolor="#333333", linewidth=0.5)
        labels = [f"{count:,}" if count else "none" for count in counts]
        of.bar_label(drawn, labels, padding=3, fontsize=8)
        least, most = min(filter(None, counts), default=1), max(10, *counts)
        room = (most / least) ** 0.45 * 5  # for the numbers beside the bars
        of.set(xscale="log", title=what, xlim=(max(0.5, least / 20), most * room))
    for row, bar in enumerate(bars):
        if bar.size:
            low, middle, high = bar.size
            axes[2].plot((low, high), (row, row), color="#555555", linewidth=2)
            axes[2].plot(middle, row, "o", color=bar.colour, markeredgecolor="#333333")
    axes[2].set(xscale="log", title="size of objects")
    axes[2].set_xlabel("side in pixels: middle, and 5 to 95 %")
    for weighting, mark in zip(bars[0].weights, "|osD^vP", strict=False):
        values = [bar.weights[weighting] for bar in bars]
        axes[3].plot(values, names, mark, label=weighting, markersize=6, alpha=0.85)
    axes[3].set(xscale="log", title="weight in the loss")
    axes[3].set_xlabel("times the background's")
    axes[3].legend(fontsize=8)
    for of in axes:
        of.grid(axis="x", alpha=0.25)
        of.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    return _save(figure, output)


def _save(figure: Figure, output: Path) -> Path:
    with replacing(output, overwrite=True) as scratch:
        figure.savefig(scratch, dpi=120, format="png")
    return output
