"""At which pixel size a scene is shown to the network."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.errors import ConfigError, SceneError
from geoseg.models.model_file import ModelCard
from geoseg.raster.aoi import Area
from geoseg.raster.resample import Axis, read_rescaled, resized
from geoseg.raster.scene import SceneInfo
from geoseg.raster.tiles import Tile

Gsd = float | Literal["auto", "none"]
"""Ground sampling distance: metres on the ground that a pixel measures for the network."""

_TOLERANCE = 1.5

log = logging.getLogger(__name__)


def network_pixel(info: SceneInfo, card: ModelCard, gsd: Gsd = "auto") -> tuple[float, float]:
    """What a pixel of the network measures in the scene's pixels, along a row and along a column.

    *none* shows the scene as it is; a number resamples it to square pixels of so many metres.
    *auto* leaves a scene alone that is within 1.5 times the pixel sizes the model was trained at,
    and else resamples to the nearest of them. Raises ConfigError for a number of 0 or less,
    SceneError when a number is asked of a scene whose pixel size is not known.
    """
    if gsd not in ("auto", "none") and not (isinstance(gsd, float | int) and 0 < gsd < inf):
        raise ConfigError(f"--gsd: must be auto, none, or more than 0 metres, got {gsd}")
    sides, sizes = info.pixel_sides_m, card.pixel_size_m
    if sides is None:
        if not isinstance(gsd, str):
            raise SceneError(
                f"{info.path}: its pixel size is not known, so it cannot be brought to {gsd:g} m. "
                "georeference it, or use --gsd none"
            )
        if sizes and gsd == "auto":
            log.warning(
                "%s: its pixel size is not known; the model was trained on %.3g to %.3g m. "
                "results may be poor",
                *(info.path, *sizes),
            )
        return 1.0, 1.0
    if isinstance(gsd, str):
        if sizes is None or _alike(sides, sizes):
            return 1.0, 1.0
        learned = f"the model was trained on {sizes[0]:.3g} to {sizes[1]:.3g} m"
        measures = " x ".join(dict.fromkeys(f"{side:.3g}" for side in sides))
        if gsd == "none":
            log.warning(
                "%s: a pixel is %s m on the ground, %s. expect poor results, or use --gsd auto",
                *(info.path, measures, learned),
            )
            return 1.0, 1.0
        metres = min(max((sides[0] * sides[1]) ** 0.5, sizes[0]), sizes[1])
        log.info(
            "%s: a pixel is %s m on the ground, %s: it is read at %.3g m",
            *(info.path, measures, learned, metres),
        )
    else:
        metres = gsd
    return metres / sides[0], metres / sides[1]


def _alike(sides: tuple[float, float], sizes: tuple[float, float]) -> bool:
    """True for pixels about square and about as large as those the model was trained at."""
    smallest, largest = sizes[0] / _TOLERANCE, sizes[1] * _TOLERANCE
    return smallest <= min(sides) and max(sides) <= min(largest, _TOLERANCE * min(sides))


# A scene as the network sees it: at the network's pixel size, and only where labels are wanted.

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
