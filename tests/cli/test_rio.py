"""geoseg inside rasterio's ``rio``: found by its entry points, with geoseg's own words and exit codes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from geoseg.cli.rio import guest
from geoseg.errors import ModelError

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
        [sys.executable, "-c", rio, *args], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith(f"geoseg: error: {tmp_path / 'none.tif'}: ")


def test_an_error_is_one_line_and_its_exit_code_under_any_group() -> None:
    @click.command()
    def work() -> None:
        raise ModelError("m.safetensors: is no model. name another")

    host = click.Group("host", {"work": guest(work)})
    done = CliRunner().invoke(host, ["work"])
    assert done.exit_code == 5
    assert done.stderr == "geoseg: error: m.safetensors: is no model. name another\n"
