"""``geoseg vectorize`` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
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
        (["my labels.tif", "-o", "out.shp"], 2, "not a vector format"),
        (["my labels.tif", "-o", "my labels.tif"], 2, "not a vector format"),
        (["my labels.tif", "-o", "no/out.gpkg"], 4, "folder does not exist"),
        (["my labels.tif", "-o", "out.gpkg", "--min-pixels", "-1"], 2, "min-pixels"),
        (
            ["my labels.tif", "-o", "o.gpkg", "--oriented-boxes", "--smooth", "1"],
            2,
            "oriented-boxes",
        ),
        (["my labels.tif", "-o", "o.fgb", "--append"], 2, "--append needs a GeoPackage"),
        (["my labels.tif", "-o", "o.gpkg", "--picture", "p.jpg"], 2, "ends in .png"),
        (["my labels.tif", "-o", "o.gpkg", "--dota-results", "a/b"], 4, "folder does not exist"),
        (["my labels.tif", "-o", "o.gpkg", "--split", "--merged"], 2, "--merged exclude each"),
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


def test_every_option_about_polygons_reaches_them(labels: Path) -> None:
    given = (
        "--min-pixels 1 --min-area 0.5 --fill-holes 3 --split --simplify 1 --smooth 1"
        " --layer-per-class --dota-results results --picture p.png --progress none"
    )
    output = labels.with_name("out.gpkg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(labels.parent)
        command = ["vectorize", labels.name, "-o", output.name, "--scene", labels.name]
        assert boundary.run(geoseg, [*command, *given.split()]) == 0
    assert {"p.png", "results", "out.gpkg"} <= {path.name for path in labels.parent.iterdir()}
    assert [name for name, _ in pyogrio.list_layers(output)][:2] == ["class_1", "class_2"]


START = """
import sys
from geoseg.cli import boundary, geoseg
assert boundary.run(geoseg, ["vectorize", *sys.argv[1:]]) == 0
assert "torch" not in sys.modules
import pyogrio
assert len(pyogrio.read_dataframe(sys.argv[3], layer="segments")) == 2
"""


def test_no_torch_is_imported_and_data_frames_can_be_read_later(labels: Path) -> None:
    output = labels.with_name("out.gpkg")
    subprocess.run([sys.executable, "-c", START, labels, "-o", output], check=True)
