"""Files are restored from pieces, and damage is detected."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gpu_train import (
    MANIFEST,
    PieceReader,
    PieceWriter,
    join_pieces,
    list_source,
    main,
    pack,
    split_file,
    unpack,
)
from geoseg.errors import DatasetError
from geoseg.models.model_file import load_model
from geoseg.training.checkpoint import Checkpoint
from tests.synthetic_dataset import dota_folder


@given(content=st.binary(max_size=200), size=st.integers(1, 64))
def test_a_file_comes_together_from_its_pieces(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "file").write_bytes(content)
    split_file(folder / "file", folder / "pieces", size=size)
    pieces = json.loads((folder / "pieces" / MANIFEST).read_text())
    assert all(piece["bytes"] <= size for piece in pieces)
    assert sum(piece["bytes"] for piece in pieces) == len(content)
    join_pieces(folder / "pieces", folder / "joined")
    assert (folder / "joined").read_bytes() == content


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_piece_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    split_file(tmp_path / "file", tmp_path / "pieces", size=40)
    piece = tmp_path / "pieces" / "001.piece"
    if damage == "changed":
        piece.write_bytes(b"?" + piece.read_bytes()[1:])
    else:
        piece.unlink()
    with pytest.raises(DatasetError, match=r"001\.piece: missing or damaged"):
        join_pieces(tmp_path / "pieces", tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
    with pytest.raises(DatasetError, match="Name a folder of pieces"):
        PieceReader(tmp_path).read(1)


def test_pieces_of_a_failed_run_have_no_manifest(tmp_path: Path) -> None:
    def fail() -> None:
        with PieceWriter(tmp_path, 8) as pieces:
            pieces.write(b"more than one piece")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert not (tmp_path / MANIFEST).exists()


def test_a_packed_folder_is_unpacked_to_the_same_files(tmp_path: Path) -> None:
    source = dota_folder(tmp_path / "source", scenes=3, size=48)
    (source / "instances.parquet").write_bytes(b"outlines")
    files = list_source(source, ["train", "val"], 2)
    assert len(files) == 1 + 2 * 2 * 2
    for name in ("one", "again"):
        pack(source, tmp_path / name, files, size=5000)
    assert (tmp_path / "one" / MANIFEST).read_text() == (tmp_path / "again" / MANIFEST).read_text()
    unpack(tmp_path / "one", tmp_path / "unpacked")
    for file in files:
        assert (tmp_path / "unpacked" / file.relative_to(source)).read_bytes() == file.read_bytes()
    found = [path for path in (tmp_path / "unpacked").rglob("*") if path.is_file()]
    assert len(found) == len(files)


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("outside")
    with pytest.raises(ValueError, match="is not in the subpath"):
        pack(tmp_path / "source", tmp_path / "pieces", [tmp_path / "file"])
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / "file", "../outside")
    split_file(tmp_path / "evil.tar", tmp_path / "evil")
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(tmp_path / "evil", tmp_path / "unpacked")


@pytest.mark.slow
def test_a_training_goes_on_from_its_pieces(tmp_path: Path) -> None:
    source = dota_folder(tmp_path / "source", scenes=2, size=96)
    assert main(["pack", str(source), str(tmp_path / "data")]) == 0
    config = tmp_path / "config.toml"
    config.write_text(
        "[data]\nwindow = 64\n[network]\narchitecture = 'unet'\nparameters = { width = 4, depth = 1, objects = true }\n"
        "[training]\nbatch_size = 1\nvalidation_windows = 2\n"
    )
    words = ["--config", str(config), "--device", "cpu"]
    one, other = tmp_path / "one", tmp_path / "other"
    assert main(["train", str(tmp_path / "data"), str(one), "--minutes", "1e-9", *words]) == 0
    assert not (one / "source").exists()
    other.mkdir()
    for name, file in (("model", "model.safetensors"), ("checkpoint", "c.safetensors")):
        assert main(["join", str(one / "pieces" / name), str(other / file)]) == 0
    assert load_model(other / "model.safetensors").card.objects is not None
    assert Checkpoint.load(other / "c.safetensors").step == 1
    (other / "c.safetensors").rename(other / "model.checkpoint.safetensors")
    assert main(["train", str(tmp_path / "data"), str(other), "--minutes", "2e-9", *words]) == 0
    assert load_model(other / "model.safetensors").card.training["steps"] == 2
