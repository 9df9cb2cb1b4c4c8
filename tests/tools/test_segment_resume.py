"""An interrupted run resumes to the same bytes, or the error names what has changed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyogrio
import pytest

from geoseg.errors import ConfigError
from geoseg.work_folder import work_folder_path
from tests.calls import segment
from tests.scenes import UTM, model_file, picture, write_scene

T = TypeVar("T")


class StopAfter:
    """A track that is interrupted after so many tiles."""

    def __init__(self, tiles: int) -> None:
        self.tiles = tiles

    def __call__(
        self, items: Iterable[T], /, text: Any = "", total: int | None = None
    ) -> Iterator[T]:
        del total
        for done, item in enumerate(items):
            if text == "segment" and done == self.tiles:
                raise KeyboardInterrupt
            yield item


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    pixels = picture(200, 230)
    pixels[:, 60:150, 64:160] = 0
    return {
        "scenes": write_scene(tmp_path / "scene.tif", pixels, nodata=0, **UTM),
        "model": model_file(tmp_path / "tiny.safetensors"),
        "core": 32,
    }


def products(folder: Path, given: dict[str, Any], **more: Any) -> tuple[Path, Path, Path]:
    folder.mkdir(exist_ok=True)
    out, labels, likely = folder / "out.gpkg", folder / "labels.tif", folder / "likely.tif"
    segment(output=out, labels=labels, probabilities=likely, **given | more)
    return out, labels, likely


def content(made: tuple[Path, ...]) -> list[Any]:
    polygons = pyogrio.read_dataframe(made[0], layer="segments")
    rows = polygons.assign(wkb=polygons.geometry.to_wkb()).drop(columns="geometry")
    return [sorted(rows.to_numpy().tolist(), key=str), *(path.read_bytes() for path in made[1:])]


@pytest.mark.parametrize("stops", [[0], [1], [20], [3, 9, 1, 12]])
def test_an_interrupted_run_resumes_to_the_same_bytes(
    tmp_path: Path, given: dict[str, Any], stops: list[int]
) -> None:
    whole = content(products(tmp_path / "whole", given))
    for tiles in stops:
        with pytest.raises(KeyboardInterrupt):
            products(tmp_path / "parts", given, track=StopAfter(tiles))
        assert {p.name for p in (tmp_path / "parts").iterdir()} == {".out.gpkg.unfinished"}
    made = products(tmp_path / "parts", given)
    assert content(made) == whole
    assert {p.name for p in (tmp_path / "parts").iterdir()} == {
        *("out.gpkg", "labels.tif", "labels.qml", "labels.sld", "likely.tif")
    } | {p.name for p in (tmp_path / "parts").glob("*.aux.xml")}


def test_no_tile_is_predicted_twice(
    tmp_path: Path, given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(KeyboardInterrupt):
        products(tmp_path / "parts", given, track=StopAfter(20))
    assert "Repeat the command to resume" in caplog.text
    products(tmp_path / "parts", given)
    assert "of 56 tiles are in the journal already" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"core": 64}, "--core or --memory was 56 tiles, first of 32 x 32"),
        ({"tta": True}, "--tta was False, is True"),
        ({"bbox": (500_000, 5_499_980, 500_020, 5_500_000)}, "--bbox or --aoi"),
    ],
)
def test_other_settings_are_an_error_and_the_journal_is_kept(
    tmp_path: Path, given: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        products(tmp_path / "parts", given, track=StopAfter(9))
    with pytest.raises(ConfigError) as caught:
        products(tmp_path / "parts", given, **change)
    assert words in str(caught.value)
    assert "--restart" in str(caught.value)
    assert work_folder_path(tmp_path / "parts" / "out.gpkg").exists()


def test_restart_begins_again(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        products(tmp_path / "parts", given, track=StopAfter(9))
    whole = content(products(tmp_path / "whole", given, core=64))
    assert content(products(tmp_path / "parts", given, restart=True, core=64)) == whole


def test_a_changed_scene_is_an_error(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        products(tmp_path / "parts", given, track=StopAfter(9))
    write_scene(given["scenes"], picture(200, 230, seed=5), nodata=0, **UTM)
    with pytest.raises(ConfigError, match="scene was"):
        products(tmp_path / "parts", given)


def test_a_kill_between_two_products_loses_nothing(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = content(products(tmp_path / "whole", given))
    move = os.replace

    def killed(made: Path, target: Path) -> None:
        move(made, target)
        if Path(target).name == "labels.tif":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        products(tmp_path / "parts", given)
    monkeypatch.undo()
    left = {p.name for p in (tmp_path / "parts").iterdir()}
    assert {"labels.tif", ".out.gpkg.unfinished"} <= left
    assert "out.gpkg" not in left
    assert content(products(tmp_path / "parts", given)) == whole


@pytest.mark.slow
def test_a_run_killed_at_any_time_ends_in_the_same_bytes(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    scene = write_scene(tmp_path / "large.tif", picture(400, 400), **UTM)
    root = Path(__file__).parents[2]

    def start(out: Path, labels: Path) -> subprocess.Popen[bytes]:
        command = [
            *(
                sys.executable,
                "-m",
                "geoseg",
                "segment",
                scene,
                "-m",
                given["model"],
                "--core",
                "32",
            ),
            *("-o", out, "--labels", labels, "--progress", "none"),
        ]
        return subprocess.Popen(
            command, env={"PYTHONPATH": str(root), "PATH": ""}, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    out, labels = tmp_path / "whole.gpkg", tmp_path / "whole.tif"
    began = time.monotonic()
    assert start(out, labels).wait() == 0
    usual = time.monotonic() - began
    whole = [hashlib.sha256(labels.read_bytes()).hexdigest(), *content((out,))]
    out, labels = tmp_path / "parts.gpkg", tmp_path / "parts.tif"
    moments = random.Random(0)
    for _ in range(3):
        process = start(out, labels)
        time.sleep(moments.uniform(0.3, 1) * usual)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(out, labels).wait() in (0, 4)  # 4: the last was finished before it was killed
    assert [hashlib.sha256(labels.read_bytes()).hexdigest(), *content((out,))] == whole
