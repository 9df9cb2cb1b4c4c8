"""``geoseg export`` as a person types it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from geoseg.cli import boundary, geoseg
from tests.scenes import model_file


def test_it_prints_the_path_of_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = model_file(tmp_path / "m.safetensors"), tmp_path / "ein modell.onnx"
    command = ["export", "-m", str(model), "-o", str(output), "--size", "96"]
    assert boundary.run(geoseg, command) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert output.is_file()


def test_without_the_extra_it_says_in_one_line_which_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert boundary.run(geoseg, ["export", "-o", str(tmp_path / "m.onnx")]) == 2
    shown = capsys.readouterr().err
    assert shown == (
        "geoseg: error: ONNX support is not installed. Run pip install 'geoseg[onnx]'\n"
    )
