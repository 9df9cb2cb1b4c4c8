"""Statistics from histograms are those of all pixels together."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from geoseg.raster.bands import BandStatistics
from geoseg.raster.histogram import (
    DTYPES,
    Histogram,
    add_histograms,
    compute_statistics,
    count_values,
    empty_histograms,
)

ELEMENTS = {"float32": st.floats(-1e4, 1e4, width=32)}


@st.composite
def images(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels of two bands in a data type of datasets, and which are valid."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 9)))
    pixels = draw(arrays(np.dtype(dtype), (2, *shape), elements=ELEMENTS.get(dtype)))
    return pixels, draw(arrays(bool, shape))


def count(pixels: NDArray[Any]) -> tuple[Histogram, ...]:
    return count_values(pixels, np.ones(pixels.shape[1:], bool))


def expect(values: NDArray[Any]) -> BandStatistics:
    """Statistics by NumPy."""
    exact = values.astype(np.float64)
    low, high = np.percentile(exact, [2, 98])
    return BandStatistics(exact.min(), low, high, exact.max(), exact.mean(), exact.std())


@given(images())
def test_statistics_are_numpys(image: tuple[NDArray[Any], NDArray[np.bool_]]) -> None:
    pixels, valid = image
    found = compute_statistics([count_values(pixels, valid)])
    if not valid.any():
        assert found == (BandStatistics(0, 0, 0, 0, 0, 0),) * 2
        return
    for band, values in zip(found, pixels[:, valid], strict=True):
        true = expect(values)
        assert (band.minimum, band.maximum) == (true.minimum, true.maximum)
        assert np.isclose(band.mean, true.mean, rtol=1e-9, atol=1e-9)
        assert np.isclose(band.std, true.std, rtol=1e-6, atol=1e-3 * (values.dtype.kind == "f"))
        exact = values.dtype.kind in "iu"
        largest = float(np.abs(values.astype(np.float64)).max())
        error = 1e-9 * largest if exact else largest / 2**11
        assert abs(band.p2 - true.p2) <= error + 1e-9
        assert abs(band.p98 - true.p98) <= error + 1e-9


@settings(max_examples=50)
@given(images(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_statistics_do_not_depend_on_the_order_of_scenes(
    image: tuple[NDArray[Any], NDArray[np.bool_]], random: Any, rows: int
) -> None:
    pixels, valid = image
    parts = [
        count_values(pixels[:, top : top + rows], valid[top : top + rows])
        for top in range(0, len(valid), rows)
    ]
    shuffled = parts.copy()
    random.shuffle(shuffled)
    assert compute_statistics(parts) == compute_statistics(shuffled)
    if pixels.dtype.kind in "iu":
        assert compute_statistics(parts) == compute_statistics([count_values(pixels, valid)])


@given(images())
def test_histograms_survive_json(image: tuple[NDArray[Any], NDArray[np.bool_]]) -> None:
    found = count_values(*image)
    stored = [Histogram.from_json(json.loads(json.dumps(h.to_json()))) for h in found]
    assert compute_statistics([stored]) == compute_statistics([found])


@pytest.mark.parametrize("dtype", DTYPES)
def test_adding_nothing_changes_nothing(dtype: str) -> None:
    pixels = np.arange(12).reshape(1, 3, 4).astype(dtype)
    none = empty_histograms(1, dtype)
    both = add_histograms([count(pixels)[0], none[0]])
    assert compute_statistics([[both]]) == compute_statistics([count(pixels)])


def test_floats_of_one_value_are_that_value() -> None:
    (band,) = compute_statistics([count(np.full((1, 5, 5), 0.3, np.float32))])
    assert band.p2 == band.p98 == band.minimum == np.float32(0.3)


def test_floats_far_from_zero_keep_their_percentiles() -> None:
    kelvin = np.random.default_rng(0).normal(290, 8, (1, 200, 200)).astype(np.float32)
    (band,) = compute_statistics([count(kelvin)])
    low, high = np.percentile(kelvin.astype(np.float64), [2, 98])
    assert abs(band.p2 - low) < 0.1
    assert abs(band.p98 - high) < 0.1


def test_the_bins_of_floats_do_not_grow_with_the_pixels() -> None:
    rng = np.random.default_rng(0)
    scenes = [count(rng.random((1, 300, 300), np.float32) + 1) for _ in range(4)]
    assert len(add_histograms([scene[0] for scene in scenes]).bins) <= 2048
