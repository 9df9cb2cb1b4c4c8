"""The mistakes that people make most: each gives one line that says what to do, and its exit code."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.cli import boundary, geoseg
from tests.scenes import UTM, model_file, picture, write_scene
from tests.synthetic_dataset import dataset, dota_folder

NETWORK = "[network]\narchitecture = 'unet'\nparameters = {width = 4, depth = 2}\n"
TRAIN = f"[data]\ndataset = 'dataset'\nwindow = 64\n{NETWORK}"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which things are right, and some that are not."""
    folder = tmp_path_factory.mktemp("work with blanks")
    dataset(folder, scenes=1, size=64)
    write_scene(folder / "scene.tif", picture(60, 60), **UTM)
    write_scene(folder / "grey.tif", picture(60, 60, bands=1), **UTM)
    write_scene(folder / "deep.tif", picture(60, 60).astype(np.uint16) * 200, **UTM)
    model_file(folder / "model.safetensors")
    torch.save({"weights": torch.zeros(3)}, folder / "foreign.pth")
    (folder / "exists.gpkg").write_text("mine")
    (folder / "notes.txt").write_text("no raster")
    (folder / "page.tif").write_text("<!DOCTYPE html><html>404</html>")
    (folder / "train.toml").write_text(TRAIN)
    (folder / "typo.toml").write_text(TRAIN + "[training]\nepochs = 3\n")
    (folder / "broken.toml").write_text("[data\n")
    for name, line in (
        ("bad class", "1 1 9 1 9 9 1 9 Plane 0"),
        ("bad numbers", "1 1 9 1 9 9 1 nine plane 0"),
    ):
        bad = dota_folder(folder / name, scenes=1, size=64)
        (bad / "train/labelTxt/train0.txt").write_text(f"imagesource:x\ngsd:0.5\n{line}\n")
    unlabelled = dota_folder(folder / "no label", scenes=1, size=64)
    (unlabelled / "train/labelTxt/train0.txt").unlink()
    return folder


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("segment missing.tif -o out.gpkg -m model.safetensors", 3, "missing.tif"),
        ("segment notes.txt -o out.gpkg -m model.safetensors", 3, "notes.txt"),
        ("segment page.tif -o out.gpkg -m model.safetensors", 3, "page.tif"),
        ("segment . -o out.gpkg -m model.safetensors", 3, "is a folder"),
        ("segment https://a.org/a.tif -o out.gpkg -m model.safetensors", 3, "local files"),
        ("segment grey.tif -o out.gpkg -m model.safetensors", 3, "grey.tif"),
        ("segment deep.tif -o out.gpkg -m model.safetensors", 3, "uint16"),
        ("segment scene.tif -o out.gpkg -m model.safetensors --bands 1,2,9", 3, "9"),
        ("segment scene.tif -o exists.gpkg -m model.safetensors", 4, "--overwrite"),
        ("segment scene.tif -o nowhere/out.gpkg -m model.safetensors", 4, "nowhere"),
        ("segment scene.tif -o out.gpkg -m missing.safetensors", 5, "missing.safetensors"),
        ("segment scene.tif -o out.gpkg -m foreign.pth", 5, "foreign.pth"),
        ("segment scene.tif -o out.gpkg -m scene.tif", 5, "scene.tif"),
        ("segment scene.tif", 2, "--output"),
        ("segmnet scene.tif", 2, "did you mean 'segment'"),
        ("segment scene.tif -o out.gpkg --device tpu", 2, "tpu"),
        ("segment scene.tif -o out.gpkg --min-pixels few", 2, "few"),
        ("vectorize scene.tif -o out.gpkg", 3, "scene.tif"),
        ("vectorize missing.tif -o out.gpkg", 3, "missing.tif"),
        ("prepare missing -o new", 3, "missing"),
        ("prepare . -o new", 3, "images"),
        ("prepare dota -o dataset", 4, "--overwrite"),
        ("prepare 'bad class' -o new", 3, "train0.txt:3"),
        ("prepare 'bad numbers' -o new", 3, "train0.txt:3"),
        ("prepare 'no label' -o new", 3, "train0"),
        ("train missing.toml -o m.safetensors", 2, "missing.toml"),
        ("train broken.toml -o m.safetensors", 2, "not valid TOML"),
        ("train typo.toml -o m.safetensors", 2, "training.epochs"),
        ("train train.toml -o m.safetensors --set training.step=1", 2, "Did you mean 'steps'"),
        ("train train.toml -o m.pth", 2, ".safetensors"),
        ("train train.toml -o m.safetensors --resume", 5, "checkpoint"),
        ("train train.toml -o m.safetensors --set data.dataset=dota", 3, "geoseg prepare"),
        ("evaluate dota", 3, "geoseg prepare"),
        ("evaluate dataset -m model.safetensors", 3, "classes"),
        ("info missing", 3, "missing"),
    ],
)
def test_a_mistake_gives_one_line_and_its_exit_code(
    everything: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(everything)
    before = {path: path.stat().st_mtime_ns for path in everything.iterdir()}
    arguments = shlex.split(command)
    assert boundary.run(geoseg, arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("geoseg: error: ")
    assert words in err
    assert "Traceback" not in err
    assert {path: path.stat().st_mtime_ns for path in everything.iterdir()} == before
    assert (everything / "exists.gpkg").read_text() == "mine"


def test_a_full_run_of_the_right_commands_makes_no_complaint(
    everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(everything / "dota", tmp_path / "dota")
    (tmp_path / "train.toml").write_text(TRAIN)
    shutil.copy(everything / "scene.tif", tmp_path / "my scene.tif")
    monkeypatch.chdir(tmp_path)
    for command in (
        "prepare dota -o dataset",
        "train train.toml -o m.safetensors --set training.steps=3 --set training.batch_size=2",
        "evaluate dataset -m m.safetensors --json scores.json",
        "segment 'my scene.tif' -o out.gpkg -m m.safetensors --labels labels.tif",
        "vectorize labels.tif -o again.gpkg",
        "info m.safetensors",
    ):
        assert boundary.run(geoseg, shlex.split(command)) == 0, command
