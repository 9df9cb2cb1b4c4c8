"""Several scenes on one pixel grid, read as if they were one."""

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
from geoseg.raster.georeference import pixel_sides_m, pixel_size_m
from geoseg.raster.scene import Scene, SceneInfo, opened_scene

_OPEN = 32  # files at a time
_OFF_GRID = 0.01  # pixels


@dataclass(frozen=True, slots=True)
class Part:
    """A scene and where it lies in the mosaic."""

    info: SceneInfo

    place: Window


class Mosaic:
    """A scene made of others; where they overlap, the one that was named first counts.

    It has a scene's `info` and `read`; pixels that no part has data for are not valid.
    """

    def __init__(self, info: SceneInfo, parts: Sequence[Part], wanted: dict[str, Any]) -> None:
        self.info = info
        self._parts = parts
        self._wanted = wanted
        self._bands: int | None = None
        self._open: OrderedDict[int, Scene] = OrderedDict()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """As `geoseg.raster.scene.Scene.read`."""
        valid = np.zeros((window.height, window.width), bool)
        pixels: NDArray[Any] | None = None
        for number, part in enumerate(self._parts):
            shared = _shared(part.place, window)
            if shared is None:
                continue
            there = (
                slice(shared.row_off - window.row_off, shared.row_off - window.row_off + shared.height),
                slice(shared.col_off - window.col_off, shared.col_off - window.col_off + shared.width),
            )  # fmt: skip
            if valid[there].all():
                continue
            found, has_data = self._scene(number).read(_moved(shared, part.place))
            if pixels is None:
                pixels = np.zeros((len(found), *valid.shape), found.dtype)
            fresh = has_data & ~valid[there]
            np.copyto(pixels[:, *there], found, where=fresh)
            valid[there] |= fresh
        if pixels is None:
            bands = len(self._scene(0).indexes)
            pixels = np.zeros((bands, *valid.shape), self.info.dtype)
        return pixels, valid

    def close(self) -> None:
        """Close every file."""
        while self._open:
            self._open.popitem()[1].close()

    def _scene(self, number: int) -> Scene:
        if number not in self._open:
            if len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[number] = opened_scene(self._parts[number].info.path, **self._wanted)
        self._open.move_to_end(number)
        return self._open[number]


def opened_mosaic(
    paths: Sequence[ScenePath],
    *,
    bands: int | None = None,
    indexes: tuple[int, ...] | None = None,
    dtype: str | None = None,
) -> Mosaic:
    """Open scenes that share a coordinate reference system and a pixel grid as one, for a caller who
    closes it, and lives under `geoseg.raster.scene.gdal_settings`.

    Raises SceneError when one cannot be opened (see `geoseg.raster.scene.open_scene`) or does not fit the
    first, ValueError without any.
    """
    wanted: dict[str, Any] = {"bands": bands, "indexes": indexes, "dtype": dtype}
    infos = []
    for path in paths:
        scene = opened_scene(path, **wanted)
        infos.append(scene.info)
        scene.close()
    if not infos:
        raise ValueError("a mosaic is made of scenes, got none")
    return Mosaic(*_laid_out(infos), wanted)


def _laid_out(infos: Sequence[SceneInfo]) -> tuple[SceneInfo, list[Part]]:
    first = infos[0]
    corners = [_corner(info, first) for info in infos]
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    parts = [
        Part(info, Window(x - left, y - top, info.width, info.height))
        for info, (x, y) in zip(infos, corners, strict=True)
    ]
    width = max(part.place.col_off + part.place.width for part in parts)
    height = max(part.place.row_off + part.place.height for part in parts)
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
    """Column and row, in the first scene's pixels, of the upper left corner."""
    if info is not first and info.transform == Affine.identity():
        raise SceneError(
            f"{info.path}: has no georeference, so nobody knows its place in a mosaic. "
            "georeference it first"
        )
    if info.crs != first.crs or first.transform == Affine.identity() != info.transform:
        raise SceneError(
            f"{info.path}: its coordinate reference system is not that of {first.path}. "
            "bring them into one: gdalwarp -t_srs"
        )
    same = ~first.transform @ info.transform
    corner = round(same.c), round(same.f)
    grown = [same.a * info.width, same.b * info.height, same.d * info.width, same.e * info.height]
    wanted = [info.width, 0, 0, info.height]
    if info.dtype != first.dtype or not np.allclose(
        [same.c, same.f, *grown], [*corner, *wanted], rtol=0, atol=_OFF_GRID
    ):
        raise SceneError(
            f"{info.path}: its pixels do not lie on the grid of {first.path}. "
            "put both on one grid: gdalwarp -tr … -tap"
        )
    return corner


def _shared(one: Window, other: Window) -> Window | None:
    left, top = max(one.col_off, other.col_off), max(one.row_off, other.row_off)
    right = min(one.col_off + one.width, other.col_off + other.width)
    bottom = min(one.row_off + one.height, other.row_off + other.height)
    return Window(left, top, right - left, bottom - top) if left < right and top < bottom else None


def _moved(window: Window, place: Window) -> Window:
    return Window(
        window.col_off - place.col_off, window.row_off - place.row_off, window.width, window.height
    )
