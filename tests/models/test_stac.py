"""A model as a STAC item that catalogues can read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.extensions.mlm import MLMExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from geoseg.legend import Legend
from geoseg.models.model_file import ModelCard
from geoseg.models.stac import stac_item
from geoseg.raster.bands import BandStatistics
from tests.calls import export
from tests.scenes import LEGEND, card, model_file, objects_model, tiny_model


@pytest.fixture
def item(tmp_path: Path) -> dict[str, Any]:
    """The item that stands in another folder than its model."""
    (tmp_path / "catalog").mkdir()
    training = {"date": "2026-03-01", "name": "Roofs", "terms": "all free"}
    model = model_file(tmp_path / "m.safetensors", training=training, pixel_size_m=(0.2, 0.8))
    stac = tmp_path / "catalog" / "m.json"
    export(tmp_path / "my model.onnx", model=model, size=96, stac=stac)
    told: dict[str, Any] = json.loads(stac.read_text(encoding="utf-8"))
    return told


def test_it_is_a_valid_item(item: dict[str, Any]) -> None:
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
    assert pystac.Item.from_dict(item).id == "my model"
    assert item["assets"]["model"]["href"] == "./../my%20model.onnx"
    assert item["properties"]["datetime"] == "2026-03-01T00:00:00Z"
    assert item["properties"]["gsd"] == 0.4


def test_a_reader_of_the_extension_learns_how_to_run_the_model(item: dict[str, Any]) -> None:
    read = MLMExtension.ext(pystac.Item.from_dict(item))
    assert (read.mlm_name, read.architecture, read.tasks) == (
        "Roofs",
        "unet",
        ["semantic-segmentation"],
    )
    (image,), (output,) = read.input, read.output
    assert image.bands == ["red", "green", "blue"]
    assert image.input.shape == [-1, 3, 96, 96]
    scaling = item["properties"]["mlm:input"][0]["value_scaling"]  # of which pystac reads one only
    assert [(s["type"], s["mean"], s["stddev"]) for s in scaling] == [
        ("z-score", 100, 50),
        ("z-score", 120, 60),
        ("z-score", 90, 40),
    ]
    assert output.result.shape == [-1, 4, 96, 96]
    classes = [
        (c["value"], c["name"], c["color_hint"])
        for c in item["properties"]["mlm:output"][0]["classification:classes"]
    ]
    assert classes == [(c.id, c.name, c.colour[1:].upper()) for c in LEGEND]
    assert ModelCard.from_json(item["properties"]["geoseg:card"]).legend == LEGEND


def test_the_extension_s_own_model_accepts_it(item: dict[str, Any]) -> None:
    schema = pytest.importorskip(
        "stac_model.schema", reason="needs stac-model, which asks for a newer pip"
    )
    told = schema.MLModelProperties(**item["properties"])
    assert told.output[0].classes[1].name == "plane"


def test_a_name_the_extension_does_not_allow_stands_whole_in_the_description() -> None:
    model = tiny_model()
    legend = Legend.of({"Gebäude (groß)": "#aa0000", "***": "#00aa00"})
    named = replace(model, card=replace(model.card, legend=legend))
    told = stac_item(named, name="m", href="./m.onnx", size=64)["properties"]
    classes = told["mlm:output"][0]["classification:classes"][1:]
    assert [(c["name"], c["description"]) for c in classes] == [
        ("Geb-ude-gro", "Gebäude (groß)"),
        ("class-2", "***"),
    ]


def test_the_object_outputs_are_an_output_of_their_own() -> None:
    told = stac_item(objects_model(), name="m", href="./m.onnx", size=64)["properties"]
    classes, objects = told["mlm:output"]
    assert (classes["name"], objects["name"]) == ("probabilities", "objects")
    assert objects["result"]["shape"] == [-1, 2, 64, 64]
    assert told["mlm:tasks"] == ["semantic-segmentation", "instance-segmentation"]


def test_bands_have_their_names_data_type_and_statistics() -> None:
    names = ("blue", "green", "", "nir")
    statistics = tuple(
        BandStatistics(0.0, 10.0 * k, 900.0 * k, 4000.0, 300.0, 120.0) for k in range(1, 5)
    )
    made = card(bands=4, band_names=names, statistics=statistics)
    model = replace(tiny_model(), card=replace(made, dtype="uint16"))
    item = stac_item(model, name="m", href="./m.onnx", size=64)
    expected = ["blue", "green", "band-3", "nir"]
    assert item["properties"]["mlm:input"][0]["bands"] == expected
    assert item["properties"]["mlm:input"][0]["input"]["shape"] == [-1, 4, 64, 64]
    bands = item["assets"]["model"]["bands"]
    assert [band["name"] for band in bands] == expected
    assert {band["data_type"] for band in bands} == {"uint16"}
    assert bands[1]["statistics"] == {"minimum": 0, "maximum": 4000, "mean": 300, "stddev": 120}
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
