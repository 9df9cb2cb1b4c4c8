import os
import sys
from pathlib import Path

import pytest

from geoseg.errors import ModelError, OutputError, SceneError
from geoseg.files import discard, input_file, replacing


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_products_have_ordinary_permissions(tmp_path: Path) -> None:
    with replacing(tmp_path / "model") as scratch:
        scratch.touch(mode=0o600)
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("https://example.org/a.tif", "not a file on this machine"),
        ("/vsicurl/https://example.org/a.tif", "not a file on this machine"),
        ("<VRTDataset/>", "not a file on this machine"),
        ("missing.tif", "No such file"),
        (".", "is a folder"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_is_no_file_is_no_input(name: str, why: str) -> None:
    with pytest.raises(SceneError, match=why):
        input_file(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused_before_anybody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(SceneError, match="not a regular file"):
        input_file(tmp_path / "pipe.tif")


def test_an_empty_file_is_refused_with_the_error_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ModelError, match="is empty"):
        input_file(tmp_path / "empty", ModelError)


def test_discarding_takes_the_companions_along_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tif.aux.xml", "a.tif.ovr", "ab.tif", "a.tiff"):
        (tmp_path / name).touch()
    discard(tmp_path / "a.tif")
    assert names(tmp_path) == ["a.tiff", "ab.tif"]
