"""Train on a machine with a GPU that is lent for minutes: pack the data, train, and carry the results away in pieces.

    python -m benchmarks.gpu_train pack SOURCE PIECES [--splits train,val] [--scenes N]
    python -m benchmarks.gpu_train train PIECES FOLDER --minutes 20 [--config configs/dota-objects.toml]
        [--set SECTION.KEY=VALUE] [--device auto]
    python -m benchmarks.gpu_train join PIECES FILE

`pack` writes the images of a DOTA folder as they are, its labels and its GeoParquet file of outlines, as a tar archive
in pieces of at most 64 MiB with their checksums. `train` unpacks and prepares them in FOLDER, trains for a number of
minutes, and writes FOLDER/model.safetensors and the checkpoint FOLDER/model.checkpoint.safetensors, from which a later
`train` with more minutes resumes, both also as pieces of at most 16 MiB. `join` restores a file from its pieces.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from geoseg.cli.progress import tracker
from geoseg.errors import DatasetError, GeosegError
from geoseg.files import replacing, write_json
from geoseg.options import BatchOptions, TrainOptions
from geoseg.tools.prepare import prepare
from geoseg.tools.train import default_workers, train
from geoseg.training.config import read_config

CONFIG = Path(__file__).parent.parent / "configs" / "dota-objects.toml"
MANIFEST = "pieces.json"
DATA_PIECE, RESULT_PIECE = 64 << 20, 16 << 20


class PieceWriter(io.RawIOBase):
    """A binary stream that is divided among files of at most `size` bytes.

    `close` writes the manifest: name, bytes and SHA-256 of every piece. A block that fails leaves none.
    """

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._size = folder, size
        self._pieces: list[dict[str, Any]] = []
        self._piece = bytearray()
        self._failed = False

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._failed = kind is not None
        super().__exit__(kind, error, traceback)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int:
        """Append bytes, and write the pieces that are full."""
        self._piece += data
        while len(self._piece) >= self._size:
            self._write_piece()
        return len(data)

    def close(self) -> None:
        """Write the last piece and the manifest."""
        if self.closed:
            return
        if self._piece or not self._pieces:
            self._write_piece()
        if not self._failed:
            write_json(self._folder / MANIFEST, self._pieces)
        super().close()

    def _write_piece(self) -> None:
        content = bytes(self._piece[: self._size])
        del self._piece[: self._size]
        name = f"{len(self._pieces):03}.piece"
        with replacing(self._folder / name, overwrite=True) as scratch:
            scratch.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self._pieces.append({"name": name, "bytes": len(content), "sha256": digest})


class PieceReader(io.RawIOBase):
    """The stream that a `PieceWriter` has divided.

    Raises
    ------
    DatasetError
        If a piece is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._pieces = _read_pieces(folder)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read up to the length of `buffer` bytes of the current piece."""
        while not self._piece:
            following = next(self._pieces, None)
            if following is None:
                return 0
            self._piece = memoryview(following)
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count


def _read_pieces(folder: Path) -> Iterator[bytes]:
    """Yield the pieces of a folder, verified."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DatasetError(f"{manifest}: missing. Name a folder of pieces")
    for piece in json.loads(manifest.read_text(encoding="utf-8")):
        path = folder / piece["name"]
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != piece["sha256"]:
            raise DatasetError(f"{path}: missing or damaged. Copy it again")
        yield content


def split_file(file: Path, folder: Path, *, size: int = RESULT_PIECE) -> None:
    """Write a file as pieces of at most `size` bytes."""
    with file.open("rb") as source, PieceWriter(folder, size) as target:
        shutil.copyfileobj(source, target)


def join_pieces(folder: Path, file: Path) -> None:
    """Write the file whose pieces lie in a folder, replacing an existing one. Raises as `PieceReader`."""
    with replacing(file, overwrite=True) as scratch, scratch.open("wb") as target:
        shutil.copyfileobj(PieceReader(folder), target)


def list_source(source: Path, splits: Sequence[str], scenes: int | None = None) -> list[Path]:
    """List the images, labels and outlines of a DOTA folder, of the first `scenes` of each split."""
    files = sorted(source.glob("*.parquet"))
    for split in splits:
        images = sorted((source / split / "images").iterdir())[:scenes]
        stems = {image.stem for image in images}
        labels = sorted((source / split / "labelTxt").iterdir())
        files += [*images, *(label for label in labels if label.stem in stems)]
    return files


def pack(source: Path, pieces: Path, files: Sequence[Path], *, size: int = DATA_PIECE) -> None:
    """Write files of a folder as an archive in pieces, the same bytes for the same files."""
    with (
        PieceWriter(pieces, size) as target,
        tarfile.open(fileobj=_as_stream(target), mode="w|") as archive,
    ):
        for file in files:
            entry = tarfile.TarInfo(file.relative_to(source).as_posix())
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(entry, content)


def unpack(pieces: Path, folder: Path) -> None:
    """Unpack an archive of `pack` into a folder."""
    stream = _as_stream(io.BufferedReader(PieceReader(pieces)))
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extractall(folder, filter="data")


def _as_stream(stream: io.IOBase) -> IO[bytes]:
    return stream  # type: ignore[return-value]  # typeshed keeps IO and IOBase apart


def prepare_dataset(pieces: Path, folder: Path) -> Path:
    """Unpack pieces and prepare the dataset FOLDER/dataset, unless it is complete."""
    dataset, source = folder / "dataset", folder / "source"
    if not (dataset / "dataset.json").is_file():
        unpack(pieces, source)
        splits = sorted(path.name for path in source.iterdir() if path.is_dir())
        outlines = next(source.glob("*.parquet"), None)
        run = BatchOptions(overwrite=dataset.exists())
        prepare(source, dataset, splits=splits, outlines=outlines, run=run)
        shutil.rmtree(source)
    return dataset


def train_pieces(
    pieces: Path, folder: Path, config: Path, settings: Sequence[str], device: str
) -> None:
    """Prepare the data, train or go on training, and divide model and checkpoint into pieces."""
    dataset = prepare_dataset(pieces, folder)
    model = folder / "model.safetensors"
    checkpoint = model.with_suffix(".checkpoint.safetensors")
    options = TrainOptions(
        resume=checkpoint.is_file(),
        keep_checkpoint=True,
        workers=default_workers(device),
        overwrite=True,
    )
    training = read_config(config, [*settings, f"data.dataset={dataset.absolute()}"])
    train(training, model, options=options, device=device, track=tracker("auto"))
    for file, name in ((model, "model"), (checkpoint, "checkpoint")):
        split_file(file, folder / "pieces" / name)


def main(words: Sequence[str] | None = None) -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("source", type=Path)
    packing.add_argument("pieces", type=Path)
    packing.add_argument("--splits", default="train,val")
    packing.add_argument("--scenes", type=int, help="only the first N of each split")
    training = commands.add_parser("train")
    training.add_argument("pieces", type=Path)
    training.add_argument("folder", type=Path)
    training.add_argument("--minutes", type=float, required=True)
    training.add_argument("--config", type=Path, default=CONFIG)
    training.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    training.add_argument("--device", default="auto")
    joining = commands.add_parser("join")
    joining.add_argument("pieces", type=Path)
    joining.add_argument("file", type=Path)
    args = parser.parse_args(words)
    try:
        if args.command == "pack":
            files = list_source(args.source, args.splits.split(","), args.scenes)
            pack(args.source, args.pieces, files)
        elif args.command == "train":
            settings = [*args.set, f"training.minutes={args.minutes}"]
            train_pieces(args.pieces, args.folder, args.config, settings, args.device)
        else:
            join_pieces(args.pieces, args.file)
    except GeosegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
