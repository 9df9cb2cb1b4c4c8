"""tune: the scenes that it counts, and what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import DatasetError, ModelError
from geoseg.models.model_file import read_card, save_model
from geoseg.options import TuneOptions
from geoseg.polygons.object_rules import default_rules
from geoseg.tools.tune import rule_table, tune
from geoseg.training.windows import is_held_out
from tests.scenes import card, objects_card, tiny_network
from tests.synthetic_dataset import dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"), scenes=6, size=160)


@pytest.fixture
def model(drawn: Path, tmp_path: Path) -> Path:
    legend = Dataset.open(drawn).legend
    network = tiny_network(objects=True, classes=len(legend))
    of_model = replace(objects_card(), legend=legend, objects=default_rules(len(legend)))
    return save_model(tmp_path / "objects.safetensors", network.state_dict(), of_model, half=False)


def count_annotated(folder: Path, split: str, held_out: float = 0.0) -> list[int]:
    """Count the annotated objects of each class in the scenes of a split."""
    opened = Dataset.open(folder)
    annotations = opened.annotations(None, scenes=opened.split(split))
    chosen = [
        of_scene.class_id
        for name, of_scene in annotations.items()
        if not held_out or is_held_out(name, held_out)
    ]
    counts: list[int] = np.bincount(np.concatenate(chosen), minlength=len(opened.legend)).tolist()
    return counts


def test_the_rules_are_recorded_in_the_card_on_request(drawn: Path, model: Path) -> None:
    before = read_card(model)
    choice = tune(drawn, model=model)
    assert read_card(model) == before
    assert tune(drawn, model=model, options=TuneOptions(write=True)).rules == choice.rules
    assert read_card(model) == replace(before, objects=choice.rules)
    assert choice.annotated.tolist() == count_annotated(drawn, "val")
    assert (choice.matched <= np.minimum(choice.found, choice.annotated)).all()


def test_held_out_scenes_are_those_that_a_training_leaves_out(drawn: Path, model: Path) -> None:
    options = TuneOptions(split="train", held_out=1 / 3)
    choice = tune(drawn, model=model, options=options)
    expected = count_annotated(drawn, "train", 1 / 3)
    assert choice.annotated.tolist() == expected != count_annotated(drawn, "train")
    with pytest.raises(DatasetError, match="selects no scene of split val"):
        tune(drawn, model=model, options=TuneOptions(held_out=0.001))
    with pytest.raises(ValueError, match="held_out"):
        TuneOptions(held_out=3)


def test_a_model_without_object_outputs_is_refused(drawn: Path, tmp_path: Path) -> None:
    legend = Dataset.open(drawn).legend
    weights = tiny_network(classes=len(legend)).state_dict()
    of_model = replace(card(), legend=legend)
    path = save_model(tmp_path / "plain.safetensors", weights, of_model, half=False)
    with pytest.raises(ModelError, match="has no object outputs"):
        tune(drawn, model=path)


def test_the_command_prints_a_table_or_json(
    drawn: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    legend = Dataset.open(drawn).legend
    words = ["tune", str(drawn), "-m", str(model), "--reference", "quads"]
    choice = tune(drawn, model=model, options=TuneOptions(layer="quads"))
    assert boundary.run(geoseg, words) == 0
    table = capsys.readouterr().out
    assert table.strip() == rule_table(choice, legend)
    assert all(f"\n| {c.name} |" in table for c in legend.objects)
    assert boundary.run(geoseg, [*words, "--progress", "json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["rules"] == choice.rules.to_json(legend)
