"""Files that are no scenes are refused from their first bytes and metadata, each with what to do."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from geoseg.errors import SceneError
from geoseg.raster.checks import check_georeference, open_raster, stored_block
from geoseg.raster.scene import open_scene
from tests.scenes import UTM, picture, write_scene

TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}


def refusal(path: Path) -> str:
    """What opening says; always one line that names the file."""
    with pytest.raises(SceneError) as caught, open_scene(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"  <html><body>no</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"PK\x03\x04zip", "Unpack"),
        (b"<VRTDataset rasterXSize='1' rasterYSize='1'/>", "--allow-vrt"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<VRTDataset/>", "--allow-vrt"),
        (b"<GDAL_WMS><Service/></GDAL_WMS>", "web service"),
        (b"II*\0", "damaged"),
        (b"\x89PNG\r\n", "damaged"),
        (b"just text", "not a GeoTIFF"),
        (b"", "empty"),
        (bytes(4096), "not a GeoTIFF"),
    ],
)
def test_what_is_no_raster_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    for name in ("missing.tif", ".", "pipe.tif"):
        refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["/vsimem/x.tif", "https://example.com/x.tif", "<VRTDataset/>"])
def test_what_gdal_would_fetch_from_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(SceneError, match="local files"):
        open_raster(name)


@pytest.mark.parametrize(
    "name", ["GTIFF_DIR:1:a.tif", "a b.tif", "-o.tif", "ü#%20?.tif", "no extension", "q'\".tif"]
)
def test_no_file_name_is_taken_for_anything_else(tmp_path: Path, name: str) -> None:
    path = write_scene(tmp_path / "plain.tif", picture(5, 7), **UTM).rename(tmp_path / name)
    with open_scene(path) as scene:
        assert (scene.info.width, scene.info.height) == (7, 5)


@pytest.mark.parametrize("lost", [1, 1000, 20_000])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_truncated_tiff_is_found_before_it_is_read(
    tmp_path: Path, lost: int, interleave: str
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 200, 200), dtype=np.uint8)
    path = write_scene(tmp_path / "cut.tif", noise, **TILED, **UTM, interleave=interleave)
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    assert "truncated" in refusal(path) or "damaged" in refusal(path)


def test_a_block_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=20_000,
        height=20_000,
        count=1,
        dtype="uint8",
        tiled=True,
        blockxsize=20_000,
        blockysize=20_000,
        compress="deflate",
        sparse_ok=True,
        **UTM,
    ):
        pass
    assert "TILED=YES" in refusal(path)


def test_pixels_that_are_no_measured_values_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "complex.tif", np.ones((1, 4, 4), np.complex64), **UTM)
    assert "complex" in refusal(path)
    path = write_scene(tmp_path / "cmyk.tif", picture(4, 4, bands=4), photometric="cmyk", **UTM)
    assert "CMYK" in refusal(path)
    path = write_scene(tmp_path / "bits.tif", np.ones((1, 4, 4), np.uint8), nbits=1, **UTM)
    assert "bit" in refusal(path)


def test_a_scene_without_a_place_although_it_means_to_have_one_is_refused(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, c, 10 + c, 50 - r) for r, c in [(0, 0), (0, 3), (3, 0)]]
    path = write_scene(tmp_path / "gcps.tif", picture(4, 4), gcps=points, crs="EPSG:4326")
    assert "gdalwarp" in refusal(path)
    flat = Affine(0, 0, 500_000, 0, 0, 5_500_000)
    path = write_scene(tmp_path / "flat.tif", picture(4, 4), crs="EPSG:32633", transform=flat)
    assert "singular" in refusal(path)


def test_a_raster_without_georeference_is_fine(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "plain.png", picture(4, 5), driver="PNG")
    with open_raster(path) as dataset:
        check_georeference(dataset, path)
        assert dataset.driver == "PNG"


def test_further_pages_are_not_read_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_scene(tmp_path / "pages.tif", picture(4, 5), **UTM)
    write_scene(path, picture(8, 9), append_subdataset=True, **UTM)
    with caplog.at_level(logging.WARNING), open_raster(path) as dataset:
        assert dataset.shape == (4, 5)
    assert "2 pages" in caplog.text


def test_a_block_that_was_never_written_has_no_place_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=128, height=64, count=3, dtype="uint8", sparse_ok=True,
        **TILED, **UTM,
    ) as dataset:  # fmt: skip
        dataset.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        dataset.write(picture(64, 64), window=rasterio.windows.Window(64, 0, 64, 64))
    with open_raster(path) as dataset:
        assert stored_block(dataset, 0, 0) is None
        assert stored_block(dataset, 1, 0) is not None
