"""Tiles of a scene: cores partition it, so every pixel is decided exactly once.

A tile *reads* its window and *decides* its core. With a margin that covers the network's receptive field,
and windows that begin at multiples of the network's stride, its labels are those of one forward pass over
the whole scene.
"""

from __future__ import annotations

from dataclasses import dataclass

from rasterio.windows import Window


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
    """Tiles of a scene of `width` x `height` pixels, row by row.

    `core` and `margin` are multiples of `multiple` (the network's total stride). Windows are clipped to the
    scene; at its right and lower edge a reader pads them to `multiple`, as a forward pass over the whole
    scene would be padded. Raises ValueError when the numbers do not fit.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a scene has at least one pixel, got {width} x {height}")
    if core < 1 or margin < 0 or core % multiple or margin % multiple:
        raise ValueError(f"core {core} and margin {margin} must be multiples of {multiple}")
    return [
        Tile(
            core=_span(column, row, column + core, row + core, width, height),
            window=_span(
                column - margin,
                row - margin,
                column + core + margin,
                row + core + margin,
                width,
                height,
            ),
        )
        for row in range(0, height, core)
        for column in range(0, width, core)
    ]


def _span(left: int, top: int, right: int, bottom: int, width: int, height: int) -> Window:
    left, top = max(left, 0), max(top, 0)
    return Window(left, top, min(right, width) - left, min(bottom, height) - top)
