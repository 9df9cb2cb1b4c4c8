"""Pixel size of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from affine import Affine

from geoseg.errors import ConfigError, SceneError
from geoseg.inference.reader import choose_scale
from geoseg.raster.scene import SceneInfo, open_scene
from tests.scenes import card, picture, write_scene

CARD = card(pixel_size_m=(0.1, 0.4))


def info(folder: Path, size: float, **place: Any) -> SceneInfo:
    where = {"crs": "EPSG:32633", "transform": Affine(size, 0, 5e5, 0, -size, 5.5e6)} | place
    with open_scene(write_scene(folder / "scene.tif", picture(20, 30), **where)) as scene:
        return scene.info


@pytest.mark.parametrize(("size", "factor"), [(0.2, 1), (0.5, 1), (0.07, 1), (2.0, 0.2), (0.05, 2)])
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
