"""Work that is interrupted stays, other work vanishes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from geoseg.errors import OutputError, SceneError
from geoseg.work_folder import take_folder, unfinished, unfinished_folder


def test_finished_work_leaves_nothing(tmp_path: Path) -> None:
    with unfinished(tmp_path / "out.gpkg") as folder:
        (folder / "half").write_text("done")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), SystemExit(143), OutputError("disk full")])
def test_interrupted_work_stays_until_it_is_finished_or_begun_anew(
    tmp_path: Path, fault: BaseException
) -> None:
    output = tmp_path / "out.gpkg"
    with pytest.raises(type(fault)), unfinished(output) as folder:
        (folder / "more").mkdir()
        (folder / "more" / "journal").write_bytes(b"about\nrecord")
        raise fault
    with pytest.raises(type(fault)), unfinished(output) as folder:
        assert (folder / "more" / "journal").exists()
        raise fault
    with unfinished(output, restart=True) as folder:
        assert {entry.name for entry in folder.iterdir()} == {"lock"}
    assert not unfinished_folder(output).exists()


def test_work_that_has_not_begun_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "out.gpkg") as folder:
        (folder / "scene").mkdir()
        (folder / "scene" / "journal").write_bytes(b"about\n")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_work_on_a_broken_scene_vanishes(tmp_path: Path) -> None:
    with pytest.raises(SceneError), unfinished(tmp_path / "out.gpkg"):
        raise SceneError("damaged")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="files are locked on POSIX only")
def test_two_runs_do_not_share_an_output(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    with unfinished(output) as folder:
        (folder / "half").write_text("mine")
        with pytest.raises(OutputError, match="another process"), unfinished(output):
            pass
        assert (folder / "half").read_text() == "mine"


def test_a_folder_that_cannot_take_its_name_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, product = tmp_path / "work" / "new", tmp_path / "product"
    for folder in (made, product):
        folder.mkdir(parents=True)
        (folder / "whose").write_text(folder.name)
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path == made:
            raise PermissionError(errno.EACCES, "no permission")
        return rename(path, target)

    with monkeypatch.context() as patched, pytest.raises(OutputError, match="cannot be written"):
        patched.setattr(Path, "rename", refused)
        take_folder(made, product)
    assert (product / "whose").read_text() == "product"
    take_folder(made, product)
    assert (product / "whose").read_text() == "new"


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    """Also where the system's word for it is that there is no such file, as below /proc."""
    with (
        pytest.raises(OutputError, match="cannot be written"),
        unfinished(tmp_path / "removed" / "out.gpkg"),
    ):
        pass
