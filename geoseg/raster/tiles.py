"""Tiles of a scene, whose cores partition it.

A tile reads its window and predicts its core. If the margin covers the receptive field of the network, and windows
begin at multiples of its stride, the labels are those of one forward pass over the whole scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rasterio.windows import Window

Span = tuple[int, int]
"""Half-open range of pixels along one axis."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of the tiling, in integer pixels of the scene."""

    core: Window
    """Pixels that this tile predicts. Cores partition the scene."""

    window: Window
    """Pixels that it reads: the core plus the margin, clipped to the scene."""

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the core in an array of the window."""
        row = self.core.row_off - self.window.row_off
        column = self.core.col_off - self.window.col_off
        return slice(row, row + self.core.height), slice(column, column + self.core.width)


def round_up(length: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple


def tile_grid(width: int, height: int, *, core: int, margin: int, multiple: int) -> list[Tile]:
    """Tile a scene with square cores of one size, row by row.

    Parameters
    ----------
    width, height
        Size of the scene in pixels.
    core
        Side of a core, a multiple of `multiple`.
    margin
        Context on each side of a core, a multiple of `multiple`.
    multiple
        Total stride of the network.

    Raises
    ------
    ValueError
        If the numbers do not fit.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a scene has at least one pixel, got {width} x {height}")
    if core < 1 or margin < 0 or core % multiple or margin % multiple:
        raise ValueError(f"core {core} and margin {margin} must be multiples of {multiple}")
    columns, rows = (_spans(range(core, length, core), length) for length in (width, height))
    return cut_tiles(columns, rows, margin=margin)


def cut_tiles(columns: Sequence[Span], rows: Sequence[Span], *, margin: int) -> list[Tile]:
    """Return the tiles whose cores are the cells of these columns and rows, row by row.

    The spans partition the scene. Windows are clipped to it; at its right and lower edge a reader pads them to the
    network's stride, as a forward pass over the whole scene is padded.
    """
    width, height = columns[-1][1], rows[-1][1]
    return [
        Tile(
            core=_clip(left, top, right, bottom, width, height),
            window=_clip(
                left - margin, top - margin, right + margin, bottom + margin, width, height
            ),
        )
        for top, bottom in rows
        for left, right in columns
    ]


def fit_spans(length: int, window: int, margin: int) -> list[Span]:
    """Partition an axis into cores whose windows are `window` pixels long.

    The first and the last core need a margin on one side only, and are larger by it. Raises ValueError if margins
    leave no room for a core.
    """
    if length <= window:
        return [(0, length)]
    if window <= 2 * margin:
        raise ValueError(f"a window of {window} pixels has no core between margins of {margin}")
    return _spans(range(window - margin, length - margin, window - 2 * margin), length)


def _spans(borders: Iterable[int], length: int) -> list[Span]:
    return list(pairwise([0, *borders, length]))


def _clip(left: int, top: int, right: int, bottom: int, width: int, height: int) -> Window:
    left, top = max(left, 0), max(top, 0)
    return Window(left, top, min(right, width) - left, min(bottom, height) - top)
