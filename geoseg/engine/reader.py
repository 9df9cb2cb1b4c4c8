"""A scene as the network sees it: at the network's pixel size, and only where labels are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.area import Area
from geoseg.grid import Tile
from geoseg.rescale import Axis, read_rescaled, resized
from geoseg.scene import SceneInfo

_ROWS_OF_BYTES = 1 << 24


class Readable(Protocol):
    """A scene, or what reads like one."""

    info: SceneInfo

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels (bands, h, w) and valid (h, w) of a window."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """A tile, what the scene holds in its window, and which pixels of the scene its core decides."""

    tile: Tile
    """In the network's pixels."""

    pixels: NDArray[Any]
    """(bands, h, w) of the window"""

    valid: NDArray[np.bool_]
    """(h, w) of the window; True where there is data"""

    place: Window
    """In the scene's pixels: those whose centres lie in the core."""

    wanted: NDArray[np.bool_]
    """(h, w) of `place`; True where the scene has data and lies in the area"""

    nearest: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
    """Row of the core for each row of `place`, and column for each column; None where they are one."""

    @property
    def empty(self) -> bool:
        """True where there is nothing to decide."""
        return not self.wanted.any()

    def spread(self, core: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(..., h, w) of the core → (..., h, w) of `place`: each pixel takes the value it lies in."""
        if self.nearest is None:
            return core
        rows, columns = self.nearest
        return core[..., rows[:, None], columns]


class Reader:
    """Reads the tiles of a scene.

    `pixel` is what a pixel of the network measures in the scene's pixels, along a row and along a
    column; the scene is resampled unless both are 1.
    """

    def __init__(
        self, scene: Readable, *, pixel: tuple[float, float] = (1.0, 1.0), area: Area | None = None
    ) -> None:
        self.info = scene.info
        self._scene, self._area = scene, area
        self._across = resized(scene.info.width, pixel[0])
        self._down = resized(scene.info.height, pixel[1])
        self.rescaled = (self._across.factor, self._down.factor) != (1, 1)

    @property
    def width(self) -> int:
        """Of the scene, in the network's pixels."""
        return self._across.size

    @property
    def height(self) -> int:
        """Likewise."""
        return self._down.size

    def place(self, tile: Tile) -> Window:
        """The scene's pixels that a tile decides; tiles that partition the grid partition the scene."""
        core = tile.core
        left, right = self._across.own(core.col_off, core.col_off + core.width)
        top, bottom = self._down.own(core.row_off, core.row_off + core.height)
        return Window(left, top, right - left, bottom - top)

    def concerns(self, tile: Tile) -> bool:
        """False where a tile decides nothing that is wanted, whatever the scene holds there."""
        place = self.place(tile)
        return bool(place.width and place.height) and (
            self._area is None or self._area.touches(place)
        )

    def read(self, tile: Tile) -> Read:
        """Raises SceneError where the scene is damaged."""
        place = self.place(tile)
        if not self.rescaled:
            pixels, valid = self._scene.read(tile.window)
            wanted = valid[tile.inner]
            nearest = None
        else:
            pixels, valid = read_rescaled(self._scene.read, self._across, self._down, tile.window)
            wanted = self._has_data(place)
            nearest = (
                _within(self._down, place.row_off, place.height, tile.core.row_off),
                _within(self._across, place.col_off, place.width, tile.core.col_off),
            )
        if self._area is not None:
            wanted = wanted & self._area.inside(place)
        return Read(tile, pixels, valid, place, wanted, nearest)

    def _has_data(self, place: Window) -> NDArray[np.bool_]:
        """(h, w) read by strips, since a pixel of the network may be many of the scene."""
        rows = max(1, _ROWS_OF_BYTES // max(1, place.width))
        strips = [
            Window(place.col_off, row, place.width, min(rows, place.row_off + place.height - row))
            for row in range(place.row_off, place.row_off + place.height, rows)
        ]
        return np.concatenate([self._scene.read(strip)[1] for strip in strips])


def _within(axis: Axis, start: int, length: int, core: int) -> NDArray[np.intp]:
    return axis.nearest(start, start + length) - core
