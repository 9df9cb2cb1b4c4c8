"""Training chips of datasets that are no 8-bit RGB."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError
from geoseg.options import ChipOptions
from geoseg.raster.stretch import choose_stretch
from geoseg.tools.chip import chip
from tests.tools.test_prepare_bands import build, measured, source


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four bands of uint16 with names; a corner is not valid."""
    pixels = measured(4, "uint16")
    pixels[:, :30, :40] = 0
    path = source(tmp_path / "a.tif", pixels, ["blue", "green", "red", "nir"], nodata=0)
    return build(tmp_path, path)


def test_geotiff_chips_keep_bands_names_and_type(tmp_path: Path, dataset: Dataset) -> None:
    chip(dataset.folder, tmp_path / "chips", chips=ChipOptions(format="tif", size=100, overlap=0))
    with dataset.open_scene(dataset.scenes[0]) as scene:
        pixels, valid = scene.read(Window(100, 0, 100, 100))
    path = tmp_path / "chips" / "train" / "images" / "a__100__100___0.tif"
    with rasterio.open(path) as image:
        assert np.array_equal(image.read(), pixels)
        assert np.array_equal(image.dataset_mask() != 0, valid)
        assert image.descriptions == ("blue", "green", "red", "nir")
        assert "alpha" not in [colour.name for colour in image.colorinterp]


@pytest.mark.parametrize("image", ["png", "jpg"])
def test_images_of_8_bits_cannot_hold_them(tmp_path: Path, dataset: Dataset, image: str) -> None:
    with pytest.raises(
        ConfigError, match=r"4 bands of uint16 do not fit.*--image tif, or --stretch"
    ):
        chip(dataset.folder, tmp_path / "chips", chips=ChipOptions(image=image))  # type: ignore[arg-type]


def test_a_stretch_makes_pictures_of_them(tmp_path: Path, dataset: Dataset) -> None:
    chips = ChipOptions(size=100, overlap=0, stretch=True)
    chip(dataset.folder, tmp_path / "chips", chips=chips)
    with dataset.open_scene(dataset.scenes[0]) as scene:
        pixels, valid = scene.read(Window(0, 0, 100, 100))
    stretch = choose_stretch(dataset.band_names, dataset.dtype, dataset.statistics)
    expected = stretch.apply(np.moveaxis(pixels, 0, -1))
    expected[~valid] = 0
    path = tmp_path / "chips" / "train" / "images" / "a__100__0___0.png"
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert np.array_equal(found[..., ::-1], expected)
    assert 0.9 < (found[30:] > 0).mean() < 1
    red = dataset.statistics[2]
    assert stretch.ranges is not None
    assert stretch.ranges[0] == (red.p2, red.p98)


def test_a_grey_dataset_of_8_bits_needs_no_stretch(tmp_path: Path) -> None:
    pixels = measured(1, "uint8")
    dataset = build(tmp_path, source(tmp_path / "a.tif", pixels))
    chip(dataset.folder, tmp_path / "chips", chips=ChipOptions(size=None))
    path = tmp_path / "chips" / "train" / "images" / "a.png"
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert np.array_equal(found, pixels[0])
