"""A scene at the pixel size of the network, read tile by tile with its valid pixels and area of interest."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, floor, inf, log10, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.errors import ConfigError, SceneError
from geoseg.files import ScenePath
from geoseg.models.model_file import ModelCard
from geoseg.options import Bands, Gsd
from geoseg.raster.aoi import AreaOfInterest
from geoseg.raster.mosaic import Mosaic
from geoseg.raster.resample import ResampledAxis, read_resampled, resample_axis
from geoseg.raster.scene import Scene, SceneInfo, gdal_env
from geoseg.raster.tiles import Tile

_TOLERANCE = 1.5
"""Ratio of pixel sizes within which a scene is not resampled."""

_FARTHEST = 3.0
"""Ratio of pixel sizes beyond which a scene is refused unless --gsd names a pixel size."""

_LARGEST_ENLARGEMENT = 8.0
"""Largest number of network pixels per scene pixel, along a row or a column."""

_OPEN_SCENES = 16

_STRIP_BYTES = 1 << 24

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """Which pixels of which files the network reads. Plain data, for workers too."""

    files: tuple[ScenePath, ...]
    """One scene, or several that form a mosaic."""

    indexes: Bands | None = None
    """Bands of the scene, by numbers from 1 or by names; None: those of `names`, else all but alpha."""

    names: tuple[str, ...] = ()
    """Names of the bands that the network takes; empty if unknown."""

    bands: int | None = None
    """Number of bands that the network takes."""

    dtype: str | None = None
    """Data type that the network takes."""

    allow_vrt: bool = False
    """Read virtual rasters of files in their folder."""

    scale: tuple[float, float] = (1.0, 1.0)
    """Scene pixels per network pixel, along rows and along columns."""

    area: AreaOfInterest | None = None
    """Area of interest; None: the whole scene."""


@dataclass(frozen=True, slots=True)
class TileInput:
    """Pixels of a tile's window, and the scene pixels that its core predicts."""

    tile: Tile
    """In network pixels."""

    pixels: NDArray[Any]
    """(bands, h, w) of the tile's window."""

    valid: NDArray[np.bool_]
    """(h, w) of the tile's window: True where the scene has data."""

    window: Window
    """Scene pixels whose centres lie in the core."""

    selected: NDArray[np.bool_]
    """(h, w) of `window`: True where the scene has data and lies in the area of interest."""

    nearest: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
    """Row of the core for each row of `window`, and column for each column; None if they are the same."""

    @property
    def empty(self) -> bool:
        """True if no pixel is to be predicted."""
        return not self.selected.any()

    def resample_core(self, core: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (..., h, w) values of the core on the scene pixels of `window`, by nearest neighbour."""
        if self.nearest is None:
            return core
        rows, columns = self.nearest
        return core[..., rows[:, None], columns]


class TileReader:
    """Reads the tiles of an open scene.

    Parameters
    ----------
    scene
        Open scene or mosaic.
    scale
        Scene pixels per network pixel, along rows and along columns. The scene is resampled unless both
        are 1.
    area
        Area of interest; None: the whole scene.
    """

    def __init__(
        self,
        scene: Scene | Mosaic,
        *,
        scale: tuple[float, float] = (1.0, 1.0),
        area: AreaOfInterest | None = None,
    ) -> None:
        self.info = scene.info
        self._scene, self._area = scene, area
        self._across = resample_axis(scene.info.width, scale[0])
        self._down = resample_axis(scene.info.height, scale[1])
        self._resampled = (self._across.factor, self._down.factor) != (1, 1)

    @property
    def width(self) -> int:
        """Width of the scene in network pixels."""
        return self._across.size

    @property
    def height(self) -> int:
        """Height of the scene in network pixels."""
        return self._down.size

    def scene_window(self, tile: Tile) -> Window:
        """Return the scene pixels that a tile predicts. Cores that partition the grid partition the scene."""
        core = tile.core
        left, right = self._across.source_span(core.col_off, core.col_off + core.width)
        top, bottom = self._down.source_span(core.row_off, core.row_off + core.height)
        return Window(left, top, right - left, bottom - top)

    def intersects_area(self, tile: Tile) -> bool:
        """Return False if a tile has no pixel in the area of interest, whatever the scene holds there."""
        window = self.scene_window(tile)
        return bool(window.width and window.height) and (
            self._area is None or self._area.intersects(window)
        )

    def read(self, tile: Tile) -> TileInput:
        """Read a tile; raises SceneError if the file is damaged there."""
        window = self.scene_window(tile)
        if not self._resampled:
            pixels, valid = self._scene.read(tile.window)
            selected = valid[tile.inner]
            nearest = None
        else:
            pixels, valid = read_resampled(self._scene.read, self._across, self._down, tile.window)
            selected = self._read_valid(window)
            nearest = (
                _core_indices(self._down, window.row_off, window.height, tile.core.row_off),
                _core_indices(self._across, window.col_off, window.width, tile.core.col_off),
            )
        if self._area is not None:
            selected = selected & self._area.rasterize(window)
        return TileInput(tile, pixels, valid, window, selected, nearest)

    def _read_valid(self, window: Window) -> NDArray[np.bool_]:
        """Read (h, w) valid by strips: one network pixel may cover many scene pixels."""
        rows = max(1, _STRIP_BYTES // max(1, window.width))
        bottom = window.row_off + window.height
        strips = [
            Window(window.col_off, row, window.width, min(rows, bottom - row))
            for row in range(window.row_off, bottom, rows)
        ]
        return np.concatenate([self._scene.read(strip)[1] for strip in strips])


class OpenScenes:
    """Open scenes of one process, so that planning and prediction share a handle.

    At most 16 stay open; the one used least recently is closed first. Not thread-safe.
    """

    def __init__(self) -> None:
        self._scenes: OrderedDict[tuple[Any, ...], Scene | Mosaic] = OrderedDict()

    def open(self, spec: SceneSpec) -> Scene | Mosaic:
        """Return the scene of `spec` at its own pixel size, opened unless it is; raises SceneError."""
        key = spec.files, *_selection(spec).values()
        if key not in self._scenes:
            while len(self._scenes) >= _OPEN_SCENES:
                self._scenes.popitem(last=False)[1].close()
            self._scenes[key] = _open_files(spec)
        self._scenes.move_to_end(key)
        return self._scenes[key]

    def reader(self, spec: SceneSpec) -> TileReader:
        """Return a reader of the tiles of `spec`."""
        return TileReader(self.open(spec), scale=spec.scale, area=spec.area)

    def close(self) -> None:
        """Close all scenes."""
        while self._scenes:
            self._scenes.popitem()[1].close()


@contextmanager
def open_scenes(files: Iterable[ScenePath]) -> Iterator[OpenScenes]:
    """Provide `OpenScenes` for `files`, under the GDAL settings that reading them needs."""
    scenes = OpenScenes()
    with gdal_env(*files):
        try:
            yield scenes
        finally:
            scenes.close()


def _open_files(spec: SceneSpec) -> Scene | Mosaic:
    if len(spec.files) > 1:
        return Mosaic.open(spec.files, **_selection(spec))
    return Scene.open(spec.files[0], **_selection(spec))


def _selection(spec: SceneSpec) -> dict[str, Any]:
    """Return the keyword arguments of `Scene.open`."""
    return {
        "bands": spec.bands,
        "indexes": spec.indexes,
        "names": spec.names,
        "dtype": spec.dtype,
        "allow_vrt": spec.allow_vrt,
    }


def _core_indices(axis: ResampledAxis, start: int, length: int, core: int) -> NDArray[np.intp]:
    return axis.nearest(start, start + length) - core


def choose_scale(info: SceneInfo, card: ModelCard, gsd: Gsd = "auto") -> tuple[float, float]:
    """Choose how many scene pixels make a network pixel.

    Parameters
    ----------
    info
        The scene.
    card
        The model card, with the pixel sizes of the training data.
    gsd
        Pixel size of the network in metres, or *none* for that of the scene. *auto* keeps a scene within
        1.5 times the pixel sizes of the card and resamples others to the nearest of them.

    Returns
    -------
    tuple of float
        Scene pixels per network pixel, along rows and along columns.

    Raises
    ------
    ConfigError
        If `gsd` is not positive.
    SceneError
        With *auto*, if the pixel size is more than 3 times outside those of the card. With a number, if the pixel
        size of the scene is unknown. In both cases, if a pixel would be enlarged more than 8 times.
    """
    if isinstance(gsd, str):
        if gsd not in ("auto", "none"):
            raise ConfigError(f"--gsd: expected auto, none or metres, got {gsd}")
    elif not 0 < gsd < inf:
        raise ConfigError(f"--gsd: must be more than 0 metres, got {gsd}")
    sides, sizes = info.pixel_sides_m, card.pixel_size_m
    if sides is None:
        _check_unknown_size(info, card, gsd)
        return 1.0, 1.0
    if gsd == "none":
        if sizes is not None and not _is_within(sides, sizes):
            log.warning(
                "%s: the pixel size is %s m, the model was trained on %.3g to %.3g m. "
                "Expect poor results, or use --gsd auto",
                *(info.path, _format_sides(sides), *sizes),
            )
        return 1.0, 1.0
    if isinstance(gsd, str):
        if sizes is None or _is_within(sides, sizes):
            return 1.0, 1.0
        metres = _nearest_size(info, sides, sizes)
    else:
        metres = gsd
    _check_enlargement(info, sides, metres)
    if gsd == "auto" and sizes is not None:
        log.info(
            "%s: the pixel size is %s m, the model was trained on %.3g to %.3g m; resampled to %.3g m",
            *(info.path, _format_sides(sides), *sizes, metres),
        )
    return metres / sides[0], metres / sides[1]


def _nearest_size(info: SceneInfo, sides: tuple[float, float], sizes: tuple[float, float]) -> float:
    """Return the pixel size of the card nearest to that of a scene; raises SceneError if it is far outside."""
    size = sqrt(sides[0] * sides[1])
    metres = min(max(size, sizes[0]), sizes[1])
    ratio = max(size / metres, metres / size)
    if ratio > _FARTHEST:
        large = size > metres
        change = f"--gsd {metres:.3g} to {'enlarge' if large else 'average'} them all the same, or "
        raise SceneError(
            f"{info.path}: its pixels of {_format_sides(sides)} m are {_format(ratio)} times "
            f"{'larger' if large else 'smaller'} than those that the model was trained on, {sizes[0]:.3g} to "
            f"{sizes[1]:.3g} m. Use a model for such pixels, or pass "
            f"{change if not large or ratio <= _LARGEST_ENLARGEMENT else ''}--gsd none to read them unchanged"
        )
    return metres


def _check_enlargement(info: SceneInfo, sides: tuple[float, float], metres: float) -> None:
    enlargement = max(sides) / metres
    if enlargement > _LARGEST_ENLARGEMENT:
        smallest = max(sides) / _LARGEST_ENLARGEMENT
        raise SceneError(
            f"{info.path}: its pixels of {_format_sides(sides)} m would be enlarged {_format(enlargement)} times for "
            f"--gsd {metres:g}, more than {_LARGEST_ENLARGEMENT:g}. Pass --gsd {_round_up(smallest):.10g} or more, or "
            "--gsd none"
        )


def _round_up(value: float) -> float:
    """Round up to three significant digits."""
    step = 10.0 ** (floor(log10(value)) - 2)
    return float(f"{ceil(value / step - 1e-9) * step:.3g}")


def _format_sides(sides: tuple[float, float]) -> str:
    return " x ".join(dict.fromkeys(map(_format, sides)))


def _format(value: float) -> str:
    """Format with three significant digits, without an exponent."""
    return f"{float(f'{value:.3g}'):,.10g}"


def _check_unknown_size(info: SceneInfo, card: ModelCard, gsd: Gsd) -> None:
    if not isinstance(gsd, str):
        raise SceneError(
            f"{info.path}: pixel size unknown: the raster has no CRS, so it cannot be resampled to "
            f"{gsd:g} m. Pass --pixel-size METRES, assign a CRS with gdal_edit.py -a_srs, or use --gsd none"
        )
    if card.pixel_size_m and gsd == "auto":
        log.warning(
            "%s: pixel size unknown: the raster has no CRS; the model was trained on %.3g to %.3g m. "
            "Results may be poor: pass --pixel-size METRES",
            *(info.path, *card.pixel_size_m),
        )


def _is_within(sides: tuple[float, float], sizes: tuple[float, float]) -> bool:
    """Return True if pixels are about square and about as large as those of the training data."""
    smallest, largest = sizes[0] / _TOLERANCE, sizes[1] * _TOLERANCE
    return smallest <= min(sides) and max(sides) <= min(largest, _TOLERANCE * min(sides))
