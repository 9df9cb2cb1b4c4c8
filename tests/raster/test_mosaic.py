"""Scenes on one grid read as GDAL's own mosaic of them does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.merge import merge
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.raster.mosaic import Mosaic
from tests.scenes import UTM, picture, write_scene

CRS = {"crs": "EPSG:32633"}


def at(column: float, row: float) -> dict[str, Any]:
    return {**CRS, "transform": UTM["transform"] @ Affine.translation(column, row)}


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    holes = picture(50, 60, seed=1)
    holes[:, 10:30, 20:40] = 0
    return [
        write_scene(tmp_path / "one.tif", holes, nodata=0, **at(0, 0)),
        write_scene(tmp_path / "two.tif", picture(40, 50, seed=2), nodata=0, **at(30, 15)),
        write_scene(tmp_path / "three.tif", picture(20, 30, seed=3), nodata=0, **at(-20, 60)),
    ]


def test_it_is_rasterios_merge_the_first_on_top(scenes: list[Path]) -> None:
    expected, transform = merge(scenes, method="first")
    with closing(Mosaic.open(scenes)) as mosaic:
        info = mosaic.info
        assert (info.height, info.width) == expected.shape[1:]
        assert info.transform.almost_equals(transform, 1e-6)
        whole, valid = mosaic.read(Window(0, 0, info.width, info.height))
        part = Window(23, 11, 44, 37)
        pixels, there = mosaic.read(part)
    assert np.array_equal(whole, expected)
    assert np.array_equal(valid, expected.any(axis=0))
    assert np.array_equal(pixels, whole[:, *part.toslices()])
    assert np.array_equal(there, valid[part.toslices()])


def test_many_files_are_not_open_at_once(tmp_path: Path) -> None:
    paths = [
        write_scene(tmp_path / f"{n}.tif", picture(8, 8, seed=n), **at(8 * n, 0)) for n in range(40)
    ]
    with closing(Mosaic.open(paths)) as mosaic:
        whole, _ = mosaic.read(Window(0, 0, 320, 8))
        assert len(mosaic._open) <= 32
    expected, _ = merge(paths)
    assert np.array_equal(whole, expected)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (at(0.4, 0), "grid"),
        ({**CRS, "transform": Affine(0.31, 0, 500_000, 0, -0.31, 5_500_000)}, "grid"),
        (
            {"crs": "EPSG:32634", "transform": UTM["transform"]},
            "has EPSG:32634, but .* has EPSG:32633",
        ),
    ],
)
def test_what_does_not_lie_on_the_grid_is_refused(
    tmp_path: Path, place: dict[str, Any], words: str
) -> None:
    one = write_scene(tmp_path / "one.tif", picture(30, 30), **UTM)
    other = write_scene(tmp_path / "other.tif", picture(30, 30), **place)
    with pytest.raises(SceneError, match=words) as caught:
        Mosaic.open([one, other])
    assert str(caught.value).startswith(str(other))


def test_bands_and_their_order_are_the_scenes(scenes: list[Path]) -> None:
    with closing(Mosaic.open(scenes, indexes=(3, 1))) as mosaic:
        pixels, _ = mosaic.read(Window(20, 0, 30, 9))
    with rasterio.open(scenes[0]) as one:
        assert np.array_equal(pixels, one.read([3, 1], window=Window(0, 0, 30, 9)))
