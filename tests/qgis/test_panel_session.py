"""State and commands of the panel."""

import os

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

import panels
from geoseg_qgis.panel_session import (
    ModelFacts,
    PanelClass,
    Rasters,
    SceneArguments,
    Session,
    choose_colour,
    choose_name,
    default_folder,
    find_models,
    fit_arguments,
    number_path,
    parse_progress,
    segment_arguments,
    suggest_arguments,
)

assert panels


def test_a_session_survives_the_text_of_the_project():
    session = Session(
        folder="/tmp/Übung",
        model="/m.safetensors",
        classes=(PanelClass("roof", "#ff0000"), PanelClass("l'eau", "#0000ff")),
        current_class="l'eau",
        minutes=2.5,
        whole_scene=True,
    )
    assert Session.from_text(session.to_text()) == session


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        '{"folder": 3, "classes": 4, "minutes": "long", "whole_scene": 1, "unknown": 5}',
        '{"classes": [{"name": "roof"}, 7, {"name": "", "colour": "#000000"}]}',
    ],
)
def test_a_damaged_text_gives_an_empty_session(text):
    assert Session.from_text(text) == Session()


def test_entries_that_are_left_out_have_their_defaults():
    assert Session.from_text('{"minutes": 7}') == Session(minutes=7.0)


def test_new_classes_get_unused_names_and_colours():
    first = choose_colour([])
    assert choose_colour([first]) != first
    assert choose_name("class", ["class 1", "class 3"]) == "class 2"


def test_the_folder_is_named_after_the_scene():
    assert default_folder("/data/a.b.tif", "") == os.path.join("/data", "a.b-geoseg")
    assert default_folder("/data/x.tif", "/work") == os.path.join("/work", "x-geoseg")


def test_products_are_numbered_after_the_highest(tmp_path):
    folder = str(tmp_path)
    assert number_path(folder, "model", ".safetensors") == f"{folder}/model-1.safetensors"
    for name in ("model-2.safetensors", "model-10.checkpoint.safetensors", "other-99.gpkg"):
        (tmp_path / name).touch()
    assert number_path(folder, "model", ".safetensors") == f"{folder}/model-11.safetensors"
    assert number_path(f"{folder}/none", "model", ".x") == f"{folder}/none/model-1.x"


def test_models_are_listed_once_and_without_checkpoints(tmp_path):
    for name in ("b.safetensors", "a.onnx", "a.checkpoint.safetensors", "a.gpkg"):
        (tmp_path / name).touch()
    recent = [str(tmp_path / "b.safetensors"), str(tmp_path / "gone.safetensors")]
    found = find_models([str(tmp_path), "", str(tmp_path / "none")], recent)
    assert [os.path.basename(path) for path in found] == ["a.onnx", "b.safetensors"]


def test_facts_are_taken_from_a_model_card():
    facts = ModelFacts.from_info(
        {
            "legend": [
                {"id": 0, "name": "background", "colour": "#000000"},
                {"id": 1, "name": "roof", "colour": "#ff8800"},
            ],
            "bands": 4,
            "band_names": ["red", "green", "blue", "nir"],
            "pixel_size_m": [0.1, 0.8],
            "scores": {"validation_windows": {"miou": 0.5}, "val": {"miou": 0.25}},
            "training": {"name": "roofs", "terms": "research", "ancestor": {"name": "DOTA"}},
        }
    )
    assert facts == ModelFacts(
        "roofs",
        "research",
        "red, green, blue, nir",
        (0.1, 0.8),
        (PanelClass("roof", "#ff8800"),),
        0.25,
        "DOTA",
    )
    assert ModelFacts.from_info({"bands": 3, "band_names": ["", "", ""]}).bands == "3"
    assert ModelFacts.from_info({"training": None, "scores": None}) == ModelFacts()


@pytest.mark.parametrize(
    ("text", "loss", "miou"),
    [
        ("train, loss 0.412, mIoU 63.1 %, 0:02 h left", 0.412, 0.631),
        ("train, loss 1", 1.0, None),
        ("validate", None, None),
        ("", None, None),
    ],
)
def test_loss_and_score_are_read_from_the_progress(text, loss, miou):
    progress = parse_progress(text)
    assert progress.loss == loss
    assert progress.miou == pytest.approx(miou)


def test_a_training_names_its_inputs_and_its_start():
    scene = SceneArguments("s.tif", "own.safetensors", "1,2,3", 0.25)
    arguments = fit_arguments(
        scene,
        "m.safetensors",
        annotations="a.gpkg",
        area="f.gpkg",
        stop_file="stop",
        minutes=4,
        resume=True,
    )
    assert arguments[:2] == ["fit", "s.tif"]
    assert options(arguments[2:]) == {
        "--annotations": "a.gpkg",
        "--annotated-area": "f.gpkg",
        "-o": "m.safetensors",
        "-m": "own.safetensors",
        "--bands": "1,2,3",
        "--pixel-size": "0.25",
        "--minutes": "4",
        "--stop-file": "stop",
        "--resume": None,
    }


def test_options_without_a_value_are_left_out():
    assert segment_arguments(SceneArguments("s.tif"), "o.gpkg") == [
        "segment",
        "s.tif",
        "-o",
        "o.gpkg",
    ]
    suggested = suggest_arguments(SceneArguments("s.tif"), "f.gpkg", frames=3)
    assert suggested == ["suggest", "s.tif", "-o", "f.gpkg", "--frames", "3"]


def test_the_rasters_of_a_result_stand_for_its_model_and_bands():
    rasters = Rasters.beside("folder/objects-1.gpkg")
    scene = SceneArguments("s.tif", "own.safetensors", "1,2,3", 0.25)
    assert options(suggest_arguments(scene, "f.gpkg", frames=3, rasters=rasters)[2:]) == {
        "--pixel-size": "0.25",
        "-o": "f.gpkg",
        "--frames": "3",
        "--labels": "folder/objects-1_labels.tif",
        "--uncertainty": "folder/objects-1_uncertainty.tif",
    }


def test_negative_coordinates_are_no_options():
    box = (-500000.123456, -2.0, 3.5, 5800000.0)
    arguments = segment_arguments(SceneArguments("s.tif"), "o.gpkg", box=box)
    assert arguments[-1] == "--bbox=-500000.123456,-2,3.5,5800000"


def options(arguments):
    """Return options and their values; None for flags."""
    found, rest = {}, list(arguments)
    while rest:
        name = rest.pop(0)
        assert name.startswith("-")
        found[name] = rest.pop(0) if rest and not rest[0].startswith("-") else None
    return found
