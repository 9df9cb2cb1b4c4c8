"""Fitting a model to a few polygons, and the configuration that it starts from."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from rasterio.transform import from_origin

from geoseg.cli import boundary, geoseg
from geoseg.errors import ConfigError, OutputError
from geoseg.models.model_file import load_model
from geoseg.options import FitOptions
from geoseg.tools.fit import fit
from geoseg.tools.init import TEMPLATES, init
from geoseg.training.config import TrainConfig, parse_config, read_config
from tests.scenes import model_file, write_scene

TRANSFORM = from_origin(500_000, 5_000_000, 0.5, 0.5)
START = {"network": {"architecture": "unet", "parameters": {"width": 4, "depth": 2}}}


def annotated_scene(folder: Path, *, name: str = "shed") -> tuple[Path, Path]:
    """A grey scene with 12 bright rectangles, and their polygons."""
    rng = np.random.default_rng(3)
    pixels = np.full((3, 512, 512), 100, np.uint8) + rng.integers(0, 20, (3, 512, 512), np.uint8)
    boxes = []
    for row in range(3):
        for column in range(4):
            left, top = 30 + 120 * column, 40 + 160 * row
            pixels[:, top : top + 30, left : left + 25] = 220
            corners = [TRANSFORM @ (left, top), TRANSFORM @ (left + 25, top + 30)]
            boxes.append(shapely.box(*np.sort(np.array(corners), axis=0).ravel()))
    scene = write_scene(folder / "scene.tif", pixels, crs="EPSG:32631", transform=TRANSFORM)
    polygons = folder / "polygons.gpkg"
    gpd.GeoDataFrame({"class": [name] * 12}, geometry=boxes, crs="EPSG:32631").to_file(polygons)
    return scene, polygons


def short(**training: object) -> TrainConfig:
    settings = {
        "steps": 8,
        "batch_size": 2,
        "validate_every": 4,
        "validation_windows": 4,
        "checkpoint_every": 2,
        **training,
    }
    return parse_config({**START, "data": {"window": 64}, "training": settings}, "test")


def test_a_model_has_the_classes_of_the_polygons_and_its_dataset_is_removed(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path)
    start = model_file(tmp_path / "start.safetensors")
    made = fit(scene, tmp_path / "m.safetensors", annotations=polygons, model=start, config=short())
    assert load_model(made.model).card.legend.names == ("background", "shed")
    assert made.dataset is None
    names = {path.name for path in tmp_path.iterdir()}
    products = {"m.safetensors", "m.log.jsonl", "m.log.csv", "m.curves.png"}
    assert names == products | {"scene.tif", "polygons.gpkg", "start.safetensors"}


def test_a_named_dataset_is_kept(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path)
    start = model_file(tmp_path / "start.safetensors")
    made = fit(
        scene,
        tmp_path / "m.safetensors",
        annotations=polygons,
        model=start,
        config=short(steps=1),
        options=FitOptions(dataset=tmp_path / "data"),
    )
    assert made.dataset == tmp_path / "data"
    assert (tmp_path / "data" / "dataset.json").is_file()


def test_the_start_is_no_output(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path)
    start = model_file(tmp_path / "m.safetensors")
    before = start.read_bytes()
    with pytest.raises(OutputError, match="is the model to start from"):
        fit(
            scene,
            start,
            annotations=polygons,
            model=start,
            options=FitOptions(overwrite=True),
        )
    assert start.read_bytes() == before


def test_a_failed_fit_leaves_no_dataset(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path)
    start = model_file(tmp_path / "start.safetensors")
    with pytest.raises(ConfigError, match="learning_rates"):
        fit(
            scene,
            tmp_path / "m.safetensors",
            annotations=polygons,
            model=start,
            config=short(learning_rates={"nose": 0.1}),
        )
    assert not (tmp_path / "m.dataset").exists()


def test_the_command_stops_at_a_file_and_writes_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, polygons = annotated_scene(tmp_path)
    start = model_file(tmp_path / "start.safetensors")
    config = tmp_path / "c.toml"
    config.write_text(
        '[network]\narchitecture = "unet"\nparameters = { width = 4, depth = 2 }\n'
        "[data]\nwindow = 64\n[training]\nsteps = 500\nbatch_size = 1\n"
    )
    (tmp_path / "stop").touch()
    words = ["fit", str(scene), "--annotations", str(polygons), "-m", str(start)]
    words += ["--config", str(config), "-o", str(tmp_path / "m.safetensors")]
    words += ["--stop-file", str(tmp_path / "stop"), "--progress", "json"]
    assert boundary.run(geoseg, words) == 0
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert events[-1]["event"] == "result"
    assert load_model(tmp_path / "m.safetensors").card.training["steps"] == 1
    assert "geoseg segment" in err


def test_init_writes_a_configuration_that_can_be_read(tmp_path: Path) -> None:
    made = init(tmp_path / "mine.toml")
    assert read_config(made) == read_config(TEMPLATES["finetune"])
    with pytest.raises(OutputError, match="exists already"):
        init(made)
    with pytest.raises(ConfigError, match="Known: finetune"):
        init(tmp_path / "other.toml", name="other")


def test_init_without_arguments_names_the_file_after_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert boundary.run(geoseg, ["init"]) == 0
    assert capsys.readouterr().out.strip() == "finetune.toml"
    assert (tmp_path / "finetune.toml").is_file()
