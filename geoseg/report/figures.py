"""Figures: learning curves, class counts, class imbalance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from geoseg.files import replacing
from geoseg.legend import Legend


def plot_curves(history: Sequence[Mapping[str, Any]], output: Path) -> Path:
    """Plot loss and validation mIoU over the training steps of a log, as PNG."""
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
    """Plot objects and pixels per class on a logarithmic scale, most frequent first, as PNG."""
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
    """Write a figure as PNG; replace an existing file."""
    with replacing(output, overwrite=True) as scratch:
        figure.savefig(scratch, dpi=120, format="png")
    return output


_MAX_PAIRED = 30  # classes in the co-occurrence matrix


@dataclass(frozen=True, slots=True)
class ClassBar:
    """Statistics of one class, as the imbalance figure shows them."""

    name: str
    colour: str
    objects: int
    pixels: int

    size: tuple[float, float, float] | None
    """5th, 50th and 95th percentile of the square root of object areas in pixels; None without objects."""

    quad_fill: float | None
    """Area of its outlines divided by that of their quads; None if unknown."""

    scenes: int
    """Scenes that contain the class."""

    together: Mapping[str, int]
    """Other class to number of scenes that contain both."""

    weights: Mapping[str, float]
    """Weighting to class weight, relative to that of background."""


def plot_imbalance(bars: Sequence[ClassBar], title: str, output: Path) -> Path:
    """Plot pixels, objects, sizes and weights of classes on logarithmic scales, as PNG.

    Below, plot the co-occurrence of the first 30 classes in scenes, and the share of their quads that they
    fill.
    """
    present = [bar for bar in bars if bar.scenes][:_MAX_PAIRED]
    upper, lower = 1.4 + 0.36 * len(bars), (2.2 + 0.42 * len(present)) * bool(present)
    figure = Figure(figsize=(16, upper + lower), layout="constrained")
    figure.suptitle(title)
    if not present:
        _plot_counts(figure, bars)
        return save_png(figure, output)
    (above,), (below,) = figure.subfigures(
        2, 1, squeeze=False, height_ratios=(upper, lower), hspace=0.03
    )
    _plot_counts(above, bars)
    filled = any(bar.quad_fill is not None for bar in present)
    left, right = below.subplots(1, 2, width_ratios=(1.9, 1))
    _plot_co_occurrence(left, present)
    if filled:
        _plot_fill(right, present)
    else:
        right.remove()
    return save_png(figure, output)


def _plot_counts(figure: Figure | SubFigure, bars: Sequence[ClassBar]) -> None:
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
        room = (most / least) ** 0.45 * 5  # space for the bar labels
        of.set(xscale="log", title=what, xlim=(max(0.5, least / 20), most * room))
    _plot_sizes(axes[2], bars)
    _plot_weights(axes[3], bars)
    for of in axes:
        of.grid(axis="x", alpha=0.25)
        of.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()


def _plot_sizes(axes: Axes, bars: Sequence[ClassBar]) -> None:
    for row, bar in enumerate(bars):
        if bar.size:
            low, middle, high = bar.size
            axes.plot((low, high), (row, row), color="#555555", linewidth=2)
            axes.plot(middle, row, "o", color=bar.colour, markeredgecolor="#333333")
    axes.set(xscale="log", title="object size")
    axes.set_xlabel("√area in pixels: median, 5th to 95th percentile")


def _plot_weights(axes: Axes, bars: Sequence[ClassBar]) -> None:
    names = [bar.name for bar in bars]
    for weighting, mark in zip(bars[0].weights, "|osD^vP", strict=False):
        values = [bar.weights[weighting] for bar in bars]
        axes.plot(values, names, mark, label=weighting, markersize=6, alpha=0.85)
    axes.set(xscale="log", title="class weight in the loss")
    axes.set_xlabel("relative to background")
    axes.legend(fontsize=8)


def _plot_co_occurrence(axes: Axes, bars: Sequence[ClassBar]) -> None:
    """Plot scenes with both classes of a pair; colour is their share of the scenes with the row's class."""
    scenes = np.array(
        [[bar.together.get(other.name, bar.scenes) for other in bars] for bar in bars]
    )
    share = scenes / np.diag(scenes)[:, None]
    np.fill_diagonal(share, np.nan)
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_facecolor("#e8e8e8")
    for (row, column), count in np.ndenumerate(scenes):
        own = row == column
        dark = not own and share[row, column] > 0.55
        axes.text(
            column,
            row,
            f"{count:,}" if count else "·",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "#222222" if count else "#aaaaaa",
            fontweight="bold" if own else "normal",
        )
    names = [bar.name for bar in bars]
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("scenes with both classes (grey: scenes with the class)")
    scale = axes.figure.colorbar(drawn, ax=axes, pad=0.01, aspect=30)
    scale.set_label("share of the scenes with the class of the row", fontsize=9)
    scale.outline.set_visible(False)


def _plot_fill(axes: Axes, bars: Sequence[ClassBar]) -> None:
    names = [bar.name for bar in bars]
    values = [100 * bar.quad_fill if bar.quad_fill is not None else 0 for bar in bars]
    colours = [bar.colour for bar in bars]
    drawn = axes.barh(names, values, color=colours, edgecolor="#333333", linewidth=0.5)
    labels = ["-" if bar.quad_fill is None else f"{100 * bar.quad_fill:.0f}" for bar in bars]
    axes.bar_label(drawn, labels, padding=3, fontsize=8)
    axes.axvline(100, color="#555555", linewidth=1, linestyle="--")
    axes.set(title="share of quads covered by outlines", xlim=(0, max(112, *values) * 1.08))
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel("area of outlines in % of quads")
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
