"""A contact sheet: windows, and beside each the same with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from geoseg.files import replacing
from geoseg.legend import BACKGROUND, IGNORE, Legend

_SIDE = 320  # pixels of a window on the sheet, at most
_GAP = 8
_DPI = 100


class Shown(Protocol):
    """A window and its truth."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(size, size, bands)"""
        ...

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(size, size) class ids, IGNORE where nothing counts"""
        ...


def draw_sheet(windows: Sequence[Shown], legend: Legend, title: str, output: Path) -> Path:
    """Pairs of windows, numbered from 0, in rows, with the classes that occur below; PNG.

    Labels are outlined, and filled a little, in their class's colour; what does not count is hatched.
    """
    columns = max(1, round(sqrt(len(windows) / 2)))
    pairs = [_pair(window, legend, number) for number, window in enumerate(windows)]
    height, width = pairs[0].shape[:2]
    rows = ceil(len(pairs) / columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + 2 * _GAP), 3), 255, np.uint8)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, columns)
        top, left = row * (height + _GAP) + _GAP, column * (width + 2 * _GAP) + _GAP
        sheet[top : top + height, left : left + width] = pair
    return _save(sheet, _entries(windows, legend), title, output)


def _pair(window: Shown, legend: Legend, number: int) -> NDArray[np.uint8]:
    picture = window.pixels[..., :3] if window.pixels.shape[2] >= 3 else window.pixels[..., [0] * 3]
    labels = window.labels
    side = min(_SIDE, len(labels))
    if side < len(labels):
        picture = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))
        nearest = cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST)
        labels = np.asarray(nearest, np.uint8)
    bare = np.ascontiguousarray(picture)
    told = bare.astype(np.float32)
    colours = np.zeros((256, 3), np.float32)
    for c in legend:
        colours[c.id] = legend.rgb(c.id)
    objects = ~np.isin(labels, (BACKGROUND, IGNORE))
    told[objects] = 0.65 * told[objects] + 0.35 * colours[labels[objects]]
    edge = np.zeros_like(objects)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge |= np.roll(edge, 1, 0) | np.roll(edge, 1, 1)  # two pixels wide
    inner = edge & objects
    told[inner] = colours[labels[inner]]
    rows, cells = np.indices(labels.shape)
    told[(labels == IGNORE) & ((rows + cells) % 8 < 2)] = 128
    pair = np.full((side, 2 * side + 2, 3), 255, np.uint8)
    pair[:, :side], pair[:, side + 2 :] = bare, told.astype(np.uint8)
    place, font = (4, 13), cv2.FONT_HERSHEY_SIMPLEX
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(pair, str(number), place, font, 0.42, colour, width, cv2.LINE_AA)
    return pair


def _entries(windows: Sequence[Shown], legend: Legend) -> list[Patch]:
    """The classes that occur, each with the number of windows that hold it."""
    held = np.bincount(
        np.concatenate([np.unique(window.labels) for window in windows]), minlength=256
    )
    occur = [c for c in legend.objects if held[c.id]]
    return [
        Patch(facecolor=c.colour, edgecolor="#333333", label=f"{c.name} ({held[c.id]})")
        for c in sorted(occur, key=lambda c: -held[c.id])
    ]


def _save(sheet: NDArray[np.uint8], entries: list[Patch], title: str, output: Path) -> Path:
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
