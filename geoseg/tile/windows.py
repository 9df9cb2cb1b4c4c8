"""Where windows lie, what they are called, and what becomes of objects that they cut."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal, get_args

from rasterio.windows import Window

from geoseg.annotations import Difficult

Edge = Literal["shift", "pad", "crop"]
"""The last window of a row or column is moved inward, sticks out, or ends with the scene."""

Hardly = Literal["drop", "difficult"]
"""What becomes of objects that a window shows too little of."""

LARGEST = 16_384
"""Side of the largest window, in pixels: it is held in memory."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How scenes are cut into windows. Raises ValueError for what cannot be."""

    size: int | None = 1024
    """Side of a window in pixels; None for whole scenes."""

    overlap: int = 200
    """Pixels that neighbours share, at least."""

    edge: Edge = "shift"

    min_visible: float = 0.0
    """Objects of which a window shows less than this share of their area are `hardly_visible`."""

    hardly_visible: Hardly = "drop"

    difficult: Difficult = "keep"

    empty: float = 1.0
    """Share of the windows without objects that are written, 0 to 1."""

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.size <= LARGEST:
            raise ValueError(f"size must be 1 to {LARGEST}, got {self.size}")
        if self.size is not None and not 0 <= self.overlap < self.size:
            raise ValueError(f"overlap must be less than the size {self.size}, got {self.overlap}")
        if self.edge not in get_args(Edge):
            raise ValueError(f"edge must be one of {', '.join(get_args(Edge))}, got {self.edge!r}")
        for name in ("min_visible", "empty"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")

    def windows(self, width: int, height: int) -> list[Window]:
        """Windows that cover a scene of `width` x `height` pixels, row by row.

        They have the full size, also where they stick out of the scene on the right and below: with `pad`,
        and with `shift` those of a scene that is smaller. With `crop` they end with the scene.
        """
        if self.size is None:
            return [Window(0, 0, width, height)]
        return [
            Window(left, top, across, down)
            for top, down in self._spans(height, self.size)
            for left, across in self._spans(width, self.size)
        ]

    def _spans(self, length: int, size: int) -> list[tuple[int, int]]:
        """Start and length of every window along one side."""
        step = size - self.overlap
        starts = [step * n for n in range(ceil(max(0, length - size) / step) + 1)]
        if self.edge == "shift" and length > size:
            starts[-1] = length - size
        return [(s, min(size, length - s) if self.edge == "crop" else size) for s in starts]

    def name(self, scene: str, window: Window) -> str:
        """``SCENE__SIZE__COLUMN___ROW``, as mmrotate names it; the scene's own where that is whole."""
        if self.size is None:
            return scene
        return f"{scene}__{self.size}__{window.col_off}___{window.row_off}"


def inside(window: Window, width: int, height: int) -> Window:
    """The part of a window that lies in a scene of `width` x `height` pixels."""
    left, top = window.col_off, window.row_off
    return Window(left, top, min(window.width, width - left), min(window.height, height - top))
