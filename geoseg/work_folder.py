"""A folder beside a product for work that an interruption must not lose."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.files import replacing

log = logging.getLogger(__name__)

_LOCK, _MOVES, _FORMER = "lock", "moves.json", "former"


@dataclass(frozen=True, slots=True)
class Move:
    """A finished file and the product it becomes."""

    made: Path
    """In the folder."""

    product: Path

    overwrite: bool


def unfinished_folder(output: Path) -> Path:
    """Where the work on `output` lies until it is finished."""
    return output.with_name(f".{output.name}.unfinished")


@contextmanager
def unfinished(output: Path, *, restart: bool = False, remote: bool = False) -> Iterator[Path]:
    """The folder of an earlier run that was interrupted, or a new one; `restart` empties it first.

    It vanishes when the block ends well, when it holds no journal worth keeping, and when a scene is
    damaged, unless that is `remote` and may be whole tomorrow. Raises OutputError while another
    process is at it.
    """
    folder = unfinished_folder(output)
    with _held(folder, output):
        if restart:
            _empty(folder)
        try:
            yield folder
        except BaseException as fault:
            lost = isinstance(fault, SceneError) and not remote
            if lost or not _has_work(folder):
                shutil.rmtree(folder, ignore_errors=True)
            elif not isinstance(fault, ConfigError):  # which speaks for itself
                log.warning("%s: unfinished. the same command goes on from here", output)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def take_names(folder: Path, moves: Sequence[Move]) -> None:
    """Turn what was made into products, one after the other. They are written down first, so that
    `finish` can do the rest after a kill. Raises OutputError.
    """
    told = [[str(m.made), str(m.product.absolute()), m.overwrite] for m in moves]
    note = folder / f"{_MOVES}.new"
    note.write_text(json.dumps(told), encoding="utf-8")
    note.replace(folder / _MOVES)
    for move in moves:
        _move(move)


def finish(folder: Path, products: Sequence[Path]) -> bool:
    """Do what is left of a run that was killed while its products took their names; False when there is
    none. Raises ConfigError when its products are not `products`.
    """
    note = folder / _MOVES
    if not note.exists():
        return False
    moves = [
        Move(Path(made), Path(product), overwrite)
        for made, product, overwrite in json.loads(note.read_text(encoding="utf-8"))
    ]
    if not {product.absolute() for product in products} <= {move.product for move in moves}:
        raise ConfigError(
            f"{products[0]}: an interrupted run that made other products left its work beside it. "
            "repeat that command, or use --restart to begin anew"
        )
    for move in moves:
        if move.made.exists():
            _move(move)
    return True


def take_folder(made: Path, product: Path) -> None:
    """Turn a folder that lies in ours into a product. A folder of its name makes way, and comes back when
    that fails. Raises OutputError.
    """
    former = made.with_name(_FORMER)
    shutil.rmtree(former, ignore_errors=True)
    try:
        if product.exists():
            product.rename(former)
        made.rename(product)
    except OSError as fault:
        if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"{product}: cannot be written ({fault.strerror}). choose another folder"
            ) from fault
        raise
    finally:
        restore_folder(made.parent, product)


def restore_folder(folder: Path, product: Path) -> None:
    """Give a product back its name that `take_folder` had taken when it was killed."""
    former = folder / _FORMER
    if former.exists() and not product.exists():
        former.rename(product)


def _move(move: Move) -> None:
    move.product.parent.mkdir(exist_ok=True)
    with replacing(move.product, overwrite=move.overwrite) as scratch:
        try:
            move.made.replace(scratch)
        except OSError as fault:
            if fault.errno != errno.EXDEV:  # another file system
                raise
            shutil.copyfile(move.made, scratch)
    move.made.unlink(missing_ok=True)


@contextmanager
def _held(folder: Path, output: Path) -> Iterator[None]:
    """The folder, ours alone until the block ends, also by a kill."""
    while True:
        try:
            folder.mkdir(exist_ok=True)
            try:
                lock = (folder / _LOCK).open("ab")
            except FileNotFoundError:  # removed by whoever held it
                continue
        except OSError as fault:
            raise OutputError(
                f"{output}: cannot be written ({fault.strerror}). choose another folder"
            ) from fault
        with lock:
            _lock(lock, output)
            if not _is_there(lock, folder):
                continue
            yield
            return


def _lock(lock: IO[bytes], output: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        raise OutputError(
            f"{output}: another process is writing it. wait for it, or choose another name"
        ) from fault


def _is_there(lock: IO[bytes], folder: Path) -> bool:
    """False when the file was removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), (folder / _LOCK).stat())
    except FileNotFoundError:
        return False


def _has_work(folder: Path) -> bool:
    """True where a journal holds more than its first line, or products are taking their names."""

    def begun(journal: Path) -> bool:
        with journal.open("rb") as file:
            return bool(file.readline()) and bool(file.read(1))

    return (folder / _MOVES).exists() or any(map(begun, folder.glob("*/journal")))


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()
