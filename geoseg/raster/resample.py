"""Reading a scene at another pixel size, the same whatever window is read.

A triangle as wide as a pixel of the result (or of the scene, where that is larger) weighs the scene's
pixels by their distance, along each axis by itself: bilinear interpolation when pixels get smaller,
an antialiased mean when they get larger (Heckbert 1989, *Fundamentals of Texture Mapping and Image
Warping*). The weights depend on a pixel's place in the scene alone, so windows of any cut agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

ReadWindow = Callable[[Window], tuple[NDArray[np.generic], NDArray[np.bool_]]]
"""Window of the scene → pixels (bands, h, w) and valid (h, w), as `geoseg.raster.scene.Scene.read`."""

_PIXELS_AT_A_TIME = 1 << 22
_ENOUGH_DATA = 0.5  # share of the weights that must lie on valid pixels


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a scene that is read with `size` pixels in place of its `length`."""

    length: int

    size: int

    @property
    def factor(self) -> float:
        """Pixels of the scene per pixel of the result."""
        return self.length / self.size

    def own(self, start: int, stop: int) -> tuple[int, int]:
        """The scene's pixels whose centres lie in pixels `start` to `stop` of the result.

        Ranges that partition the result give ranges that partition the scene.
        """
        return self._first(start), self._first(stop)

    def nearest(self, start: int, stop: int) -> NDArray[np.intp]:
        """For pixels `start` to `stop` of the scene, the pixel of the result that each centre lies in."""
        centres = 2 * np.arange(start, stop) + 1
        return (centres * self.size // (2 * self.length)).astype(np.intp)

    def taps(self, start: int, stop: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """For pixels `start` to `stop` of the result: the scene's pixels that each is made of, and
        their weights, (n, taps) each; weights add up to 1.
        """
        radius = max(1.0, self.factor)
        centre = (np.arange(start, stop) + 0.5) * self.factor
        first = np.floor(centre - radius).astype(np.intp)
        indices = first[:, None] + np.arange(ceil(2 * radius) + 1)
        weights = np.maximum(0, 1 - np.abs(indices + 0.5 - centre[:, None]) / radius)
        weights[(indices < 0) | (indices >= self.length)] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        return indices.clip(0, self.length - 1), weights.astype(np.float32)

    def _first(self, start: int) -> int:
        # the smallest j with (2 j + 1) · size ≥ 2 · length · start, in whole numbers
        return min(self.length, max(0, -((self.size - 2 * self.length * start) // (2 * self.size))))


def resized(length: int, factor: float) -> Axis:
    """An axis of `length` pixels read with `factor` of them in one."""
    return Axis(length, max(1, round(length / factor)))


def read_rescaled(
    read: ReadWindow, across: Axis, down: Axis, window: Window
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A window of the result: pixels (bands, h, w) and valid (h, w), True where at least half of what
    a pixel is made of has data; pixels that are not valid are 0.

    `read` reads the scene, a strip of about 4 million pixels at a time.
    """
    columns, column_weights = across.taps(window.col_off, window.col_off + window.width)
    left, right = int(columns.min()), int(columns.max()) + 1
    strip = max(1, int(_PIXELS_AT_A_TIME / ((right - left) * max(1, down.factor))))
    parts = []
    for top in range(window.row_off, window.row_off + window.height, strip):
        rows, row_weights = down.taps(top, min(top + strip, window.row_off + window.height))
        above, below = int(rows.min()), int(rows.max()) + 1
        pixels, valid = read(Window(left, above, right - left, below - above))
        data = np.concatenate([pixels, valid[None]]).astype(np.float32)  # 0 where not valid
        data = _weighed(data, rows - above, row_weights, axis=1)
        parts.append(_weighed(data, columns - left, column_weights, axis=2))
    summed = np.concatenate(parts, axis=1)
    share = summed[-1]
    valid = share >= _ENOUGH_DATA - 1e-6  # not a matter of rounding where exactly half has data
    return np.divide(summed[:-1], share, out=np.zeros_like(summed[:-1]), where=valid), valid


def _weighed(
    data: NDArray[np.float32], indices: NDArray[np.intp], weights: NDArray[np.float32], *, axis: int
) -> NDArray[np.float32]:
    """Sum over the taps of each pixel of the result, always in the same order."""
    shape = [1, 1, 1]
    shape[axis] = len(indices)
    total = np.zeros(1, np.float32)
    for index, weight in zip(indices.T, weights.T, strict=True):
        total = total + data.take(index, axis=axis) * weight.reshape(shape)
    return total
