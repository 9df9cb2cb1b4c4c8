"""Contact sheet: training windows, each without and with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from geoseg.files import replacing
from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.raster.stretch import Stretch

_SIDE = 320  # largest side of a window on the sheet in pixels
_GAP = 8
_DPI = 100


class LabelledWindow(Protocol):
    """Pixels and labels of a training window."""

    @property
    def pixels(self) -> NDArray[Any]:
        """(size, size, bands)."""
        ...

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(size, size) class IDs; 255 is ignored."""
        ...


def draw_contact_sheet(
    windows: Sequence[LabelledWindow], legend: Legend, stretch: Stretch, title: str, output: Path
) -> Path:
    """Draw windows without and with labels, numbered from 0, and a legend of their classes, as PNG.

    Labels are outlined and tinted in the colour of their class; ignored pixels are hatched.

    Parameters
    ----------
    windows
        Windows of one size.
    legend
        Names and colours of the classes.
    stretch
        Which bands are shown, and how their values become colours.
    title
        Title of the sheet.
    output
        PNG file, which is replaced.
    """
    columns = max(1, round(sqrt(len(windows) / 2)))
    pairs = [
        _draw_pair(stretch.apply(window.pixels), window.labels, legend, number)
        for number, window in enumerate(windows)
    ]
    height, width = pairs[0].shape[:2]
    rows = ceil(len(pairs) / columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + 2 * _GAP), 3), 255, np.uint8)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, columns)
        top, left = row * (height + _GAP) + _GAP, column * (width + 2 * _GAP) + _GAP
        sheet[top : top + height, left : left + width] = pair
    return _write_png(sheet, _legend_entries(windows, legend), title, output)


def _draw_pair(
    picture: NDArray[np.uint8], labels: NDArray[np.uint8], legend: Legend, number: int
) -> NDArray[np.uint8]:
    """Return a picture (size, size, 3) beside the same with labels (size, size)."""
    side = min(_SIDE, len(labels))
    if side < len(labels):
        picture = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))
        nearest = cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST)
        labels = np.asarray(nearest, np.uint8)
    plain = np.ascontiguousarray(picture)
    labelled = plain.astype(np.float32)
    colours = np.zeros((256, 3), np.float32)
    for c in legend:
        colours[c.id] = legend.rgb(c.id)
    objects = ~np.isin(labels, (BACKGROUND, IGNORE))
    labelled[objects] = 0.65 * labelled[objects] + 0.35 * colours[labels[objects]]
    edge = np.zeros_like(objects)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge |= np.roll(edge, 1, 0) | np.roll(edge, 1, 1)  # widen to two pixels
    inner = edge & objects
    labelled[inner] = colours[labels[inner]]
    rows, cells = np.indices(labels.shape)
    labelled[(labels == IGNORE) & ((rows + cells) % 8 < 2)] = 128
    pair = np.full((side, 2 * side + 2, 3), 255, np.uint8)
    pair[:, :side], pair[:, side + 2 :] = plain, labelled.astype(np.uint8)
    position, font = (4, 13), cv2.FONT_HERSHEY_SIMPLEX
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(pair, str(number), position, font, 0.42, colour, width, cv2.LINE_AA)
    return pair


def _legend_entries(windows: Sequence[LabelledWindow], legend: Legend) -> list[Patch]:
    """Return the classes in the windows, each with the number of windows that contain it."""
    count = np.bincount(
        np.concatenate([np.unique(window.labels) for window in windows]), minlength=256
    )
    present = [c for c in legend.objects if count[c.id]]
    return [
        Patch(facecolor=c.colour, edgecolor="#333333", label=f"{c.name} ({count[c.id]})")
        for c in sorted(present, key=lambda c: -count[c.id])
    ]


def _write_png(sheet: NDArray[np.uint8], entries: list[Patch], title: str, output: Path) -> Path:
    height, width = sheet.shape[:2]
    columns = max(1, width // 190)
    head, foot = 34, 18 + 22 * ceil(len(entries) / columns)
    figure = Figure(figsize=(width / _DPI, (height + head + foot) / _DPI), dpi=_DPI)
    figure.figimage(sheet, 0, foot, origin="upper")
    middle = 1 - head / 2 / (height + head + foot)
    figure.text(0.5, middle, title, ha="center", va="center", fontsize=11)
    if entries:
        figure.legend(handles=entries, loc="lower center", ncols=columns, fontsize=9, frameon=False)
    with replacing(output, overwrite=True) as scratch:
        figure.savefig(scratch, dpi=_DPI, format="png")
    return output
