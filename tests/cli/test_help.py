"""`geoseg --help` is instant and complete; commands are loaded one at a time."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from geoseg._version import __version__
from geoseg.cli import COMMANDS, boundary, geoseg
from geoseg.cli.renamed import RENAMED_OPTIONS
from tests.processes import HANG

HEAVY = {
    "torch", "numpy", "rasterio", "geopandas", "pandas", "shapely", "pyogrio", "pyarrow", "cv2", "numba", "matplotlib",
    "pydantic", "rich", "safetensors",
}  # fmt: skip


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG, check=False
    )


def loaded_after(code: str) -> set[str]:
    done = python(f"import sys\n{code}\nprint('LOADED', *{{n.split('.')[0] for n in sys.modules}})")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_help_loads_nothing_heavy() -> None:
    run_help = (
        "from geoseg.cli import boundary, geoseg\nassert boundary.run(geoseg, ['--help']) == 0"
    )
    assert not loaded_after(run_help) & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    run_help = (
        f"from geoseg.cli import boundary, geoseg\nboundary.run(geoseg, [{command!r}, '--help'])"
    )
    assert not loaded_after(run_help) & HEAVY


def test_importing_geoseg_loads_nothing_heavy() -> None:
    assert not loaded_after("import geoseg\ndir(geoseg)") & (HEAVY | {"click"})


def test_help_takes_less_than_half_a_second_of_a_processor() -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "geoseg", "--help"], capture_output=True, check=True)
        after = os.times()
        return sum(after[2:4]) - sum(
            before[2:4]
        )  # of children: a busy machine makes them no slower

    assert min(seconds() for _ in range(3)) < 0.5


def test_help_tells_what_every_command_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert boundary.run(geoseg, ["--help"]) == 0
    shown = capsys.readouterr().out
    for command, text in COMMANDS.items():
        assert command in shown
        assert text.split(".")[0][:30] in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_under_its_name_and_says_what_the_list_says(name: str) -> None:
    command = geoseg.get_command(click.Context(geoseg), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200).rstrip(".") == COMMANDS[name].rstrip(".")


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert boundary.run(geoseg, ["--version"]) == 0
    assert capsys.readouterr().out == f"geoseg {__version__}\n"


def test_no_arguments_show_the_help_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert boundary.run(geoseg, []) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Inference:" in err


def test_a_shell_can_complete_commands(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(boundary.COMPLETE, "bash_source")
    assert boundary.run(geoseg, []) == 0
    assert "_geoseg_completion" in capfd.readouterr().out


@pytest.mark.parametrize(("command", "option"), RENAMED_OPTIONS)
def test_an_option_of_an_earlier_version_gives_its_new_name(
    capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    assert boundary.run(geoseg, [command, "x", option]) == 2
    err = capsys.readouterr().err
    assert RENAMED_OPTIONS[command, option] in err
    assert err.count("\n") == 1


def test_a_command_of_an_earlier_version_gives_its_new_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert boundary.run(geoseg, ["tile", "dataset"]) == 2
    assert "tile: renamed to 'chip'" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["80", "100"])
def test_help_is_grouped_and_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert boundary.run(geoseg, ["segment", "--help"]) == 0
    shown = capsys.readouterr().out.partition("Examples:")[0].splitlines()
    for heading in ("Input:", "Output:", "Polygons:", "Performance:"):
        assert heading in shown
    assert max(map(len, shown)) <= int(columns)
