"""Installation of the QGIS scripts, without QGIS."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from geoseg.cli import boundary, geoseg
from geoseg.tools.qgis import profile_folders, scripts

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    *sorted((ROOT / "qgis_scripts").glob("*.json")),
    *sorted((ROOT / "qgis_scripts").glob("*.py")),
]


# --- qgis-install -------------------------------------------------------------------------------


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    for name in ("default", "zweites"):
        (tmp_path / "QGIS Profile" / name).mkdir(parents=True)
    return tmp_path / "QGIS Profile"


def run(*args: object) -> int:
    return boundary.run(geoseg, ["qgis-install", *map(str, args)])


def test_scripts_are_installed_with_the_path_of_this_python_and_removed(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = profiles / "default" / "processing" / "scripts" / "geoseg"
    assert run("--profiles", profiles) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert "Processing > Toolbox" in err
    assert json.loads((folder / "geoseg.json").read_text("utf-8"))["python"] == sys.executable
    installed = {p.name for p in folder.iterdir()} - {"geoseg.json"}
    assert installed == {p.name for p in SCRIPTS}
    assert run("--profiles", profiles) == 0  # again, as after an update

    (folder / "my own.py").write_text("pass", encoding="utf-8")
    assert run("--profiles", profiles, "--uninstall") == 0
    assert [p.name for p in folder.iterdir()] == ["my own.py"]
    (folder / "my own.py").unlink()
    assert run("--profiles", profiles, "--uninstall") == 0
    assert not folder.exists()


def test_a_profile_can_be_named_and_the_default_is_that_of_profiles_ini(profiles: Path) -> None:
    assert run("--profiles", profiles, "--profile", "zweites") == 0
    assert (profiles / "zweites" / "processing").is_dir()
    assert not (profiles / "default" / "processing").exists()
    assert run("--profiles", profiles, "--profile", "zweites", "--uninstall") == 0
    (profiles / "profiles.ini").write_text("[core]\ndefaultProfile=zweites\n", encoding="utf-8")
    assert run("--profiles", profiles) == 0
    assert (profiles / "zweites" / "processing" / "scripts" / "geoseg").is_dir()


def test_a_missing_profile_is_reported_with_the_existing_ones(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--profiles", profiles, "--profile", "drittes") == 2
    assert "Choose one of: default, zweites" in capsys.readouterr().err
    assert run("--profiles", profiles / "none") == 2


@pytest.mark.parametrize(
    ("platform", "variables", "place"),
    [
        ("linux", {"XDG_DATA_HOME": ""}, ".local/share/QGIS/QGIS3/profiles"),
        ("linux", {"XDG_DATA_HOME": "{home}/data"}, "data/QGIS/QGIS4/profiles"),
        ("darwin", {}, "Library/Application Support/QGIS/QGIS3/profiles"),
        ("win32", {"APPDATA": "{home}/Roaming"}, "Roaming/QGIS/QGIS3/profiles"),
        ("linux", {"QGIS_CUSTOM_CONFIG_PATH": "{home}/custom"}, "custom/profiles"),
    ],
)
def test_profiles_are_found_where_qgis_keeps_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    variables: dict[str, str],
    place: str,
) -> None:
    monkeypatch.delenv("QGIS_CUSTOM_CONFIG_PATH", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    assert profile_folders() == []
    (tmp_path / place).mkdir(parents=True)
    assert profile_folders() == [tmp_path / place]


def test_an_installation_has_the_scripts() -> None:
    assert [path.name for path in scripts()] == [path.name for path in SCRIPTS]
