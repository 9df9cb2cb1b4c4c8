"""``geoseg segment`` as a process: streams, exit codes, signals."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pyogrio
import pytest

from geoseg.cli import boundary, geoseg
from tests.processes import HANG, paused_at_tile
from tests.scenes import UTM, model_file, picture, write_scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scene(tmp_path / "scene.tif", picture(60, 60), **UTM)
    model_file(tmp_path / "tiny.safetensors")
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    paths = [str(folder / a) if "." in a and not a.startswith("-") else a for a in arguments]
    return boundary.run(geoseg, ["segment", *paths])


def test_stdout_is_the_path_of_the_product(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "scene.tif", "-o", "out.gpkg", "-m", "tiny.safetensors") == 0
    assert capsys.readouterr().out == f"{folder / 'out.gpkg'}\n"
    assert pyogrio.list_layers(folder / "out.gpkg")[0, 0] == "segments"


def test_json_progress_counts_tiles_and_ends_with_the_result(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("scene.tif", "-o", "out.gpkg", "-m", "tiny.safetensors", "--core", "32")
    assert run(folder, *arguments, "--progress", "json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [event for event in events if event.get("text") == "segment"]
    assert counted[-1] == {"event": "progress", "done": 4, "total": 4, "text": "segment"}
    assert events[-1] == {"event": "result", "path": str(folder / "out.gpkg")}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.tif", "-o", "out.gpkg", "-m", "tiny.safetensors"], 3, "missing.tif"),
        (["tiny.safetensors", "-o", "out.gpkg", "-m", "tiny.safetensors"], 3, "not a GeoTIFF"),
        (["scene.tif", "-o", "out.gpkg", "-m", "scene.tif"], 5, "scene.tif"),
        (["scene.tif", "-o", "scene.tif", "-m", "tiny.safetensors"], 2, ".gpkg"),
        (["scene.tif", "-o", "out.gpkg", "--margin", "some"], 2, "auto, exact"),
        (["scene.tif", "-o", "out.gpkg", "--bands", "1,,2"], 2, "1,2,3"),
        (["scene.tif", "-o", "out.gpkg", "--core", "0"], 2, "--core"),
        (["-o", "out.gpkg"], 2, "SCENE"),
        (["scene.tif", "-o", "out.gpkg", "--bbox", "1,2,3"], 2, "west,south,east,north"),
        (["scene.tif", "-o", "out.gpkg", "--memory", "lots"], 2, "2GB"),
        (["scene.tif", "-o", "out.gpkg", "--gsd", "small"], 2, "metres"),
        (
            ["scene.tif", "-o", "out.gpkg", "-m", "tiny.safetensors", "--memory", "9MB"],
            2,
            "--memory",
        ),
        (
            ["scene.tif", "-o", "out.gpkg", "-m", "tiny.safetensors", "--aoi", "no.gpkg"],
            3,
            "no.gpkg",
        ),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert run(folder, *arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("geoseg: error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not (folder / "out.gpkg").exists()


def test_exit_code_4_leaves_the_old_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out.gpkg").write_bytes(b"precious")
    assert run(folder, "scene.tif", "-o", "out.gpkg", "-m", "tiny.safetensors") == 4
    assert (folder / "out.gpkg").read_bytes() == b"precious"
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GB", 2 * 10**9), ("1.5g", 15 * 10**8), ("800 MiB", 800 << 20), ("123456", 123456)],
)
def test_sizes_are_what_people_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        import_module("geoseg.tools.segment"),
        "segment",
        lambda _scenes, output, **how: seen.update(how) or output,
    )
    assert run(folder, "scene.tif", "-o", "out.gpkg", f"--memory={text}") == 0
    assert seen["tiling"].memory == expected


def test_a_server_is_not_asked_unless_that_is_allowed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["segment", "https://example.org/a.tif", "-o", str(folder / "out.gpkg")]
    assert boundary.run(geoseg, arguments) == 3
    assert "--allow-remote" in capsys.readouterr().err


def test_a_folder_as_output_gets_a_file_for_each_scene(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scene(folder / "other.tif", picture(40, 40), **UTM)
    pattern, out = str(folder / "*.tif"), str(folder / "out") + "/"
    model = str(folder / "tiny.safetensors")
    assert boundary.run(geoseg, ["segment", pattern, "-o", out, "-m", model]) == 0
    assert capsys.readouterr().out == f"{folder / 'out'}\n"
    assert {path.name for path in (folder / "out").iterdir()} == {"scene.gpkg", "other.gpkg"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_soon_and_the_same_command_goes_on(
    folder: Path, number: signal.Signals
) -> None:
    write_scene(folder / "large.tif", picture(400, 400), **UTM)
    before = {file.name for file in folder.iterdir()}
    arguments = [
        "segment", "large.tif", "-o", "out.gpkg", "-m", "tiny.safetensors",
        "--labels", "labels.tif", "--core", "32", "--progress", "json",
    ]  # fmt: skip
    root = Path(__file__).parent.parent.parent
    env = {"PYTHONPATH": str(root), "PATH": ""}
    with subprocess.Popen(
        [*paused_at_tile(5), *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["done"] == 5:
                break
        process.send_signal(number)
        _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert "Repeat the command to resume" in errors
    assert {file.name for file in folder.iterdir()} == before | {".out.gpkg.unfinished"}
    again = subprocess.run(
        [sys.executable, "-m", "geoseg", *arguments],
        cwd=folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0
    kept = re.search(r"(\d+) of 169 tiles are in the journal already", again.stderr)
    assert kept is not None
    assert 5 <= int(kept[1]) < 12  # after the signal only the tiles in flight were finished
    assert {"out.gpkg", "labels.tif"} <= {file.name for file in folder.iterdir()} - before
    assert not (folder / ".out.gpkg.unfinished").exists()
