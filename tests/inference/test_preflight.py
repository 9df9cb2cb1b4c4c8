"""The line before a prediction."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from affine import Affine

from geoseg.inference import preflight
from tests.calls import segment
from tests.scenes import model_file, picture, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    grid = Affine(0.2, 0, 5e5, 0, -0.2, 5.5e6)
    return write_scene(tmp_path / "scene.tif", picture(60, 80), crs="EPSG:32633", transform=grid)


def test_sizes_tiles_and_duration_are_logged_before_the_first_tile(
    tmp_path: Path,
    scene: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(preflight, "_SMALL", 1000)
    monkeypatch.setattr(preflight, "_PROBE", 16)
    model = model_file(tmp_path / "model.safetensors", pixel_size_m=(0.4, 0.5))
    with caplog.at_level(logging.INFO):
        segment(scene, tmp_path / "out.gpkg", model=model, core=16, margin=0)
    (record,) = [r for r in caplog.records if hasattr(r, "plan")]
    facts = record.plan
    assert (facts["width"], facts["height"], facts["pixel_size_m"]) == (80, 60, 0.2)
    assert (facts["network_width"], facts["network_height"]) == (40, 30)
    assert facts["network_pixel_size_m"] == pytest.approx(0.4)
    assert facts["tiles"] == 3 * 2
    assert facts["seconds"] >= 0
    text = record.getMessage()
    assert text.startswith(
        "scene.tif: 80 x 60 pixels of 0.2 m, read as 40 x 30 of 0.4 m; 6 tiles, about "
    )


def test_a_small_scene_is_predicted_without_a_word(
    tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        segment(scene, tmp_path / "out.gpkg", model=model_file(tmp_path / "model.safetensors"))
    assert not [record for record in caplog.records if hasattr(record, "plan")]
