"""Tiles of a scene: cores partition it, so every pixel is decided exactly once.

A tile *reads* its window and *decides* its core. With a margin that covers the network's receptive field,
and windows that begin at multiples of the network's stride, its labels are those of one forward pass over
the whole scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rasterio.windows import Window

Span = tuple[int, int]
"""First pixel along an axis, and the one after the last."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of the grid, in pixels of the scene; all numbers are integers."""

    core: Window
    """Pixels this tile decides; the cores cover the scene exactly once."""

    window: Window
    """Pixels it reads: the core and its margin, clipped to the scene."""

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the core lies in an array of the window: rows, columns."""
        row = self.core.row_off - self.window.row_off
        column = self.core.col_off - self.window.col_off
        return slice(row, row + self.core.height), slice(column, column + self.core.width)


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple


def grid(width: int, height: int, *, core: int, margin: int, multiple: int) -> list[Tile]:
    """Tiles with cores of one size of a scene of `width` x `height` pixels, row by row.

    `core` and `margin` are multiples of `multiple` (the network's total stride). Raises ValueError
    when the numbers do not fit.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a scene has at least one pixel, got {width} x {height}")
    if core < 1 or margin < 0 or core % multiple or margin % multiple:
        raise ValueError(f"core {core} and margin {margin} must be multiples of {multiple}")
    columns, rows = (_spans(range(core, length, core), length) for length in (width, height))
    return cut(columns, rows, margin=margin)


def cut(columns: Sequence[Span], rows: Sequence[Span], *, margin: int) -> list[Tile]:
    """Tiles of the cores that lie between these columns and rows of a scene, row by row.

    The first core begins at 0, the last ends with the scene. Windows are clipped to the scene; at its
    right and lower edge a reader pads them to the network's stride, as a forward pass over the whole
    scene would be padded.
    """
    width, height = columns[-1][1], rows[-1][1]
    return [
        Tile(
            core=_window(left, top, right, bottom, width, height),
            window=_window(
                left - margin, top - margin, right + margin, bottom + margin, width, height
            ),
        )
        for top, bottom in rows
        for left, right in columns
    ]


def fitted_spans(length: int, window: int, margin: int) -> list[Span]:
    """Cores along one axis whose windows are `window` pixels long: with a margin on both sides, except at the ends
    of the axis, where a core is larger by it. Raises ValueError where nothing is left between margins.
    """
    if length <= window:
        return [(0, length)]
    if window <= 2 * margin:
        raise ValueError(f"a window of {window} pixels has nothing between margins of {margin}")
    return _spans(range(window - margin, length - margin, window - 2 * margin), length)


def _spans(borders: Iterable[int], length: int) -> list[Span]:
    return list(pairwise([0, *borders, length]))


def _window(left: int, top: int, right: int, bottom: int, width: int, height: int) -> Window:
    left, top = max(left, 0), max(top, 0)
    return Window(left, top, min(right, width) - left, min(bottom, height) - top)
