"""Windows of a scene at another pixel size, independent of how the scene is cut into windows.

Notes
-----
Separable triangle filter (Heckbert 1989, *Fundamentals of Texture Mapping and Image Warping*). Its half width is one
pixel of the result or of the scene, whichever is larger: bilinear interpolation for smaller pixels, an antialiased
mean for larger ones. Weights are a function of a pixel's position in the scene alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

ReadWindow = Callable[[Window], tuple[NDArray[np.generic], NDArray[np.bool_]]]
"""Read a window of the scene: pixels (bands, h, w) and valid (h, w), as `geoseg.raster.scene.Scene.read`."""

_PIXELS_AT_A_TIME = 1 << 22
_MIN_VALID_WEIGHT = 0.5  # share of the weights that must lie on valid pixels


@dataclass(frozen=True, slots=True)
class ResampledAxis:
    """One axis of a scene, read with another number of pixels."""

    length: int
    """Pixels of the scene."""

    size: int
    """Pixels of the result."""

    @property
    def factor(self) -> float:
        """Pixels of the scene per pixel of the result."""
        return self.length / self.size

    def source_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the scene's pixels whose centres lie in pixels `start` to `stop` of the result.

        Spans that partition the result give spans that partition the scene.
        """
        return self._first(start), self._first(stop)

    def nearest(self, start: int, stop: int) -> NDArray[np.intp]:
        """Return the result's pixel that holds the centre of each of the scene's pixels `start` to `stop`."""
        centres = 2 * np.arange(start, stop) + 1
        return (centres * self.size // (2 * self.length)).astype(np.intp)

    def taps(self, start: int, stop: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the filter taps of pixels `start` to `stop` of the result.

        Returns
        -------
        indices
            (n, taps) pixels of the scene.
        weights
            (n, taps) their weights; each row sums to 1.
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
        # the smallest j with (2 j + 1) · size ≥ 2 · length · start, in integers
        return min(self.length, max(0, -((self.size - 2 * self.length * start) // (2 * self.size))))


def resample_axis(length: int, factor: float) -> ResampledAxis:
    """Return an axis of `length` pixels, `factor` of which become one."""
    return ResampledAxis(length, max(1, round(length / factor)))


def read_resampled(
    read: ReadWindow, across: ResampledAxis, down: ResampledAxis, window: Window
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read a window of the resampled scene.

    Parameters
    ----------
    read
        Reads the scene, in strips of about 4 million pixels.
    across, down
        Columns and rows of the scene.
    window
        Window in pixels of the result.

    Returns
    -------
    pixels
        (bands, h, w); 0 where not valid.
    valid
        (h, w) True if at least half of the filter's weight lies on valid pixels.
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
        data = _filter(data, rows - above, row_weights, axis=1)
        parts.append(_filter(data, columns - left, column_weights, axis=2))
    summed = np.concatenate(parts, axis=1)
    weight = summed[-1]
    valid = weight >= _MIN_VALID_WEIGHT - 1e-6  # robust to rounding at exactly one half
    return np.divide(summed[:-1], weight, out=np.zeros_like(summed[:-1]), where=valid), valid


def _filter(
    data: NDArray[np.float32], indices: NDArray[np.intp], weights: NDArray[np.float32], *, axis: int
) -> NDArray[np.float32]:
    """Sum the weighted taps of each pixel, always in the same order."""
    shape = [1, 1, 1]
    shape[axis] = len(indices)
    total = np.zeros(1, np.float32)
    for index, weight in zip(indices.T, weights.T, strict=True):
        total = total + data.take(index, axis=axis) * weight.reshape(shape)
    return total
