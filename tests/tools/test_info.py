"""Facts about scenes, models and datasets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoseg.errors import DatasetError, GeosegError, ModelError
from geoseg.tools.info import describe, info
from tests.scenes import LEGEND, UTM, model_file, picture, write_scene


def test_the_facts_of_a_scene_have_size_georeference_and_pixel_type(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", picture(30, 40), nodata=0, **UTM)
    facts = info(path)
    assert facts["kind"] == "scene"
    assert (facts["width"], facts["height"], facts["bands"]) == (40, 30, 3)
    assert facts["crs"] == "EPSG:32633"
    assert facts["transform"] == [0.3, 0, 500_000, 0, -0.3, 5_500_000]
    assert facts["pixel_size_m"] == pytest.approx(0.3)
    assert facts["read_bands"] == [1, 2, 3]
    assert json.loads(json.dumps(facts)) == facts
    assert "EPSG:32633" in describe(facts)


def test_the_facts_of_an_unusable_scene_have_the_reason(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "c.tif", picture(4, 4, bands=4), photometric="cmyk", **UTM)
    facts = info(path)
    assert facts["width"] == 4
    assert "CMYK" in facts["problem"]


def test_the_facts_of_a_model_have_its_card(tmp_path: Path) -> None:
    path = model_file(tmp_path / "tiny.safetensors", scores={"val": {"miou": 0.5}})
    facts = info(path)
    assert facts["kind"] == "model"
    assert facts["legend"] == LEGEND.to_json()
    assert facts["weights"] > 1000
    assert len(facts["sha256"]) == 64
    assert "plane, ship, harbor" in describe(facts)
    assert "miou 0.5" in describe(facts)


def test_sentences_have_lines_of_their_own_and_nothing_is_cut() -> None:
    long = " ".join(["ships"] * 40)
    facts = {
        "kind": "model",
        "failures": ["bridges are taken for harbors", long],
        "mean": [0.5] * 40,
        "card": {},
        "ancestor": {"name": "an older one", "steps": 3},
    }
    lines = describe(facts).split("\n")
    assert [line.split("  ")[0] for line in lines if line[0] != " "] == [
        *("kind", "failures", "mean", "card", "ancestor: name", "ancestor: steps")
    ]
    assert all(len(line) <= 120 for line in lines)
    text = " ".join(describe(facts).split())
    assert f"failures bridges are taken for harbors {long} mean" in text
    assert ", ".join(["0.5"] * 40) + " card none ancestor: name an older one" in text


def test_an_unknown_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"not one")
    with pytest.raises(ModelError):
        info(tmp_path / "x.safetensors")
    with pytest.raises(DatasetError):
        info(tmp_path)
    with pytest.raises(GeosegError):
        info(tmp_path / "missing.tif")
