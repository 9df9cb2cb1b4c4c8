"""The legend beside a picture: what the colours mean, how many there are, how large a metre is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from math import floor, log10

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from geoseg.legend import Legend

WIDTH = 340
"""Pixels of a panel, on a scale where its text is 15 pixels high."""

_MARGIN, _LINE = 24, 30
_INK, _GREY = "#1c1c1c", "#6b6b6b"


def draw_panel(
    title: str,
    counts: Mapping[int, int],
    legend: Legend,
    *,
    height: int,
    scale: float = 1.0,
    pixel_size_m: float | None = None,
) -> NDArray[np.uint8]:
    """(height, WIDTH * scale, 3) picture of the classes that `counts` (class id: polygons) names.

    The most frequent come first; what does not fit is summed up. With the size of the picture's
    pixels there is a scale bar.
    """
    page = _Page(height=round(height / scale), scale=scale)
    title = _short(title, 36)
    page.text(_MARGIN, 34, title, size=min(17, 450 / len(title)), weight="bold")
    total, kinds = sum(counts.values()), sum(1 for n in counts.values() if n)
    summary = f"{_plural(total, 'polygon')} in {_plural(kinds, 'class', 'classes')}"
    page.text(_MARGIN, 60, summary if total else "no polygons", colour=_GREY)
    ranked = sorted((item for item in counts.items() if item[1]), key=lambda item: -item[1])
    room = max(1, (page.height - 100 - (70 if pixel_size_m else 20)) // _LINE)
    shown = ranked if len(ranked) <= room else ranked[: room - 1]
    for number, (class_id, count) in enumerate(shown):
        y = 100 + _LINE * number
        page.swatch(_MARGIN, y, legend[class_id].colour)
        page.text(_MARGIN + 34, y, _short(legend[class_id].name, 22))
        page.text(WIDTH - _MARGIN, y, f"{count:,}", align="right")
    if rest := ranked[len(shown) :]:
        y = 100 + _LINE * len(shown)
        page.text(
            _MARGIN + 34, y, f"{_plural(len(rest), 'more class', 'more classes')}", colour=_GREY
        )
        page.text(WIDTH - _MARGIN, y, f"{sum(n for _, n in rest):,}", align="right", colour=_GREY)
    if pixel_size_m and page.height >= 200:
        page.scale_bar(_MARGIN, page.height - 30, pixel_size_m * scale)
    return page.pixels()


class _Page:
    """A blank panel on which things stand at pixels from its upper left corner, times `scale`."""

    def __init__(self, *, height: int, scale: float) -> None:
        self.height = height
        self._shape = round(WIDTH * scale), round(height * scale)
        self._dpi = 72 * scale  # so that a point is a pixel of the panel
        inches = [(length + 0.5) / self._dpi for length in self._shape]  # Figure rounds down
        self._figure = Figure(figsize=(inches[0], inches[1]), dpi=self._dpi, facecolor="white")
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        self._axes.axis("off")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 14,
        colour: str = _INK,
        align: str = "left",
        weight: str = "normal",
    ) -> None:
        self._axes.text(
            x,
            y,
            text,
            fontsize=size,
            color=colour,
            ha=align,
            va="center_baseline",
            fontweight=weight,
            parse_math=False,
        )

    def swatch(self, x: float, y: float, colour: str) -> None:
        box = Rectangle((x, y - 9), 20, 16, facecolor=colour, edgecolor="#303030", linewidth=1)
        self._axes.add_patch(box)

    def scale_bar(self, x: float, y: float, metres_per_pixel: float) -> None:
        metres = round_length(200 * metres_per_pixel)
        length = metres / metres_per_pixel
        self._axes.plot([x, x, x + length, x + length], [y - 6, y, y, y - 6], color=_INK, lw=1.6)
        label = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
        self.text(x + length + 10, y - 1, label, colour=_GREY)

    def pixels(self) -> NDArray[np.uint8]:
        raw = BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font has not
            self._figure.savefig(raw, format="rgba", dpi=self._dpi)
        width, height = self._shape
        return np.frombuffer(raw.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]


def round_length(longest: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50 … (and their tenths) that is at most `longest`."""
    power = 10.0 ** floor(log10(longest))
    return max(step * power for step in (0.5, 1, 2, 5) if step * power <= longest)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _plural(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
