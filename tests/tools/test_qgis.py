"""The QGIS scripts from outside QGIS: where they go, and what they may not do where they run."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from geoseg.cli import boundary, geoseg
from geoseg.tools.qgis import profile_folders, scripts

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "qgis_scripts").glob("*.py"))
BESIDE_QGIS = sorted((ROOT / "qgis_plugin" / "geoseg_qgis").glob("*.py"))


def plugin_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOT / "qgis_plugin" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what scripts may not do --------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS + BESIDE_QGIS, ids=lambda path: path.name)
def test_the_syntax_is_that_of_the_oldest_python_in_a_supported_qgis(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_nothing_that_qgis_lacks_and_does_no_work_when_it_is_loaded(
    path: Path,
) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
            assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | {"qgis"}
            assert not any(name.startswith("PyQt") for name in names)
    allowed = ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef | ast.Assign | ast.Expr
    assert all(isinstance(node, allowed) for node in tree.body)
    assert all(
        isinstance(node.value, ast.Constant) for node in tree.body if isinstance(node, ast.Expr)
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_loader_of_qgis_meets_the_right_class_first(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    algorithms = {
        name
        for name, node in classes.items()
        if any(
            "Algorithm" in ast.unparse(base) or "_Geoseg" in ast.unparse(base)
            for base in node.bases
        )
    }
    assert sorted(algorithms)[0] == "Geoseg" + path.stem.removeprefix("geoseg_").title()
    assert not any(node.decorator_list for node in classes.values())


def test_what_the_scripts_share_is_the_same_in_all_of_them() -> None:
    builder = plugin_builder()
    assert len({builder.shared_part(path) for path in SCRIPTS}) == 1


# --- the plugin ---------------------------------------------------------------------------------


def test_the_plugin_is_the_scripts_with_a_provider_around_them(tmp_path: Path) -> None:
    builder = plugin_builder()
    target = builder.build(tmp_path / "dist")
    with zipfile.ZipFile(target) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert all(name.startswith("geoseg_qgis/") for name in files)
    for script in SCRIPTS:
        assert files[f"geoseg_qgis/{script.name}"] == script.read_bytes()
    metadata = files["geoseg_qgis/metadata.txt"].decode("utf-8")
    assert "hasProcessingProvider=yes" in metadata
    assert "version=0." in metadata
    for line in ("qgisMinimumVersion=3.22", "supportsQt6=True", "icon=icon.svg"):
        assert line in metadata
    assert target.read_bytes() == builder.build(tmp_path / "again").read_bytes()


# --- qgis-install -------------------------------------------------------------------------------


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    for name in ("default", "zweites"):
        (tmp_path / "QGIS Profile" / name).mkdir(parents=True)
    return tmp_path / "QGIS Profile"


def run(*args: object) -> int:
    return boundary.run(geoseg, ["qgis-install", *map(str, args)])


def test_scripts_come_with_the_path_of_this_python_and_go_again(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = profiles / "default" / "processing" / "scripts" / "geoseg"
    assert run("--profiles", profiles) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert "Processing > Toolbox" in err
    assert json.loads((folder / "geoseg.json").read_text("utf-8"))["python"] == sys.executable
    assert {p.name for p in folder.glob("*.py")} == {p.name for p in SCRIPTS}
    assert run("--profiles", profiles) == 0  # again, as after an update

    (folder / "my own.py").write_text("pass", encoding="utf-8")
    assert run("--profiles", profiles, "--uninstall") == 0
    assert [p.name for p in folder.iterdir()] == ["my own.py"]
    (folder / "my own.py").unlink()
    assert run("--profiles", profiles, "--uninstall") == 0
    assert not folder.exists()


def test_a_profile_can_be_named_and_the_usual_one_is_that_of_profiles_ini(profiles: Path) -> None:
    assert run("--profiles", profiles, "--profile", "zweites") == 0
    assert (profiles / "zweites" / "processing").is_dir()
    assert not (profiles / "default" / "processing").exists()
    assert run("--profiles", profiles, "--profile", "zweites", "--uninstall") == 0
    (profiles / "profiles.ini").write_text("[core]\ndefaultProfile=zweites\n", encoding="utf-8")
    assert run("--profiles", profiles) == 0
    assert (profiles / "zweites" / "processing" / "scripts" / "geoseg").is_dir()


def test_a_profile_that_is_not_there_is_told_with_those_that_are(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--profiles", profiles, "--profile", "drittes") == 2
    assert "there are: default, zweites" in capsys.readouterr().err
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
