"""A scene at another pixel size is torch's antialiased interpolation, whatever window is read."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.raster.resample import ReadWindow, ResampledAxis, read_resampled, resample_axis


def scene(height: int, width: int, holes: float = 0.0) -> tuple[ReadWindow, NDArray[np.uint8]]:
    rng = np.random.default_rng(height * width)
    pixels = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    valid = rng.random((height, width)) >= holes
    pixels[:, ~valid] = 0

    def read(window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        there = window.toslices()
        return pixels[:, *there], valid[there]

    return read, pixels


@pytest.mark.parametrize("size", [(48, 40), (31, 27), (96, 80), (192, 160), (7, 5)])
def test_a_whole_scene_is_what_torch_makes_of_it(size: tuple[int, int]) -> None:
    read, pixels = scene(96, 80)
    expected = F.interpolate(
        torch.from_numpy(pixels).float()[None], size, mode="bilinear", antialias=True
    )[0]
    window = Window(0, 0, size[1], size[0])
    found, valid = read_resampled(
        read, ResampledAxis(80, size[1]), ResampledAxis(96, size[0]), window
    )
    assert valid.all()
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-3)


@given(
    factor=st.floats(0.3, 5), height=st.integers(1, 60), width=st.integers(1, 60),
    cut=st.tuples(*[st.floats(0, 1)] * 4),
)  # fmt: skip
def test_windows_of_any_cut_agree_to_the_last_bit(
    factor: float, height: int, width: int, cut: tuple[float, ...]
) -> None:
    read, _ = scene(height, width, holes=0.2)
    across, down = resample_axis(width, factor), resample_axis(height, factor * 1.3)
    whole, has_data = read_resampled(read, across, down, Window(0, 0, across.size, down.size))
    left, right = sorted(int(c * across.size) for c in cut[:2])
    top, bottom = sorted(int(c * down.size) for c in cut[2:])
    window = Window(left, top, max(1, right - left), max(1, bottom - top))
    if left == across.size or top == down.size:
        return
    part, valid = read_resampled(read, across, down, window)
    assert np.array_equal(part, whole[:, *window.toslices()])
    assert np.array_equal(valid, has_data[window.toslices()])


@given(
    length=st.integers(1, 200),
    factor=st.floats(0.2, 6),
    cuts=st.lists(st.integers(0, 1000), max_size=6),
)
def test_parts_of_the_result_own_each_pixel_of_the_scene_once(
    length: int, factor: float, cuts: list[int]
) -> None:
    axis = resample_axis(length, factor)
    edges = sorted({0, axis.size, *(cut % (axis.size + 1) for cut in cuts)})
    owned = [axis.source_span(start, stop) for start, stop in pairwise(edges)]
    assert owned[0][0] == 0
    assert owned[-1][1] == length
    assert all(one[1] == other[0] for one, other in pairwise(owned))
    for (start, stop), (first, last) in zip(pairwise(edges), owned, strict=True):
        nearest = axis.nearest(first, last)
        assert ((nearest >= start) & (nearest < stop)).all()


def test_no_change_of_size_changes_nothing() -> None:
    read, pixels = scene(20, 30)
    found, valid = read_resampled(
        read, resample_axis(30, 1), resample_axis(20, 1), Window(3, 4, 10, 11)
    )
    assert valid.all()
    assert np.array_equal(found, pixels[:, 4:15, 3:13])


def test_holes_do_not_darken_what_is_around_them() -> None:
    def read(window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        pixels = np.full((1, 40, 40), 200, np.uint8)
        valid = np.ones((40, 40), bool)
        valid[10:20, 10:20] = False
        pixels[:, ~valid] = 0
        return pixels[:, *window.toslices()], valid[window.toslices()]

    found, valid = read_resampled(
        read, ResampledAxis(40, 13), ResampledAxis(40, 13), Window(0, 0, 13, 13)
    )
    assert not valid.all()
    np.testing.assert_allclose(found[0][valid], 200, rtol=1e-6)
    assert (found[0][~valid] == 0).all()
