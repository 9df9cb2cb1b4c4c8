"""Measurement of margins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoseg.errors import ConfigError
from geoseg.inference.tiling import default_margin, resolve_margin
from geoseg.models.model_file import load_model, read_card
from geoseg.polygons.objects import Objects
from geoseg.tools.margin import MarginTrial, best_margin, compare_objects, margin_table
from tests.calls import measure_margins
from tests.scenes import UTM, model_file, objects_model_file, picture, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", picture(300, 1300), **UTM)


def test_the_exact_margin_changes_nothing_and_a_smaller_one_more(
    tmp_path: Path, scene: Path
) -> None:
    model = model_file(tmp_path / "tiny.safetensors", margin=0)
    trials = measure_margins([scene], model=model, margins=(0, 4, 5, 8, 100), write=True)
    exact = resolve_margin("exact", load_model(model))
    assert [trial.margin for trial in trials] == [0, 4, 8, exact]
    shares = [trial.share for trial in trials]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 1e-3 > shares[-1] == 0
    assert all(trial.pixels == 300 * 1300 for trial in trials)
    card = read_card(model)
    assert card.context == exact
    assert card.margin == best_margin(trials)
    assert [entry["changed"] for entry in card.margins] == shares
    assert load_model(model).card == card
    table = margin_table(trials).splitlines()
    assert len(table) == 2 + len(trials)
    assert "(exact) | none" in table[-1]


def test_the_smallest_margin_that_changes_one_in_ten_thousand_is_best() -> None:
    def trial(margin: int, changed: int) -> MarginTrial:
        return MarginTrial(margin, 10**6, changed, 1.0, 1.0)

    assert best_margin([trial(0, 5000), trial(32, 101), trial(64, 100), trial(96, 0)]) == 64
    assert best_margin([trial(0, 5000), trial(32, 101), trial(961, 0)]) == 961


def test_objects_are_compared_with_those_of_the_exact_margin(tmp_path: Path, scene: Path) -> None:
    model = objects_model_file(tmp_path / "objects.safetensors", margin=0)
    trials = measure_margins([scene], model=model, margins=(0, 8), write=True)
    for trial in trials:
        assert trial.objects > 50
        assert trial.objects >= trial.objects_changed >= trial.objects_lost
    assert trials[0].objects_changed > trials[-1].objects_changed == trials[-1].objects_lost == 0
    entry = read_card(model).margins[0]
    assert entry["objects_changed"] == trials[0].objects_changed / trials[0].objects
    header, _, first, *_ = margin_table(trials).splitlines()
    assert "objects lost" in header
    assert header.count("|") == first.count("|")


def test_an_object_is_lost_without_a_counterpart_of_its_class() -> None:
    def decoded(*rows: str, classes: tuple[int, ...]) -> Objects:
        ids = np.array([[int(digit) for digit in row] for row in rows], np.int32)
        return Objects(ids, np.array(classes, np.uint8), np.bincount(ids.ravel())[1:])

    expected = decoded("1110220", "1110220", "0000033", classes=(1, 1, 2))
    assert compare_objects(expected, expected) == (0, 0)
    assert compare_objects(
        decoded("1100220", "1110220", "0000033", classes=(1, 1, 2)), expected
    ) == (1, 0)
    assert compare_objects(
        decoded("1000220", "1000220", "0000033", classes=(1, 1, 1)), expected
    ) == (2, 2)
    assert compare_objects(decoded("0" * 7, "0" * 7, "0" * 7, classes=()), expected) == (3, 3)


def test_a_margin_that_loses_objects_is_not_the_default() -> None:
    def trial(margin: int, lost: int) -> MarginTrial:
        return MarginTrial(margin, 10**6, 0, 1.0, 1.0, 5000, 2 * lost, lost)

    assert best_margin([trial(0, 6), trial(32, 5), trial(64, 0)]) == 32


def test_a_model_that_was_never_measured_is_exact_where_that_is_cheap() -> None:
    assert default_margin(107, 16) == 112
    assert default_margin(961, 64) == 128
    assert default_margin(None, 32) == 128


def test_the_shipped_model_and_those_of_others_are_not_written_to(
    scene: Path, tmp_path: Path
) -> None:
    for model in (None, tmp_path / "model.onnx"):
        with pytest.raises(ConfigError, match="-m"):
            measure_margins([scene], model=model, write=True)
