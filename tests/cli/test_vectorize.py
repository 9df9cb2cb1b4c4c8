"""``geoseg vectorize`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine

from geoseg.cli import boundary, geoseg


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "my labels.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=2, width=3, count=1, dtype="uint8",
        crs="EPSG:32632", transform=Affine(1, 0, 500000, 0, -1, 5800000),
    ) as file:  # fmt: skip
        file.write(np.array([[1, 1, 0], [0, 0, 2]], np.uint8), 1)
    return path


def test_it_prints_the_path_of_what_it_made(
    labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = labels.with_name("out.gpkg")
    assert (
        boundary.run(geoseg, ["vectorize", str(labels), "-o", str(output), "--min-pixels", "2"])
        == 0
    )
    assert capsys.readouterr().out == f"{output}\n"
    assert pyogrio.read_info(output, layer="segments")["features"] == 1


def test_programs_read_json_lines(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = labels.with_name("out.gpkg")
    assert (
        boundary.run(geoseg, ["vectorize", str(labels), "-o", str(output), "--progress", "json"])
        == 0
    )
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1] == {"event": "result", "path": str(output)}
    assert events[0]["event"] == "progress"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.tif", "-o", "out.gpkg"], 3, "cannot be read"),
        (["my labels.tif", "-o", "out.shp"], 2, "no format for polygons"),
        (["my labels.tif", "-o", "my labels.tif"], 2, "no format for polygons"),
        (["my labels.tif", "-o", "no/out.gpkg"], 4, "folder does not exist"),
        (["my labels.tif", "-o", "out.gpkg", "--min-pixels", "-1"], 2, "min-pixels"),
        (["my labels.tif"], 2, "output"),
    ],
)
def test_mistakes_get_one_line_and_their_code(
    *,
    labels: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(labels.parent)
    assert boundary.run(geoseg, ["vectorize", *arguments]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err
    assert [path.name for path in labels.parent.iterdir()] == [labels.name]
