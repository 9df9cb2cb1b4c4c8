"""Statistics for people to read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoseg.learn.weights import WEIGHTINGS
from geoseg.stats.found import ClassStats, Stats

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
