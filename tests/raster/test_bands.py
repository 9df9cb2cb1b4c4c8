"""Names and statistics of bands."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.options import parse_bands
from geoseg.raster.bands import BandStatistics, normalize_band_name
from geoseg.raster.scene import open_scene
from tests.scenes import UTM, picture, write_scene

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = ("blue", "green", "red", "nir")


@given(st.builds(BandStatistics, *[NUMBERS] * 6))
def test_statistics_survive_json_to_the_last_digit(band: BandStatistics) -> None:
    assert BandStatistics.from_json(json.loads(json.dumps(band.to_json()))) == band


def named(path: Path, *names: str, pixels: NDArray[Any] | None = None) -> Path:
    """Write a raster with these descriptions of its bands, and no colours."""
    pixels = picture(12, 15, bands=len(names)) if pixels is None else pixels
    write_scene(path, pixels, **UTM)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(names) - 1)
        dataset.descriptions = names
    return path


def read(path: Path, **selection: Any) -> NDArray[Any]:
    with open_scene(path, **selection) as scene:
        return scene.read(Window(0, 0, scene.info.width, scene.info.height))[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Red", "red"),
        ("B02", "blue"),
        ("b03", "green"),
        ("B8A", "nir08"),
        ("B4, central wavelength 665 nm", "b4"),
        ("near_infrared", "nir"),
        ("Near Infrared", "nir"),
        ("NIR1", "nir"),
        ("swir16", "swir1"),
        ("Band 3", ""),
        ("band_12", ""),
        ("", ""),
        (" Elevation  [m] ", "elevation [m]"),
    ],
)
def test_names_in_use_have_one_form(text: str, name: str) -> None:
    assert normalize_band_name(text) == name
    assert normalize_band_name(name) == name


def test_names_are_descriptions_else_colours(tmp_path: Path) -> None:
    with open_scene(named(tmp_path / "a.tif", "B02", "", "height")) as scene:
        assert scene.info.band_names == ("blue", "", "height")
    with open_scene(write_scene(tmp_path / "b.tif", picture(4, 4), **UTM)) as scene:
        assert scene.info.band_names == ("red", "green", "blue")
    with open_scene(write_scene(tmp_path / "c.tif", picture(4, 4, bands=1), **UTM)) as scene:
        assert scene.info.band_names == ("",)


@pytest.mark.parametrize("order", list(permutations(NAMES))[::5])
def test_bands_are_found_by_name_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    pixels = picture(12, 15, bands=4)
    path = named(tmp_path / "a.tif", *order, pixels=pixels)
    by_name = dict(zip(order, pixels, strict=True))
    expected = np.stack([by_name[name] for name in NAMES])
    assert np.array_equal(read(path, names=NAMES, bands=4), expected)
    assert np.array_equal(read(path, indexes=NAMES), expected)
    assert np.array_equal(read(path, names=("nir", "red")), expected[[3, 2]])


def test_an_alias_finds_a_band(tmp_path: Path) -> None:
    path = named(tmp_path / "a.tif", "B02", "B03", "B04", "B08")
    found = read(path, indexes=parse_bands("R,g,b,near infrared"))
    assert np.array_equal(found, read(path, indexes=(3, 2, 1, 4)))


def test_bands_without_names_are_taken_in_their_order(tmp_path: Path) -> None:
    path = named(tmp_path / "a.tif", "Band 1", "Band 2", "Band 3")
    found = read(path, names=("red", "green", "nir"), bands=3)
    assert np.array_equal(found, read(path, indexes=(1, 2, 3)))


def test_other_names_are_refused_and_numbers_overrule_them(tmp_path: Path) -> None:
    path = named(tmp_path / "a.tif", "nir", "red", "green")
    with pytest.raises(SceneError, match=r"need the bands red, green, blue.*1 nir, 2 red, 3 green"):
        read(path, names=("red", "green", "blue"), bands=3)
    assert read(path, names=("red", "green", "blue"), bands=3, indexes=(1, 2, 3)).shape[0] == 3
    with pytest.raises(SceneError, match="Use a scene that has them"):
        read(path, names=NAMES)


@pytest.mark.parametrize(
    ("names", "asked", "words"),
    [
        (("red", "nir"), "green", "no band 'green'; its bands are 1 red, 2 nir"),
        (("red", "red"), "red", "several"),
        (("", ""), "red", "its bands 1 to 2 have no names"),
        (("",), "red", "its band has no name"),
        (("", ""), "red=3", "no band 3"),
        (("red", "nir"), "3", "no band 3; its bands are 1 red, 2 nir"),
        (("red", "nir"), "0", "no band 0"),
    ],
)
def test_a_band_that_is_not_there_is_an_error_that_lists_what_is(
    tmp_path: Path, names: tuple[str, ...], asked: str, words: str
) -> None:
    path = named(tmp_path / "a.tif", *names)
    with pytest.raises(SceneError, match=words):
        read(path, indexes=parse_bands(asked))


@pytest.mark.parametrize("text", ["", "1,,2", "red,"])
def test_lists_with_gaps_are_no_bands(text: str) -> None:
    with pytest.raises(ValueError, match="list of bands"):
        parse_bands(text)


def test_bands_without_names_can_get_some(tmp_path: Path) -> None:
    path = named(tmp_path / "a.tif", "Band 1", "Band 2", "Band 3")
    chosen = parse_bands("R = 3, nir=1")
    assert np.array_equal(read(path, indexes=chosen), read(path, indexes=(3, 1)))
    with open_scene(path, indexes=chosen) as scene:
        assert scene.band_names == ("red", "nir")
        assert scene.info.band_names == ("nir", "", "red")


@pytest.mark.parametrize("text", ["red=", "=3", "red=blue", "3=2", "red=3=2"])
def test_a_name_and_no_number_is_no_band(text: str) -> None:
    with pytest.raises(ValueError, match="list of bands"):
        parse_bands(text)
