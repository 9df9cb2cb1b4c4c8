"""The work folder of an interrupted run is kept, every other one is removed."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from geoseg.errors import OutputError, SceneError
from geoseg.work_folder import open_work_folder, publish_folder, work_folder_path


def test_finished_work_leaves_nothing(tmp_path: Path) -> None:
    with open_work_folder(tmp_path / "out.gpkg") as folder:
        (folder / "half").write_text("done")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), SystemExit(143), OutputError("disk full")])
def test_interrupted_work_is_kept_until_it_is_finished_or_restarted(
    tmp_path: Path, fault: BaseException
) -> None:
    output = tmp_path / "out.gpkg"
    with pytest.raises(type(fault)), open_work_folder(output) as folder:
        (folder / "more").mkdir()
        (folder / "more" / "journal").write_bytes(b"about\nrecord")
        raise fault
    with pytest.raises(type(fault)), open_work_folder(output) as folder:
        assert (folder / "more" / "journal").exists()
        raise fault
    with open_work_folder(output, restart=True) as folder:
        assert {entry.name for entry in folder.iterdir()} == {"lock"}
    assert not work_folder_path(output).exists()


def test_a_journal_without_records_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_work_folder(tmp_path / "out.gpkg") as folder:
        (folder / "scene").mkdir()
        (folder / "scene" / "journal").write_bytes(b"about\n")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_work_on_a_damaged_scene_is_removed(tmp_path: Path) -> None:
    with pytest.raises(SceneError), open_work_folder(tmp_path / "out.gpkg"):
        raise SceneError("damaged")
    assert not list(tmp_path.iterdir())


def test_two_runs_do_not_share_an_output(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    with open_work_folder(output) as folder:
        (folder / "half").write_text("mine")
        with pytest.raises(OutputError, match="another process"), open_work_folder(output):
            pass
        assert (folder / "half").read_text() == "mine"
    with open_work_folder(output) as folder:  # the lock is released
        assert not (folder / "half").exists()


def test_another_process_is_kept_out_until_it_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    hold = (
        "import sys, time; from pathlib import Path; from geoseg.work_folder import open_work_folder\n"
        "with open_work_folder(Path(sys.argv[1])): print('locked', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(output)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(OutputError, match="another process"), open_work_folder(output):
            pass
        process.kill()
    with open_work_folder(output):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("on_windows", "first"), [(False, "remove"), (True, "release")])
def test_the_lock_is_removed_and_released_in_the_order_that_the_system_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_windows: bool, first: str
) -> None:
    """Windows cannot remove an open file; on POSIX nobody may lock a file that has lost its name."""
    events: list[str] = []
    unlink, release = Path.unlink, FileLock.release

    def record_unlink(path: Path, missing_ok: bool = False) -> None:
        events.append("remove")
        unlink(path, missing_ok=missing_ok)

    def record_release(lock: FileLock, force: bool = False) -> None:
        events.append("release")
        release(lock, force=force)

    with monkeypatch.context() as patched, open_work_folder(tmp_path / "out.gpkg"):
        patched.setattr("geoseg.work_folder.ON_WINDOWS", on_windows)
        patched.setattr(Path, "unlink", record_unlink)
        patched.setattr(FileLock, "release", record_release)
    assert events[0] == first
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_moved_to_its_product_leaves_the_former_one(
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
        publish_folder(made, product)
    assert (product / "whose").read_text() == "product"
    publish_folder(made, product)
    assert (product / "whose").read_text() == "new"


def test_a_folder_that_cannot_be_created_is_an_output_error(tmp_path: Path) -> None:
    """Also where the system reports ENOENT, as below /proc."""
    with (
        pytest.raises(OutputError, match="cannot be written"),
        open_work_folder(tmp_path / "removed" / "out.gpkg"),
    ):
        pass
