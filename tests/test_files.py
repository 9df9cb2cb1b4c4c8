"""Products are complete or absent, with ordinary permissions, on every operating system."""

from __future__ import annotations

import ast
import errno
import os
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import geoseg
from geoseg.errors import ModelError, OutputError, SceneError
from geoseg.files import discard, input_file, replacing, write_text

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")


PACKAGE = Path(geoseg.__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_product_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with replacing(output) as scratch:
        scratch.write_bytes(b"half")
        assert not output.exists()
        assert scratch.parent == output.parent
        assert scratch.suffix == output.suffix
        scratch.write_bytes(b"whole")
    assert output.read_bytes() == b"whole"
    assert names(tmp_path) == ["out.tif"]


def test_after_an_error_the_old_product_is_untouched_and_nothing_is_left(tmp_path: Path) -> None:
    output = tmp_path / "out [1]*.tif"
    output.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(output, overwrite=True) as scratch:
        scratch.write_bytes(b"new")
        Path(f"{scratch}.ovr").write_bytes(b"GDAL's")
        Path(f"{scratch}-journal").write_bytes(b"SQLite's")
        raise RuntimeError
    assert output.read_bytes() == b"old"
    assert names(tmp_path) == [output.name]


def test_an_existing_output_needs_overwrite(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_bytes(b"old")
    with pytest.raises(OutputError, match="--overwrite"), replacing(output):
        pass
    with replacing(output, overwrite=True) as scratch:
        scratch.write_bytes(b"new")
    assert output.read_bytes() == b"new"


def test_an_output_without_a_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder does not exist"), replacing(tmp_path / "a/b.tif"):
        pytest.fail("the work began")
    with pytest.raises(OutputError, match="is a folder"), replacing(tmp_path):
        pytest.fail("the work began")


@POSIX
def test_products_have_ordinary_permissions(tmp_path: Path) -> None:
    with replacing(tmp_path / "model") as scratch:
        scratch.touch(mode=0o600)
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@POSIX
def test_the_umask_of_the_process_is_never_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to all threads: a change, however short, makes files of others private."""

    def refuse(mask: int) -> int:
        raise AssertionError(f"umask set to {mask:#o}")

    umask = os.umask(0o027)
    try:
        with monkeypatch.context() as patched, replacing(tmp_path / "model") as scratch:
            patched.setattr(os, "umask", refuse)
            scratch.touch(mode=0o600)
    finally:
        assert os.umask(umask) == 0o027
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


@POSIX
def test_products_of_many_threads_have_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    ordinary = (tmp_path / "ordinary").stat().st_mode
    start = threading.Barrier(8)

    def write(number: int) -> set[int]:
        start.wait()
        modes = set()
        for _ in range(50):
            with replacing(tmp_path / f"{number}", overwrite=True) as scratch:
                scratch.touch(mode=0o600)
            modes.add((tmp_path / f"{number}").stat().st_mode)
        return modes

    with ThreadPoolExecutor(8) as pool:
        modes = set().union(*pool.map(write, range(8)))
    (tmp_path / "later").touch()
    assert {*modes, (tmp_path / "later").stat().st_mode} == {ordinary}


def test_files_are_synced_by_descriptors_that_windows_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows, `os.fsync` of a read-only descriptor fails with EBADF, and folders cannot be opened."""
    fcntl = pytest.importorskip("fcntl")
    synced = []

    def fsync(descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return  # a folder: POSIX only
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        synced.append(os.pread(descriptor, 100, 0))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(tmp_path / "model") as scratch:
        scratch.write_bytes(b"whole")
    assert synced == [b"whole"]
    assert (tmp_path / "model").read_bytes() == b"whole"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("https://example.org/a.tif", "not a local file"),
        ("/vsicurl/https://example.org/a.tif", "not a local file"),
        ("<VRTDataset/>", "not a local file"),
        ("missing.tif", "No such file"),
        (".", "is a folder"),
        ("a\0b", "cannot be read"),
    ],
)
def test_a_path_that_is_no_local_file_is_refused(name: str, why: str) -> None:
    with pytest.raises(SceneError, match=why):
        input_file(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(SceneError, match="not a regular file"):
        input_file(tmp_path / "pipe.tif")


def test_an_empty_file_is_refused_with_the_error_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ModelError, match="is empty"):
        input_file(tmp_path / "empty", ModelError)


def test_discard_removes_sidecar_files_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tif.aux.xml", "a.tif.ovr", "ab.tif", "a.tiff"):
        (tmp_path / name).touch()
    discard(tmp_path / "a.tif")
    assert names(tmp_path) == ["a.tiff", "ab.tif"]


def test_text_has_lf_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "å\n\n")
    assert (tmp_path / "a.txt").read_bytes() == "å\n\n".encode()


def translates_line_ends(call: ast.Call) -> bool:
    """Return True for a call that writes text with the line ends of the operating system."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    values = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    is_raster = isinstance(function, ast.Attribute) and ast.unparse(function.value) == "rasterio"
    is_text = name in ("open", "fdopen", "NamedTemporaryFile") and any(
        set(mode) <= set("rwxat+") and set(mode) & set("wxa+") for mode in modes
    )
    return (
        (name == "write_text" or is_text)
        and not is_raster
        and not (name == "write_text" and isinstance(function, ast.Name))  # of geoseg.files
        and "newline" not in {keyword.arg for keyword in call.keywords}
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("path.write_text(text)", True),
        ("path.open('a')", True),
        ("open(path, mode='w')", True),
        ("path.open('w', newline='')", False),
        ("path.open('wb')", False),
        ("path.open()", False),
        ("rasterio.open(path, 'w')", False),
        ("write_text(path, text)", False),
    ],
)
def test_a_write_that_translates_line_ends_is_recognized(source: str, expected: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert translates_line_ends(call) is expected


def test_no_module_writes_text_with_the_line_ends_of_the_operating_system() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and translates_line_ends(node)
    ]
    assert not found
