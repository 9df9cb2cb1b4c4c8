"""The raster that a user keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from geoseg.errors import OutputError
from geoseg.legend import DOTA_V1, IGNORE
from geoseg.polygons.styles import raster_colormap
from geoseg.raster.cog import RowWriter, create_working_raster, write_cog
from geoseg.raster.scene import SceneInfo

COLOURS = raster_colormap(DOTA_V1)


def info(width: int, height: int) -> SceneInfo:
    return SceneInfo(
        path=Path("scene.tif"),
        width=width,
        height=height,
        count=3,
        dtype="uint8",
        crs=rasterio.CRS.from_epsg(32633),
        transform=rasterio.Affine(0.3, 0, 400_000, 0, -0.3, 5_500_000),
        nodata=None,
        pixel_size_m=0.3,
    )


def squares(width: int, height: int) -> NDArray[np.uint8]:
    """Labels in squares of 3 pixels, with a hole."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 16, (height // 3 + 1, width // 3 + 1)).astype(np.uint8)
    labels = labels.repeat(3, 0).repeat(3, 1)[:height, :width]
    labels[100:700, 200:900] = IGNORE
    return labels


def test_a_cog_has_overviews_of_the_most_frequent_class_and_colours_in_all_of_them(
    tmp_path: Path,
) -> None:
    labels = squares(1504, 1204)
    with create_working_raster(tmp_path / "work.tif", info(1504, 1204), colormap=COLOURS) as raster:
        raster.write(labels, 1)
    with rasterio.open(tmp_path / "work.tif") as raster:
        half = raster.read(1, out_shape=(602, 752), resampling=Resampling.mode)
    write_cog(tmp_path / "work.tif", tmp_path / "cog.tif", overviews="mode")
    with rasterio.open(tmp_path / "cog.tif") as cog:
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert cog.overviews(1) == [2, 4]
        np.testing.assert_array_equal(cog.read(1), labels)
    with rasterio.open(tmp_path / "cog.tif", overview_level=0) as overview:
        assert overview.colorinterp == (ColorInterp.palette,)
        assert overview.colormap(1)[1] == COLOURS[1]
        assert overview.nodata == IGNORE
        np.testing.assert_array_equal(overview.read(1), half)


def test_what_fits_into_a_block_needs_no_overviews(tmp_path: Path) -> None:
    with create_working_raster(tmp_path / "work.tif", info(512, 300), colormap=COLOURS) as raster:
        raster.write(squares(512, 300), 1)
    write_cog(tmp_path / "work.tif", tmp_path / "cog.tif", overviews="mode")
    with rasterio.open(tmp_path / "cog.tif") as cog:
        assert cog.overviews(1) == []
        assert cog.colormap(1)[1] == COLOURS[1]


def test_odd_sides_and_several_bands(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 201, (3, 1203, 1505), np.uint8)
    planes[:, 400:700, :900] = IGNORE
    with create_working_raster(
        tmp_path / "work.tif", info(1505, 1203), bands=("a", "b", "c")
    ) as raster:
        raster.write(planes)
    write_cog(tmp_path / "work.tif", tmp_path / "cog.tif", overviews="average")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cog.tif", "work.tif"]
    with rasterio.open(tmp_path / "cog.tif") as cog:
        np.testing.assert_array_equal(cog.read(), planes)
        assert cog.descriptions == ("a", "b", "c")
    with rasterio.open(tmp_path / "cog.tif", overview_level=0) as overview:
        found = overview.read()
    assert found.shape == (3, 602, 753)
    expected = np.ma.masked_equal(planes[:, :1202, :1504], IGNORE).reshape(3, 601, 2, 752, 2)
    means = np.floor(expected.mean((2, 4)) + 0.5).filled(IGNORE)
    np.testing.assert_array_equal(found[:, :601, :752], means)


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("share", [0, 0.002, 0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1])
def test_a_cog_is_complete_or_an_output_error(tmp_path: Path, share: float) -> None:
    """GDAL reports some of these as written."""
    import resource

    labels = np.random.default_rng(0).integers(0, 16, (700, 1000), np.uint8)
    with create_working_raster(tmp_path / "work.tif", info(1000, 700), colormap=COLOURS) as raster:
        raster.write(labels, 1)
    write_cog(tmp_path / "work.tif", tmp_path / "whole.tif", overviews="mode")
    limit = int(share * (tmp_path / "whole.tif").stat().st_size)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        write_cog(tmp_path / "work.tif", tmp_path / "cog.tif", overviews="mode")
        done = True
    except OutputError as error:
        assert "disk is full" in str(error)
        done = False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if done:
        with rasterio.open(tmp_path / "cog.tif") as cog:
            np.testing.assert_array_equal(cog.read(1), labels)
    assert done == (share == 1)
    assert not list(tmp_path.glob("*.overviews"))


@pytest.mark.slow
def test_a_wide_raster_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    """Peaks of processes that do nothing else. By whole rows it would be hundreds of megabytes more."""
    small, wide = (peak_of_cog(tmp_path, width) for width in (2_000, 65_536))
    assert wide < small + 100


def peak_of_cog(folder: Path, width: int) -> float:
    """MB that `write_cog` takes at most, of labels with something in their middle."""
    work = folder / f"{width}.tif"
    with create_working_raster(work, info(width, 4096), colormap=COLOURS) as raster:
        raster.write(squares(1500, 1500), 1, window=Window(width // 2 - 750, 1000, 1500, 1500))
    code = (
        "import resource, sys; from pathlib import Path; from geoseg.raster.cog import write_cog;"
        "write_cog(Path(sys.argv[1]), Path(sys.argv[2]), overviews='mode');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(work), str(folder / f"{width}.cog.tif")],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ended.stdout) / (1024**2 if sys.platform == "darwin" else 1024)


def test_a_geotransform_without_a_crs_is_kept(tmp_path: Path) -> None:
    """A world file places a scene even where nothing names its coordinate system."""
    scene = replace(info(600, 520), crs=None)
    with create_working_raster(tmp_path / "work.tif", scene) as raster:
        raster.write(squares(600, 520), 1)
    write_cog(tmp_path / "work.tif", tmp_path / "cog.tif", overviews="mode")
    with rasterio.open(tmp_path / "cog.tif") as cog:
        assert cog.crs is None
        assert cog.transform == scene.transform != Affine.identity()


@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=5), st.integers(0, 9))
def test_ids_written_in_rows_of_any_heights_are_the_same_raster(
    tmp_path: Path, heights: list[int], seed: int
) -> None:
    ids = np.random.default_rng(seed).integers(0, 4, (200, 90)) * 70_000
    ids[40:130] = 0
    path = tmp_path / "ids.tif"
    with closing(RowWriter(path, ids.shape, "uint32")) as writer:
        row = turn = 0
        while row < len(ids):
            rows = heights[turn % len(heights)]
            writer.write(ids[row : row + rows].astype(np.uint32))
            row, turn = row + rows, turn + 1
    with rasterio.open(path) as dataset:
        assert (dataset.dtypes[0], dataset.nodata) == ("uint32", 0)
        np.testing.assert_array_equal(dataset.read(1), ids)


def test_overviews_of_ids_hold_ids(tmp_path: Path) -> None:
    ids = np.zeros((600, 1100), np.uint32)
    ids[100:301, 200:401] = 3_000_000_000
    ids[301:400, 200:401] = 7
    with closing(RowWriter(tmp_path / "ids.tif", ids.shape, "uint32")) as writer:
        writer.write(ids)
    write_cog(tmp_path / "ids.tif", tmp_path / "cog.tif", overviews="mode")
    with rasterio.open(tmp_path / "cog.tif", overview_level=0) as overview:
        assert overview.shape == (300, 550)
        assert set(np.unique(overview.read(1))) == {0, 7, 3_000_000_000}
        assert overview.read(1)[100, 150] == 3_000_000_000
