"""``geoseg margin``"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoseg.cli import boundary, geoseg
from tests.scenes import UTM, model_file, picture, write_scene


def test_it_speaks_to_people_and_to_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(80, 1100), **UTM)
    model = model_file(tmp_path / "tiny.safetensors", margin=0)
    words = ["margin", str(scene), "-m", str(model), "--progress"]
    assert boundary.run(geoseg, [*words, "none"]) == 0
    assert "(exact) | none" in capsys.readouterr().out
    assert boundary.run(geoseg, [*words, "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["path"] == str(model)
    assert lines[-1]["margins"][-1]["share"] == 0
