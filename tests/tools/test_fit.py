"""Fitting a model to a few polygons, and the configuration that it starts from."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from rasterio.transform import from_origin

from geoseg.cli import boundary, geoseg
from geoseg.errors import ConfigError, OutputError
from geoseg.models.model_file import Model, load_model
from geoseg.options import FitOptions, PrepareOptions
from geoseg.polygons.object_rules import ObjectRule, ObjectRules
from geoseg.progress import Text
from geoseg.tools.fit import fit
from geoseg.tools.init import TEMPLATES, init
from geoseg.training.config import TrainConfig, parse_config, read_config
from tests.scenes import LEGEND, RULES, model_file, objects_model_file, write_scene

TRANSFORM = from_origin(500_000, 5_000_000, 0.5, 0.5)


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
    return parse_config({"data": {"window": 64}, "training": settings}, "test")


def test_a_model_has_the_classes_of_the_polygons_and_its_dataset_is_removed(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path)
    start = model_file(tmp_path / "start.safetensors")
    made = fit(scene, tmp_path / "m.safetensors", annotations=polygons, model=start, config=short())
    assert load_model(made.model).card.legend.names == ("background", "shed")
    assert made.dataset is None
    names = {path.name for path in tmp_path.iterdir()}
    products = {"m.safetensors", "m.log.jsonl", "m.log.csv", "m.curves.png"}
    assert names == products | {"scene.tif", "polygons.gpkg", "start.safetensors"}


def test_classes_of_the_start_without_annotations_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = LEGEND.names[1:]
    scene, polygons = annotated_scene(tmp_path, name=first)
    start = model_file(tmp_path / "start.safetensors")
    for legend, named in (None, [others]), (str(start), []):
        caplog.clear()
        fit(
            scene,
            tmp_path / "m.safetensors",
            annotations=polygons,
            model=start,
            data=PrepareOptions(legend=legend),
            options=FitOptions(overwrite=True),
            config=short(steps=1),
        )
        lines = [line for line in caplog.messages if "--legend" in line]
        assert len(lines) == len(named)
        assert all(name in line for line, names in zip(lines, named, strict=True) for name in names)


def test_interpolation_at_0_gives_the_logits_of_the_start(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path, name=LEGEND.names[1])
    start = load_model(model_file(tmp_path / "start.safetensors"))
    config = parse_config(
        {
            "data": {"window": 64},
            "loss": {"logit_adjustment_windows": 0},
            "training": {"steps": 2, "batch_size": 1, "interpolation": [0.0]},
        },
        "test",
    )
    made = fit(
        scene,
        tmp_path / "m.safetensors",
        annotations=polygons,
        model=start.path,
        config=config,
        data=PrepareOptions(legend=str(start.path)),
    )
    assert_same_logits(made.model, start)


def assert_same_logits(path: Path, start: Model) -> None:
    """Assert that a model has the logits of another, but for its weights in half precision."""
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, expected = load_model(path).network(image), start.network(image)
    torch.testing.assert_close(logits, expected, atol=0.05, rtol=1e-3)


def test_a_fit_that_learns_nothing_gives_the_logits_of_its_start(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path, name=LEGEND.names[1])
    start = load_model(model_file(tmp_path / "start.safetensors"))
    config = parse_config(
        {
            "data": {"window": 64},
            "loss": {"logit_adjustment_windows": 0},
            "training": {"steps": 2, "batch_size": 1, "learning_rate": 1e-12},
        },
        "test",
    )
    made = fit(
        scene,
        tmp_path / "m.safetensors",
        annotations=polygons,
        model=start.path,
        config=config,
        data=PrepareOptions(legend=str(start.path)),
    )
    after = load_model(made.model)
    assert (after.card.mean, after.card.std) == (start.card.mean, start.card.std)
    assert_same_logits(made.model, start)


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


def test_a_folder_of_the_users_is_not_taken_for_the_dataset_that_is_removed(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path)
    (tmp_path / "m.dataset").mkdir()
    (tmp_path / "m.dataset" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="name a folder with --dataset"):
        fit(
            scene,
            tmp_path / "m.safetensors",
            annotations=polygons,
            options=FitOptions(overwrite=True),
        )
    assert (tmp_path / "m.dataset" / "notes.txt").read_text() == "mine"


def test_an_interrupted_fit_keeps_its_dataset_and_resumes(tmp_path: Path) -> None:
    scene, polygons = annotated_scene(tmp_path)
    start, output = model_file(tmp_path / "start.safetensors"), tmp_path / "m.safetensors"

    def track(items, /, text: Text = "", total: int | None = None):  # type: ignore[no-untyped-def]
        for number, item in enumerate(items):
            yield item
            if callable(text) and number == 2:  # of the steps
                raise KeyboardInterrupt

    given: dict[str, Any] = {"annotations": polygons, "model": start, "config": short()}
    with pytest.raises(KeyboardInterrupt):
        fit(scene, output, **given, track=track)
    assert (tmp_path / "m.dataset" / "dataset.json").is_file()
    made = fit(scene, output, **given, options=FitOptions(resume=True))
    assert load_model(made.model).card.training["steps"] == 8
    assert not (tmp_path / "m.dataset").exists()


@pytest.mark.parametrize(("countable", "expected"), [(None, True), ((), False), (("shed",), True)])
def test_objects_of_the_classes_are_counted_unless_others_are_named(
    countable: tuple[str, ...] | None, expected: bool, tmp_path: Path
) -> None:
    scene, polygons = annotated_scene(tmp_path)
    made = fit(
        scene,
        tmp_path / "m.safetensors",
        annotations=polygons,
        model=model_file(tmp_path / "start.safetensors"),
        config=short(steps=1),
        data=PrepareOptions(countable=countable),
    )
    assert load_model(made.model).card.legend.countable == (False, expected)


def test_object_rules_are_those_of_the_start_by_class_name(tmp_path: Path) -> None:
    name = LEGEND.names[2]
    scene, polygons = annotated_scene(tmp_path, name=name)
    start = objects_model_file(tmp_path / "start.safetensors")
    for known, legend in ((True, name), (False, "shed")):
        table = gpd.read_file(polygons, engine="pyogrio").assign(**{"class": legend})
        table.to_file(tmp_path / f"{legend}.gpkg", engine="pyogrio")
        made = fit(
            scene,
            tmp_path / f"m-{legend}.safetensors",
            annotations=tmp_path / f"{legend}.gpkg",
            model=start,
            config=short(steps=1),
        )
        rules = (ObjectRule(), RULES.rules[2] if known else ObjectRule())
        assert load_model(made.model).card.objects == ObjectRules(rules, reach=RULES.reach)


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
    config.write_text("[data]\nwindow = 64\n[training]\nsteps = 500\nbatch_size = 1\n")
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


def test_the_next_command_can_be_pasted_into_a_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my scenes"
    folder.mkdir()
    scene, polygons = annotated_scene(folder)
    start = model_file(folder / "start.safetensors")
    words = ["fit", str(scene), "--annotations", str(polygons), "-m", str(start)]
    words += ["-o", str(folder / "m.safetensors"), "--set", "data.window=64"]
    words += ["--set", "training.steps=1", "--set", "training.batch_size=1", "--progress", "none"]
    assert boundary.run(geoseg, words) == 0
    command = capsys.readouterr().err.partition("next: ")[2].splitlines()[0]
    assert shlex.split(command)[2:5] == [str(scene), "-m", str(folder / "m.safetensors")]


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
