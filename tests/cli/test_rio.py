"""geoseg inside rasterio's ``rio``: found by its entry points, with geoseg's own words and exit codes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from geoseg.cli.rio import as_plugin
from geoseg.errors import ModelError
from tests.processes import HANG, paused_at_tile
from tests.scenes import model_file, picture, write_scene

PLUGINS = {e.name: e for e in entry_points(group="rasterio.rio_plugins") if "geoseg" in e.value}

needs_installation = pytest.mark.skipif(
    not PLUGINS, reason="geoseg is not installed, only on the path"
)


@needs_installation
@pytest.mark.parametrize("name", ["segment", "vectorize"])
def test_rio_finds_the_command(name: str) -> None:
    command = PLUGINS[name].load()
    assert isinstance(command, click.Command)
    assert command.name == name


@needs_installation
def test_rio_reports_a_missing_scene_as_geoseg_does(tmp_path: Path) -> None:
    rio = "from rasterio.rio.main import main_group; main_group()"
    args = ["vectorize", str(tmp_path / "none.tif"), "-o", str(tmp_path / "out.gpkg")]
    done = subprocess.run(
        [sys.executable, "-c", rio, *args],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith(f"geoseg: error: {tmp_path / 'none.tif'}: ")


@needs_installation
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send to one process")
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGINT, 130, "geoseg: interrupted\n"), (signal.SIGTERM, 143, "geoseg: terminated\n")],
)
def test_rio_ends_on_signals_as_geoseg_does_and_leaves_no_product(
    tmp_path: Path, number: signal.Signals, code: int, told: str
) -> None:
    large = picture(2048, 2048)
    scene = write_scene(tmp_path / "s.tif", large, crs="EPSG:32631", compress="deflate")
    model = model_file(tmp_path / "m.safetensors")
    args = [
        "segment",
        scene,
        "-m",
        model,
        "-o",
        tmp_path / "out.gpkg",
        "--progress",
        "json",
        "--core",
        "64",
    ]
    command = [*paused_at_tile(1, "rio"), *map(str, args)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        while '"done": 1,' not in (line := child.stdout.readline()):
            assert line, child.communicate()
        child.send_signal(number)
        _, err = child.communicate(timeout=HANG)
    assert child.returncode == code
    assert err.endswith(told)
    assert {p.name for p in tmp_path.iterdir() if p.name[0] != "."} == {"s.tif", "m.safetensors"}


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "geoseg: interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "out.gpkg"), 4, "Free disk space"),
        (click.UsageError("no such band"), 2, "geoseg: error: no such band"),
    ],
)
def test_every_end_of_a_command_has_geoseg_s_exit_code_under_any_group(
    fault: BaseException, code: int, told: str
) -> None:
    @click.command()
    def work() -> None:
        raise fault

    done = CliRunner().invoke(click.Group("host", {"work": as_plugin(work)}), ["work"])
    assert done.exit_code == code
    assert told in done.stderr


def test_an_error_is_one_line_and_its_exit_code_under_any_group() -> None:
    @click.command()
    def work() -> None:
        raise ModelError("m.safetensors: is no model. name another")

    host = click.Group("host", {"work": as_plugin(work)})
    done = CliRunner().invoke(host, ["work"])
    assert done.exit_code == 5
    assert done.stderr == "geoseg: error: m.safetensors: is no model. name another\n"
