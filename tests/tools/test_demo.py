"""The whole demo, on tiny scenes and with a very short training."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pyogrio
import pytest
import rasterio
from click.testing import CliRunner

from geoseg.cli.demo import demo as command
from geoseg.cli.demo import summary
from geoseg.errors import OutputError
from geoseg.options import DemoOptions
from geoseg.synthetic.scenes import AIRPORT, RIVER_TOWN, SUBURB, SyntheticScene
from geoseg.tools.demo import DemoResult

run = importlib.import_module("geoseg.tools.demo")
scenes = importlib.import_module("geoseg.synthetic.scenes")

CONFIG = """
[data]
dataset = "dataset"
window = 64
[network]
architecture = "unet"
parameters = { width = 2, depth = 2 }
[training]
steps = 2
batch_size = 1
validation_windows = 1
"""


def few_plans(seed: int) -> list[SyntheticScene]:
    named = (("a", "train", AIRPORT), ("b", "train", SUBURB), ("c", "val", RIVER_TOWN))
    scenes = [
        SyntheticScene(name, split, theme, 256, seed, i)
        for i, (name, split, theme) in enumerate(named)
    ]
    return [*scenes, SyntheticScene("unseen", None, SUBURB, 320, seed, 3)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    config = tmp_path / "demo.toml"
    config.write_text(CONFIG)
    monkeypatch.setattr(run, "CONFIG", config)
    monkeypatch.setattr(scenes, "plan_scenes", few_plans)
    return tmp_path / "out"


@pytest.mark.slow
def test_a_demo_writes_every_product_and_can_be_repeated(small: Path) -> None:
    result = run.demo(small)
    assert isinstance(result, DemoResult)
    files = [getattr(result, name) for name in DemoResult.__slots__ if name != "evaluations"]
    assert all(file.exists() and small in (file, *file.parents) for file in files)
    with rasterio.open(result.scene) as scene, rasterio.open(result.labels) as labels:
        assert labels.crs == scene.crs
        assert labels.transform == scene.transform
    assert "32631" in pyogrio.read_info(result.polygons, layer="segments")["crs"]
    assert [e["truth"] for e in json.loads(result.scores.read_text())] == ["quads", "outlines"]
    said = summary(result)
    assert str(result.polygons) in said
    assert "(outlines)" in said
    with pytest.raises(OutputError, match="--overwrite"):
        run.demo(small)
    assert run.demo(small, options=DemoOptions(overwrite=True)).model == result.model


def test_a_folder_in_use_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert isinstance(result.exception, OutputError)
    assert str(result.exception).count("\n") == 0
    assert result.exception.exit_code == 4
