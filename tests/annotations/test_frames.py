"""Frames to annotate: the grid, what frames contain, and their ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.annotations.frames import (
    CLASS_PIXELS,
    MIN_SHARE,
    FrameContent,
    choose_frame_size,
    describe_reason,
    frame_features,
    frame_grid,
    measure_frame,
    rank_frames,
)

CLASSES = 4


def frame(
    uncertainty: float = 0.1, classes: tuple[int, ...] = (1000, 0, 0, 0), *,
    share: float = 1.0, brightness: float = 100.0,
) -> FrameContent:  # fmt: skip
    bands = np.full(3, brightness)
    return FrameContent(share, uncertainty, np.array(classes), bands, bands / 10)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(16, 700))
def test_the_grid_partitions_the_scene_into_frames_of_equal_size(
    width: int, height: int, size: int
) -> None:
    counts = np.zeros((height, width), np.uint8)
    grid = frame_grid(width, height, size)
    for window in grid:
        counts[window.toslices()] += 1
        assert 0 < window.width <= size
        assert 0 < window.height <= size
    assert (counts == 1).all()
    assert np.ptp([window.width for window in grid]) <= 1
    assert np.ptp([window.height for window in grid]) <= 1


@given(st.integers(64, 100_000), st.integers(64, 100_000), st.integers(1, 20))
def test_the_default_size_gives_a_choice(width: int, height: int, frames: int) -> None:
    size = choose_frame_size(width, height, frames)
    assert 64 <= size <= 512
    if size > 64:
        assert (width / size) * (height / size) >= 3.9 * frames


def test_a_frame_measures_its_counted_pixels_only() -> None:
    pixels = np.stack([np.arange(12).reshape(3, 4), np.full((3, 4), 7)]).astype(np.uint16)
    labels = np.array([[1, 1, 2, 2]] * 3, np.uint8)
    uncertainty = np.array([[0, 100, 200, 200]] * 3, np.uint8)
    counted = np.array([[True, True, False, False]] * 3)
    found = measure_frame(pixels, labels, uncertainty, counted, 3)
    assert (found.share, found.uncertainty) == (0.5, 0.25)
    assert found.classes.tolist() == [0, 6, 0]
    assert found.mean.tolist() == [pixels[0][counted].mean(), 7]
    assert found.std.tolist() == [pixels[0][counted].std(), 0]


def test_a_frame_without_pixels_has_no_content() -> None:
    nothing = np.zeros((3, 4), bool)
    planes = np.zeros((3, 4), np.uint8)
    found = measure_frame(np.zeros((2, 3, 4)), planes, planes, nothing, 3)
    assert (found.share, found.uncertainty, found.classes.sum()) == (0, 0, 0)


def test_the_uncertain_frame_is_first() -> None:
    frames = [frame(0.1), frame(0.4), frame(0.2)]
    assert rank_frames(frames, [], 1)[0].index == 1


def test_the_second_frame_differs_from_the_first() -> None:
    frames = [frame(0.40), frame(0.39), frame(0.2, brightness=30), frame(0.1)]
    assert [r.index for r in rank_frames(frames, [], 2)] == [0, 2]


def test_a_frame_that_differs_from_the_annotated_one_is_first() -> None:
    frames = [frame(0.4), frame(0.2, brightness=30)]
    assert rank_frames(frames, [frame(0.1)], 1)[0].index == 1


def test_a_rare_class_outweighs_a_frequent_one() -> None:
    usual, rare = (900, 100, 0, 0), (900, 0, 100, 0)
    frames = [frame(0.2, usual), frame(0.2, usual), frame(0.2, usual), frame(0.2, rare)]
    (first,) = rank_frames(frames, [], 1)
    assert (first.index, first.new) == (3, (2,))


def test_a_class_that_is_annotated_is_not_new() -> None:
    frames = [frame(0.2, (900, 100, 0, 0)), frame(0.2, (900, 0, 100, 0))]
    annotated = [frame(0, (0, 0, CLASS_PIXELS, 0), share=0.01)]
    (first,) = rank_frames(frames, annotated, 1)
    assert (first.index, first.new, first.classes) == (0, (1,), (1,))


def test_classes_are_listed_by_their_pixels_without_background_and_specks() -> None:
    (ranked,) = rank_frames([frame(0.2, (900, 20, 50, CLASS_PIXELS - 1))], [], 1)
    assert ranked.classes == (2, 1)


def test_frames_of_nodata_or_annotations_are_left_out() -> None:
    frames = [frame(0.9, share=MIN_SHARE - 0.01), frame(0.1, share=MIN_SHARE)]
    assert [r.index for r in rank_frames(frames, [], 5)] == [1]
    assert rank_frames(frames[:1], [], 5) == []


contents = st.builds(
    frame,
    st.floats(0, 1),
    st.tuples(*[st.integers(0, 500)] * CLASSES),
    share=st.floats(0, 1),
    brightness=st.floats(0, 255),
)


@settings(max_examples=60)
@given(st.lists(contents, max_size=20), st.lists(contents, max_size=4), st.integers(1, 25))
def test_ranks_are_deterministic_and_a_longer_list_begins_with_the_shorter(
    frames: list[FrameContent], annotated: list[FrameContent], count: int
) -> None:
    ranked = rank_frames(frames, annotated, count)
    usable = sum(frame.share >= MIN_SHARE for frame in frames)
    assert len(ranked) == min(count, usable)
    assert len({r.index for r in ranked}) == len(ranked)
    assert rank_frames(frames, annotated, count + 3)[:count] == ranked
    seen = {c for f in annotated for c in range(CLASSES) if f.classes[c] >= CLASS_PIXELS}
    for r in ranked:
        assert set(r.new) == set(r.classes) - seen
        seen |= set(r.classes)


@given(st.lists(contents, min_size=2, max_size=12))
def test_the_distance_of_classes_is_that_of_hellinger(frames: list[FrameContent]) -> None:
    features = frame_features(frames)[:, :CLASSES]
    shares = np.array([f.classes / max(1, f.classes.sum()) for f in frames])
    hellinger = np.sqrt(((np.sqrt(shares[0]) - np.sqrt(shares[1])) ** 2).sum() / 2)
    assert np.linalg.norm(features[0] - features[1]) == pytest.approx(hellinger)


def test_the_reason_has_numbers_and_names() -> None:
    names = ("background", "ship", "plane", "harbor", "bridge", "tank")
    frames: list[Any] = [
        frame(0.3, (900, 90, 80, 70)), frame(0.1, (900, 90, 0, 0), brightness=50)
    ]  # fmt: skip
    first, second = rank_frames(frames, [], 2)
    assert describe_reason(first, 0.2, names) == (
        "uncertainty 1.5 times the mean; first frame with ship, plane, harbor"
    )
    assert describe_reason(second, 0.0, names) == "distance to the other frames 1.0 times the mean"
