"""``geoseg info``"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoseg.cli import boundary, geoseg
from tests.scenes import UTM, picture, write_scene


def test_it_speaks_to_people_and_to_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_scene(tmp_path / "scene.tif", picture(30, 40), **UTM)
    assert boundary.run(geoseg, ["info", str(path)]) == 0
    assert "EPSG:32633" in capsys.readouterr().out
    assert boundary.run(geoseg, ["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["width"] == 40


def test_what_is_not_there_is_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert boundary.run(geoseg, ["info", str(tmp_path / "missing.tif")]) == 3
    assert capsys.readouterr().err.startswith("geoseg: error: ")


def test_without_a_path_it_tells_of_the_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert boundary.run(geoseg, ["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "model"
    assert "non-commercial" in facts["training"]["terms"]
