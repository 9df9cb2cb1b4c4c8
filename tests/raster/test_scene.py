"""Scenes: what is read where, what counts as valid, and which bands are the picture."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.raster.scene import open_scene
from tests.scenes import UTM, picture, write_scene

RED, GREEN, BLUE = ColorInterp.red, ColorInterp.green, ColorInterp.blue
ALPHA, UNDEFINED = ColorInterp.alpha, ColorInterp.undefined


def whole(path: Path, **options: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with open_scene(path, **options) as scene:
        return scene.read(Window(0, 0, scene.info.width, scene.info.height))


def coloured(path: Path, pixels: NDArray[Any], colours: list[ColorInterp]) -> Path:
    write_scene(path, pixels, **UTM)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = colours
    return path


def test_a_scene_says_what_rasterio_says(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture(30, 40), nodata=0, **UTM)
    with open_scene(path) as scene, rasterio.open(path) as dataset:
        info = scene.info
        assert (info.width, info.height, info.count) == (dataset.width, dataset.height, 3)
        assert (info.crs, info.transform, info.nodata) == (dataset.crs, dataset.transform, 0)
        assert info.dtype == "uint8"
        assert info.pixel_size_m == pytest.approx(0.3)


@given(data=st.data())
def test_any_window_holds_what_rasterio_reads_there(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "windows.tif"
    if not path.exists():
        pixels = picture(70, 90)
        pixels[:, 20:40, 30:60] = 0
        write_scene(path, pixels, nodata=0, tiled=True, blockxsize=16, blockysize=16, **UTM)
    left, top = data.draw(st.integers(0, 89)), data.draw(st.integers(0, 69))
    window = Window(
        left, top, data.draw(st.integers(1, 90 - left)), data.draw(st.integers(1, 70 - top))
    )
    with open_scene(path) as scene, rasterio.open(path) as dataset:
        pixels, valid = scene.read(window)
        assert np.array_equal(pixels, dataset.read(window=window))
        assert np.array_equal(valid, dataset.dataset_mask(window=window) != 0)


def test_a_window_that_leaves_the_scene_is_the_callers_mistake(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture(30, 40), **UTM)
    with open_scene(path) as scene:
        for window in (Window(-1, 0, 5, 5), Window(38, 0, 3, 3), Window(0, 29, 1, 2)):
            with pytest.raises(ValueError, match="not inside"):
                scene.read(window)


def test_pixels_are_nodata_where_all_bands_are(tmp_path: Path) -> None:
    pixels = picture(8, 8)
    pixels[:, :4] = 0
    pixels[0, 4:] = 0  # black in one band only
    path = write_scene(tmp_path / "a.tif", pixels, nodata=0, **UTM)
    _, valid = whole(path)
    assert np.array_equal(valid, np.arange(8)[:, None].repeat(8, 1) >= 4)


def test_what_is_not_finite_is_not_valid_and_reads_as_zero(tmp_path: Path) -> None:
    pixels = picture(8, 8).astype(np.float32)
    pixels[0, 0, 0], pixels[1, 1, 1], pixels[2, 2, 2] = np.nan, np.inf, -np.inf
    path = write_scene(tmp_path / "a.tif", pixels, **UTM)
    found, valid = whole(path)
    assert np.argwhere(~valid).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert np.isfinite(found).all()
    assert not found[:, ~valid].any()


@pytest.mark.parametrize("nodata", [np.nan, -9999.0, -3.4028234663852886e38])
def test_nodata_of_floats_is_found(tmp_path: Path, nodata: float) -> None:
    pixels = picture(8, 8).astype(np.float32)
    pixels[:, :2] = nodata
    _, valid = whole(write_scene(tmp_path / "a.tif", pixels, nodata=nodata, **UTM))
    assert not valid[:2].any()
    assert valid[2:].all()


def test_alpha_is_transparency_wherever_it_stands(tmp_path: Path) -> None:
    pixels = picture(64, 64, bands=4)
    pixels[3] = 255
    pixels[3, :20] = 0
    path = coloured(tmp_path / "rgba.tif", pixels, [RED, GREEN, BLUE, ALPHA])
    found, valid = whole(path, bands=3)
    assert np.array_equal(valid, pixels[3] > 0)
    assert np.array_equal(found, pixels[:3] * valid)
    first = coloured(tmp_path / "argb.tif", pixels[[3, 0, 1, 2]], [ALPHA, RED, GREEN, BLUE])
    again, valid_again = whole(first, bands=3)
    assert np.array_equal(again, found)
    assert np.array_equal(valid_again, valid)


def test_a_near_infrared_band_called_alpha_is_not_transparency(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = picture(64, 64, bands=4)
    pixels[3, :8] = 0
    path = coloured(tmp_path / "rgbn.tif", pixels, [RED, GREEN, BLUE, ALPHA])
    with pytest.raises(SceneError, match=r"has 4 bands, the model needs 3.*--bands 1,2,3"):
        whole(path, bands=3)
    assert "labelled alpha" in caplog.text
    found, valid = whole(path, bands=3, indexes=(4, 1, 2))
    assert valid.all()
    assert np.array_equal(found, pixels[[3, 0, 1]])


def test_an_internal_mask_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_scene(path, picture(16, 16), **UTM)
        with rasterio.open(path, "r+") as dataset:
            mask = np.full((16, 16), 255, np.uint8)
            mask[:, :5] = 0
            dataset.write_mask(mask)
    _, valid = whole(path)
    assert np.array_equal(valid, mask > 0)


def test_blocks_that_were_never_written_are_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    profile = {"width": 100, "height": 90, "count": 3, "dtype": "uint8", "sparse_ok": True, **UTM}
    with rasterio.open(
        path, "w", driver="GTiff", tiled=True, blockxsize=32, blockysize=32, **profile
    ) as dataset:
        dataset.write(picture(32, 32), window=Window(32, 32, 32, 32))
    with open_scene(path) as scene:
        _, valid = scene.read(Window(10, 20, 70, 50))
    expected = np.zeros((90, 100), bool)
    expected[32:64, 32:64] = True
    assert np.array_equal(valid, expected[20:70, 10:80])


def test_colours_come_as_red_green_blue(tmp_path: Path) -> None:
    pixels = picture(16, 16)
    path = coloured(tmp_path / "bgr.tif", pixels, [BLUE, GREEN, RED])
    assert np.array_equal(whole(path, bands=3)[0], pixels[::-1])
    assert np.array_equal(whole(path, bands=3, indexes=(1, 2, 3))[0], pixels)


@pytest.mark.parametrize(
    ("bands", "words"), [(1, "has 1 band,"), (2, "has 2 bands"), (5, "5 bands")]
)
def test_other_bands_than_the_models_are_refused_with_the_option_to_use(
    tmp_path: Path, bands: int, words: str
) -> None:
    path = write_scene(tmp_path / "a.tif", np.tile(picture(8, 8, bands=1), (bands, 1, 1)), **UTM)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray] + [UNDEFINED] * (bands - 1)
    with pytest.raises(SceneError, match=words) as caught:
        whole(path, bands=3)
    assert "--bands" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_grey_scene_can_be_given_three_times(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture(8, 8, bands=1), **UTM)
    found, _ = whole(path, bands=3, indexes=(1, 1, 1))
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("indexes", [(0, 1, 2), (1, 2, 9), (1, 2)])
def test_bands_that_are_not_there_are_refused(tmp_path: Path, indexes: tuple[int, ...]) -> None:
    path = write_scene(tmp_path / "a.tif", picture(8, 8), **UTM)
    with pytest.raises(SceneError, match="--bands"):
        whole(path, bands=3, indexes=indexes)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_pixels_of_another_type_than_the_models_are_never_guessed_at(
    tmp_path: Path, dtype: str
) -> None:
    path = write_scene(tmp_path / "a.tif", picture(8, 8).astype(dtype), **UTM)
    with pytest.raises(SceneError, match=f"its pixels are {dtype}.*-scale"):
        whole(path, bands=3, dtype="uint8")
    assert whole(path, bands=3)[0].dtype == dtype


def test_damage_is_found_where_it_is_read(tmp_path: Path) -> None:
    pixels = picture(64, 128)
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    path = write_scene(tmp_path / "a.tif", pixels, **tiles, **UTM)
    broken = bytearray(path.read_bytes())
    with rasterio.open(path) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
    broken[start : start + 100] = bytes(100)
    path.write_bytes(broken)
    with open_scene(path) as scene:
        assert np.array_equal(scene.read(Window(0, 0, 64, 64))[0], pixels[:, :, :64])
        with pytest.raises(SceneError, match="damaged within columns 60 to 70"):
            scene.read(Window(60, 0, 10, 10))


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.3, 0, 1e5, 0, 0.3, 2e5),
        Affine(0.26, 0.15, 1e5, 0.15, -0.26, 2e5),
        Affine.identity(),
    ],
)
def test_any_transform_is_kept(tmp_path: Path, transform: Affine) -> None:
    path = write_scene(tmp_path / "a.tif", picture(8, 8), transform=transform, crs="EPSG:28992")
    with open_scene(path) as scene:
        assert scene.info.transform.almost_equals(transform, 1e-9)


def test_the_sparse_check_and_the_samples_do_not_slow_or_log_on_a_plain_scene(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_scene(tmp_path / "a.png", picture(300, 600), driver="PNG")
    with caplog.at_level(logging.WARNING):
        assert whole(path, bands=3)[1].all()
    assert not caplog.records


def test_real_scenes_open(real_data: Path) -> None:
    scenes = real_data / "scenes"
    pixels, valid = whole(scenes / "storage_tanks_rgba_epsg3857.tif", bands=3, dtype="uint8")
    assert pixels.shape == (3, 409, 856)
    assert valid.all()
    with open_scene(scenes / "storage_tanks_rgba_epsg3857.tif") as scene:
        assert scene.info.pixel_size_m == pytest.approx(1.165, abs=0.01)
    with pytest.raises(SceneError, match="uint16"):
        whole(scenes / "worldview_uint16.tif", dtype="uint8")
    with pytest.raises(SceneError, match="8 bands"):
        whole(scenes / "sentinel2_8band_uint16.tif", bands=3)
