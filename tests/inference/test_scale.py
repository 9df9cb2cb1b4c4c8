"""Pixel size of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from affine import Affine

from geoseg.errors import ConfigError, SceneError
from geoseg.inference.reader import choose_scale
from geoseg.models.model_file import ModelCard
from geoseg.raster.scene import SceneInfo, assume_pixel_size, open_scene
from tests.scenes import card, picture, write_scene

CARD = card(pixel_size_m=(0.1, 0.4))


def info(folder: Path, size: float, **place: Any) -> SceneInfo:
    where = {"crs": "EPSG:32633", "transform": Affine(size, 0, 5e5, 0, -size, 5.5e6)} | place
    with open_scene(write_scene(folder / "scene.tif", picture(20, 30), **where)) as scene:
        return scene.info


@pytest.mark.parametrize(("size", "factor"), [(0.2, 1), (0.5, 1), (0.07, 1), (1.0, 0.4), (0.05, 2)])
def test_auto_resamples_to_the_nearest_size_of_the_card(
    tmp_path: Path, size: float, factor: float
) -> None:
    assert choose_scale(info(tmp_path, size), CARD) == pytest.approx((factor, factor))


def test_pixels_of_degrees_become_square(tmp_path: Path) -> None:
    degrees = {"crs": "EPSG:4326", "transform": Affine(2e-6, 0, 11, 0, -2e-6, 60)}
    across, down = choose_scale(info(tmp_path, 0, **degrees), CARD)
    assert across / down == pytest.approx(
        2, rel=0.01
    )  # at 60 degrees a degree east is half as long
    assert 2e-6 * 111_412 * down == pytest.approx(0.2, rel=0.4)


def test_a_number_is_metres_and_none_never_resamples(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = info(tmp_path, 2.0)
    assert choose_scale(scene, CARD, 0.5) == pytest.approx((0.25, 0.25))
    assert choose_scale(scene, card(), "auto") == (1, 1)  # a card without pixel sizes
    assert not caplog.records
    assert choose_scale(scene, CARD, "none") == (1, 1)
    assert "Expect poor results" in caplog.text


def test_an_unknown_pixel_size_is_a_warning_or_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = info(tmp_path, 0, crs=None, transform=Affine.identity())
    assert choose_scale(scene, CARD) == (1, 1)
    assert "pixel size unknown" in caplog.text
    caplog.clear()
    assert choose_scale(scene, CARD, "none") == (1, 1)
    assert not caplog.text
    with pytest.raises(SceneError, match="--gsd none"):
        choose_scale(scene, CARD, 0.3)
    with pytest.raises(ConfigError, match="--gsd"):
        choose_scale(scene, CARD, -1.0)


@pytest.mark.parametrize(
    ("size", "options"), [(1.3, ["--gsd 0.4", "--gsd none"]), (0.03, ["--gsd 0.1", "--gsd none"])]
)
def test_a_scene_beyond_three_times_the_sizes_of_the_card_is_refused_with_the_options(
    tmp_path: Path, size: float, options: list[str]
) -> None:
    scene = info(tmp_path, size)
    with pytest.raises(SceneError, match=f"pixels of {size} m") as refused:
        choose_scale(scene, CARD)
    assert all(option in str(refused.value) for option in options)
    nearest = min(max(size, 0.1), 0.4)
    assert choose_scale(scene, CARD, nearest) == pytest.approx((nearest / size,) * 2)
    assert choose_scale(scene, CARD, "none") == (1, 1)


def test_no_pixel_is_enlarged_more_than_eight_times(tmp_path: Path) -> None:
    scene = info(tmp_path, 2152)
    with pytest.raises(SceneError) as refused:
        choose_scale(scene, CARD)
    assert "--gsd none" in str(refused.value)
    assert "--gsd 0.4" not in str(refused.value)  # it would be refused too
    with pytest.raises(SceneError, match="--gsd 269 or more"):
        choose_scale(scene, CARD, 0.4)
    assert choose_scale(scene, CARD, 269) == pytest.approx((1 / 8, 1 / 8))


def test_an_assumed_pixel_size_resamples_as_that_of_a_crs(tmp_path: Path) -> None:
    plain = info(tmp_path, 0, crs=None, transform=Affine.identity())
    assert choose_scale(assume_pixel_size(plain, 1.0), CARD) == pytest.approx((0.4, 0.4))
    assert choose_scale(assume_pixel_size(plain, 1.0), CARD, 0.25) == pytest.approx((0.25, 0.25))
    assert assume_pixel_size(plain, None) is plain


def test_pixels_of_a_local_grid_keep_their_proportions(tmp_path: Path) -> None:
    grid = Affine.rotation(20) @ Affine.scale(4, -1)
    local = assume_pixel_size(info(tmp_path, 0, crs=None, transform=grid), 0.3)
    assert local.pixel_size_m == 0.3
    assert local.pixel_sides_m == pytest.approx((0.6, 0.15))


def test_the_pixel_size_of_a_crs_wins_over_an_assumed_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = info(tmp_path, 0.2)
    assert assume_pixel_size(scene, 0.2) is scene
    assert not caplog.records
    assert assume_pixel_size(scene, 0.5) is scene
    assert "--pixel-size 0.5 is ignored" in caplog.text


@pytest.mark.parametrize(
    "sizes", [(0.0, 1.0), (1e-7, 1.0), (1.0, 0.5), (0.1, 1e9), (1.0, float("nan"))]
)
def test_a_card_with_implausible_pixel_sizes_is_no_card(sizes: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="pixel sizes must be"):
        ModelCard.from_json(card(pixel_size_m=sizes).to_json())
