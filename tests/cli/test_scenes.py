"""Which scenes a command line names."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg.cli.options import command_line, expand_names
from geoseg.errors import ConfigError
from geoseg.files import Url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.tif", "a.tif", "a[1].tif", "sub/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_patterns_are_sorted_and_names_count_once(folder: Path) -> None:
    assert expand_names(["*.tif"]) == [Path("a.tif"), Path("a[1].tif"), Path("b.tif")]
    assert expand_names(["b.tif", "?.tif"]) == [Path("b.tif"), Path("a.tif")]
    assert expand_names(["**/c.tif"]) == [Path("sub/c.tif")]
    assert expand_names(["a[1].tif"]) == [
        Path("a[1].tif")
    ]  # a file, though it looks like a pattern


def test_a_list_is_relative_to_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = folder / "sub" / "list.txt"
    listed.write_text("\ufeff# two scenes\n\n c.tif \n../a.tif\n", encoding="utf-8")
    monkeypatch.chdir("/")
    found = expand_names([], listed)
    assert [Path(str(path)).resolve() for path in found] == [
        folder / "sub" / "c.tif",
        folder / "a.tif",
    ]


def test_addresses_are_asked_only_when_that_is_allowed(folder: Path) -> None:
    address = "https://example.org/scenes/a.tif?key=1"
    (found,) = expand_names([address], allow_remote=True)
    assert isinstance(found, Url)
    assert found.name == "a.tif"
    with pytest.raises(ConfigError):  # a pattern, as it has a question mark, that matches no file
        expand_names([address])
    assert not isinstance(expand_names(["https://example.org/a.tif"])[0], Url)


@pytest.mark.parametrize("names", [[], ["*.jpg"]])
def test_nothing_found_is_a_mistake(folder: Path, names: list[str]) -> None:
    with pytest.raises(ConfigError):
        expand_names(names)


def test_the_command_that_a_calling_program_shows_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["geoseg", "segment", "/tmp/.hidden/my scene.tif"])
    assert command_line() == "geoseg segment '/tmp/.hidden/my scene.tif'"
    monkeypatch.setenv("GEOSEG_COMMAND", "geoseg segment 'my scene.tif'")
    assert command_line() == "geoseg segment 'my scene.tif'"
