"""Several scenes on one pixel grid, read as one scene."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.files import ScenePath
from geoseg.raster.georeference import format_crs, pixel_sides_m, pixel_size_m
from geoseg.raster.scene import Scene, SceneInfo

_MAX_OPEN_FILES = 32
_GRID_TOLERANCE = 0.01  # pixels


@dataclass(frozen=True, slots=True)
class MosaicPart:
    """One scene of a mosaic."""

    info: SceneInfo

    window: Window
    """Window of the mosaic that the scene covers."""


class Mosaic:
    """Scenes that are read as one; where they overlap, the first one with data counts.

    It has the `info` and the `read` of a `geoseg.raster.scene.Scene`.
    """

    def __init__(
        self, info: SceneInfo, parts: Sequence[MosaicPart], selection: dict[str, Any]
    ) -> None:
        self.info = info
        self._parts = parts
        self._selection = selection
        self._open: OrderedDict[int, Scene] = OrderedDict()

    @classmethod
    def open(
        cls,
        paths: Sequence[ScenePath],
        **selection: Any,
    ) -> Mosaic:
        """Open scenes that share a CRS and a pixel grid; the caller closes the mosaic.

        Other parameters are those of `geoseg.raster.scene.Scene.open`; call it and `read` under
        `geoseg.raster.scene.gdal_env`.

        Raises
        ------
        SceneError
            If a scene cannot be opened or is not on the grid of the first.
        ValueError
            If there are no scenes.
        """
        infos = []
        for path in paths:
            scene = Scene.open(path, **selection)
            infos.append(scene.info)
            scene.close()
        if not infos:
            raise ValueError("a mosaic needs at least one scene")
        return cls(*_arrange(infos), selection)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window, as `geoseg.raster.scene.Scene.read`."""
        valid = np.zeros((window.height, window.width), bool)
        pixels: NDArray[Any] | None = None
        for number, part in enumerate(self._parts):
            shared = _intersect(part.window, window)
            if shared is None:
                continue
            there = _relative(shared, window).toslices()
            if valid[there].all():
                continue
            found, has_data = self._scene(number).read(_relative(shared, part.window))
            if pixels is None:
                pixels = np.zeros((len(found), *valid.shape), found.dtype)
            new = has_data & ~valid[there]
            np.copyto(pixels[:, *there], found, where=new)
            valid[there] |= new
        if pixels is None:
            bands = len(self._scene(0).indexes)
            pixels = np.zeros((bands, *valid.shape), self.info.dtype)
        return pixels, valid

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _scene(self, number: int) -> Scene:
        """Return an open scene; the least recently used one is closed when too many are open."""
        if number not in self._open:
            if len(self._open) >= _MAX_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[number] = Scene.open(self._parts[number].info.path, **self._selection)
        self._open.move_to_end(number)
        return self._open[number]


def _arrange(infos: Sequence[SceneInfo]) -> tuple[SceneInfo, list[MosaicPart]]:
    """Return the extent of the mosaic, and the window of each scene in it."""
    first = infos[0]
    corners = [_corner(info, first) for info in infos]
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    parts = [
        MosaicPart(info, Window(x - left, y - top, info.width, info.height))
        for info, (x, y) in zip(infos, corners, strict=True)
    ]
    width = max(part.window.col_off + part.window.width for part in parts)
    height = max(part.window.row_off + part.window.height for part in parts)
    transform = first.transform @ Affine.translation(left, top)
    whole = replace(
        first,
        width=width,
        height=height,
        transform=transform,
        pixel_size_m=pixel_size_m(first.crs, transform, width, height),
        pixel_sides_m=pixel_sides_m(first.crs, transform, width, height),
    )
    return whole, parts


def _corner(info: SceneInfo, first: SceneInfo) -> tuple[int, int]:
    """Return column and row of the upper left corner, in pixels of the first scene."""
    if info is not first and info.transform == Affine.identity():
        raise SceneError(
            f"{info.path}: has no georeference, its position in a mosaic is unknown. "
            "Georeference it first"
        )
    if info.crs != first.crs or first.transform == Affine.identity() != info.transform:
        raise SceneError(
            f"{info.path}: has {format_crs(info.crs)}, but {first.path} has {format_crs(first.crs)}. "
            "Reproject one of them: gdalwarp -t_srs"
        )
    same = ~first.transform @ info.transform
    corner = round(same.c), round(same.f)
    grown = [same.a * info.width, same.b * info.height, same.d * info.width, same.e * info.height]
    expected = [info.width, 0, 0, info.height]
    if info.dtype != first.dtype or not np.allclose(
        [same.c, same.f, *grown], [*corner, *expected], rtol=0, atol=_GRID_TOLERANCE
    ):
        raise SceneError(
            f"{info.path}: its pixels do not lie on the grid of {first.path}. "
            "Resample both to one grid: gdalwarp -tr … -tap"
        )
    return corner


def _intersect(one: Window, other: Window) -> Window | None:
    left, top = max(one.col_off, other.col_off), max(one.row_off, other.row_off)
    right = min(one.col_off + one.width, other.col_off + other.width)
    bottom = min(one.row_off + one.height, other.row_off + other.height)
    return Window(left, top, right - left, bottom - top) if left < right and top < bottom else None


def _relative(window: Window, parent: Window) -> Window:
    """Return `window` in pixels of `parent`."""
    return Window(
        window.col_off - parent.col_off,
        window.row_off - parent.row_off,
        window.width,
        window.height,
    )
