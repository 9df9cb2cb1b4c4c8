"""Value ranges of bands, and pictures by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.raster.bands import RGB, BandStatistics
from geoseg.raster.stretch import (
    Stretch,
    choose_stretch,
    is_rgb,
    locate_colours,
    stretch_to,
    value_range,
)


def measure(band: NDArray[Any]) -> BandStatistics:
    low, p2, p98, high = np.percentile(band.astype(float), (0, 2, 98, 100)).tolist()
    return BandStatistics(low, p2, p98, high, float(band.mean()), float(band.std()))


def test_eight_bit_colours_are_shown_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    statistics = [measure(band) for band in np.moveaxis(pixels, 2, 0)]
    stretch = choose_stretch(RGB, "uint8", statistics)
    assert (stretch.apply(pixels) == pixels).all()
    assert (stretch_to((0, 1, 2), pixels, np.ones((5, 6), bool)).apply(pixels) == pixels).all()


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_the_2nd_percentile_is_black_and_the_98th_white(dtype: str) -> None:
    values = (
        np.random.default_rng(0)
        .uniform(-500, 9000, (40, 50, 4))
        .clip(0 if dtype == "uint16" else -500)
    )
    pixels = (values / (1e4 if dtype == "float32" else 1)).astype(dtype)
    names = ("blue", "green", "red", "nir")
    statistics = [measure(band) for band in np.moveaxis(pixels, 2, 0)]
    shown = choose_stretch(names, dtype, statistics).apply(pixels)
    for channel, band in enumerate((2, 1, 0)):
        low, high = np.percentile(pixels[..., band].astype(float), (2, 98))
        assert (shown[pixels[..., band] <= low, channel] == 0).all()
        assert (shown[pixels[..., band] >= high, channel] == 255).all()
        middle = np.interp(pixels[..., band].astype(float), (low, high), (0, 255))
        assert np.abs(shown[..., channel] - middle).max() <= 1
    of_pixels = stretch_to((2, 1, 0), pixels, np.ones(pixels.shape[:2], bool))
    assert (of_pixels.apply(pixels) == shown).all()


def test_few_bands_are_shown_in_grey_and_unnamed_ones_by_the_first_three() -> None:
    assert locate_colours(("", "", "", "")) == (0, 1, 2)
    assert locate_colours(("nir", "red", "blue", "green")) == (1, 3, 2)
    assert locate_colours(("nir", "red", "green")) == (0, 1, 2)
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16, 1)
    shown = Stretch(locate_colours(("",)), ((0, 255),)).apply(grey)
    assert (shown == grey).all()
    assert shown.shape == (16, 16, 3)


def test_three_unnamed_bands_are_colours_if_they_have_eight_bits() -> None:
    assert is_rgb(RGB, "uint16")
    assert is_rgb(("", "", ""), "uint8")
    assert not is_rgb(("", "", ""), "uint16")
    assert not is_rgb(("nir", "red", "green"), "uint8")
    assert not is_rgb((*RGB, "nir"), "uint8")


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60))
def test_a_range_is_never_empty_and_holds_the_percentiles(values: list[int]) -> None:
    statistics = measure(np.array(values))
    low, high = value_range(statistics)
    assert low < high
    assert low <= statistics.p98
    assert high >= statistics.p2


def test_pixels_without_data_do_not_change_a_stretch() -> None:
    pixels = np.random.default_rng(0).integers(100, 900, (20, 20, 1)).astype(np.uint16)
    valid = np.random.default_rng(1).random((20, 20)) < 0.5
    before = stretch_to((0,), pixels, valid)
    pixels[~valid] = 60_000
    assert stretch_to((0,), pixels, valid) == before
    nothing = stretch_to((0,), pixels, np.zeros((20, 20), bool))
    assert nothing.apply(pixels).shape == (20, 20, 3)
    constant = stretch_to((0,), np.full((4, 4, 1), 7, np.uint16), np.ones((4, 4), bool))
    assert not constant.apply(np.full((4, 4, 1), 7, np.uint16)).any()
