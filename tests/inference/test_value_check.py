"""Values of a scene compared with those that a model was trained on."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.inference.value_check import (
    share_outside,
    warn_of_dataset_values,
    warn_of_scene_values,
)
from geoseg.raster.bands import BandStatistics
from geoseg.raster.scene import open_scene
from tests.scenes import UTM, card, picture, write_scene

REFLECTANCE = BandStatistics(0.0, 200.0, 4000.0, 10_000.0, 1200.0, 800.0)


def of_range(low: float, high: float) -> BandStatistics:
    return BandStatistics(low, low, high, high, (low + high) / 2, (high - low) / 3)


def warn(path: Path, statistics: BandStatistics) -> None:
    with open_scene(path) as scene:
        model = card(bands=len(scene.indexes), statistics=(statistics,) * len(scene.indexes))
        warn_of_scene_values(scene, model)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.4, True),  # reflectance as a fraction instead of in ten-thousandths
        (500, 3000, False),
        (10, 1500, False),  # a dark scene
        (200, 60_000, True),
        (3900, 9000, True),
    ],
)
def test_a_warning_names_both_ranges_if_most_values_lie_outside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, low: float, high: float, expected: bool
) -> None:
    values = np.random.default_rng(0).uniform(low, high, (3, 300, 200)).astype(np.float32)
    path = write_scene(tmp_path / "scene.tif", values, **UTM)
    with caplog.at_level(logging.WARNING):
        warn(path, REFLECTANCE)
    assert len(caplog.messages) == expected
    if expected:
        assert "200 to 4000" in caplog.messages[0]
        assert str(path) in caplog.messages[0]


def test_values_without_data_do_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.random.default_rng(0).uniform(500, 3000, (1, 200, 200)).astype(np.float32)
    values[:, 60:] = -32_768
    path = write_scene(tmp_path / "scene.tif", values, nodata=-32_768, **UTM)
    empty = write_scene(tmp_path / "empty.tif", values[:, 60:], nodata=-32_768, **UTM)
    with caplog.at_level(logging.WARNING):
        warn(path, REFLECTANCE)
        warn(empty, REFLECTANCE)
    assert not caplog.messages


def test_a_card_without_statistics_and_a_scene_like_those_of_the_training_give_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_scene(tmp_path / "scene.tif", picture(90, 90), **UTM)
    with caplog.at_level(logging.WARNING), open_scene(path) as scene:
        warn_of_scene_values(scene, card())
        warn_of_scene_values(scene, card(statistics=(of_range(3, 250),) * 3))
        warn_of_dataset_values("dataset", [of_range(0.1, 0.2)] * 3, card())
    assert not caplog.messages
    warn_of_dataset_values("dataset", [of_range(0.1, 0.2)] * 3, card(statistics=[REFLECTANCE] * 3))
    assert "dataset: most values are 0.1 to 0.2" in caplog.messages[0]


@given(
    st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(0, 1e4)), min_size=1, max_size=5),
    st.floats(1, 1e4),
)
def test_a_share_is_that_of_the_range_outside(
    ranges: list[tuple[float, float]], length: float
) -> None:
    low = np.array([start for start, _ in ranges])
    high = low + [extent for _, extent in ranges]
    share = share_outside(low, high, [of_range(0, length)] * len(ranges))
    assert 0 <= share <= 1
    samples = np.linspace(low, high, 2001)
    outside = (samples < 0) | (samples > length)
    outside[:, high - low < 0.01 * length] = True
    if not ((high - low > 0) & (high - low < 1e-6)).any():
        assert share == pytest.approx(outside.mean(), abs=2e-3)
