"""Positions of chips in a scene."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.dataset.chips import clip_window, cut_windows, format_chip_name
from geoseg.options import ChipOptions

sides = st.integers(1, 400)
sizes = st.integers(1, 150).flatmap(lambda s: st.tuples(st.just(s), st.integers(0, s - 1)))


@given(sides, sides, sizes, st.sampled_from(["shift", "pad", "crop"]))
def test_windows_cover_the_scene_and_neighbours_share_the_overlap(
    width: int, height: int, size: tuple[int, int], edge: Literal["shift", "pad", "crop"]
) -> None:
    tiling = ChipOptions(size=size[0], overlap=size[1], edge=edge)
    seen = np.zeros((height, width), bool)
    windows = cut_windows(tiling, width, height)
    for window in windows:
        assert 0 <= window.col_off < width
        assert 0 <= window.row_off < height
        part = clip_window(window, width, height)
        if edge == "crop":
            assert window == part
        else:
            assert window.width == window.height == size[0]
        if edge == "shift":
            assert window.width == part.width or window.col_off == 0
        seen[
            part.row_off : part.row_off + part.height, part.col_off : part.col_off + part.width
        ] = True
    assert seen.all()
    lefts = sorted({window.col_off for window in windows})
    assert all(b - a <= size[0] - size[1] for a, b in pairwise(lefts))
    assert len({format_chip_name(tiling, "a", window) for window in windows}) == len(windows)


@given(sides, sizes)
def test_windows_are_those_of_mmrotate(length: int, size: tuple[int, int]) -> None:
    side, overlap = size
    step = side - overlap
    # tools/data/dota/split/img_split.py, get_sliding_window
    number = 1 if length <= side else math.ceil((length - side) / step + 1)
    starts = [step * i for i in range(number)]
    if len(starts) > 1 and starts[-1] + side > length:
        starts[-1] = length - side
    windows = cut_windows(ChipOptions(size=side, overlap=overlap), length, 1)
    assert [window.col_off for window in windows] == starts


def test_names_have_size_and_position_and_whole_scenes_keep_theirs() -> None:
    tiling = ChipOptions(size=64, overlap=0)
    assert [format_chip_name(tiling, "P1", w) for w in cut_windows(tiling, 100, 20)] == [
        "P1__64__0___0",
        "P1__64__36___0",
    ]
    whole = ChipOptions(size=None)
    assert [format_chip_name(whole, "P1", w) for w in cut_windows(whole, 100, 20)] == ["P1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 10, "overlap": 10},
        {"edge": "fold"},
        {"empty": 1.5},
        {"min_visible": -1},
    ],
)
def test_what_cannot_be_is_a_value_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        ChipOptions(**wrong)  # type: ignore[arg-type]
