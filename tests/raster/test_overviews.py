"""Overviews: what a square of four pixels becomes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from geoseg.legend import IGNORE
from geoseg.raster.cog import reduce_by_mean, reduce_by_mode

LABELS = arrays.arrays(
    np.uint8,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 1, 2, 7, IGNORE]),
)


def squares(pixels: NDArray[np.uint8]) -> list[list[list[int]]]:
    """Of each square the pixels that hold something."""
    height, width = pixels.shape
    return [
        [
            [int(v) for v in pixels[y : y + 2, x : x + 2].ravel() if v != IGNORE]
            for x in range(0, width, 2)
        ]
        for y in range(0, height, 2)
    ]


@given(LABELS)
def test_no_label_is_more_frequent_than_the_one_that_is_taken(pixels: NDArray[np.uint8]) -> None:
    taken = reduce_by_mode(pixels)
    for row, line in zip(taken, squares(pixels), strict=True):
        for label, square in zip(row, line, strict=True):
            counts = Counter(square)
            assert label == IGNORE if not square else counts[label] == max(counts.values())


@given(LABELS)
def test_an_average_is_of_what_holds_something(pixels: NDArray[np.uint8]) -> None:
    expected = [
        [np.floor(np.mean(square) + 0.5) if square else IGNORE for square in line]
        for line in squares(pixels)
    ]
    np.testing.assert_array_equal(reduce_by_mean(pixels), expected)


def test_both_are_those_of_gdal() -> None:
    pixels = np.random.default_rng(0).choice([0, 1, 2, 7, 200, IGNORE], (128, 128)).astype(np.uint8)
    with MemoryFile() as memory:
        profile = {"width": 128, "height": 128, "count": 1, "dtype": "uint8", "nodata": IGNORE}
        with memory.open(driver="GTiff", crs=None, **profile) as raster:
            raster.write(pixels, 1)
        with rasterio.open(memory.name) as raster:
            mode, mean = (
                raster.read(1, out_shape=(64, 64), resampling=how)
                for how in (Resampling.mode, Resampling.average)
            )
    np.testing.assert_array_equal(reduce_by_mode(pixels), mode)
    np.testing.assert_array_equal(reduce_by_mean(pixels), mean)
