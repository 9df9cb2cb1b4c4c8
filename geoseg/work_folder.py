"""A locked folder next to a product that keeps the work of an interrupted run."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.files import replacing
from geoseg.system import ON_WINDOWS

log = logging.getLogger(__name__)

_LOCK, _MOVES, _FORMER = "lock", "moves.json", "former"


@dataclass(frozen=True, slots=True)
class Move:
    """A finished file in the work folder, and the product that it becomes."""

    source: Path

    product: Path

    overwrite: bool


def work_folder_path(output: Path) -> Path:
    """Return the path of the work folder of `output`."""
    return output.with_name(f".{output.name}.unfinished")


@contextmanager
def open_work_folder(
    output: Path, *, restart: bool = False, remote: bool = False
) -> Iterator[Path]:
    """Lock and open the work folder of `output`, with the work of an interrupted run if there is any.

    Parameters
    ----------
    output
        Product that is being made.
    restart
        Empty the folder first.
    remote
        Keep the folder after a SceneError: a scene on a server may be readable later.

    Yields
    ------
    Path
        The folder. It is removed when the block ends, when its journals hold no record, and after a SceneError.

    Raises
    ------
    OutputError
        If another process holds the lock, or the folder cannot be created.
    """
    folder = work_folder_path(output)
    lock = _lock_folder(folder, output)
    keep = False
    try:
        if restart:
            _clear(folder)
        yield folder
    except BaseException as fault:
        damaged = isinstance(fault, SceneError) and not remote
        keep = not damaged and _has_work(folder)
        if keep and not isinstance(fault, ConfigError):
            log.warning("%s: unfinished. Repeat the command to resume", output)
        raise
    finally:
        if not keep:
            _clear(folder, ignore_errors=True)
        _unlock_folder(folder, lock, remove=not keep)


def publish_files(folder: Path, moves: Sequence[Move]) -> None:
    """Move finished files to their products, one after the other.

    The moves are recorded first, so that `resume_publishing` completes them after a kill. Raises OutputError.
    """
    entries = [[str(m.source), str(m.product.absolute()), m.overwrite] for m in moves]
    record = folder / f"{_MOVES}.new"
    record.write_text(json.dumps(entries), encoding="utf-8", newline="\n")
    record.replace(folder / _MOVES)
    for move in moves:
        _publish_file(move)


def resume_publishing(folder: Path, products: Sequence[Path]) -> bool:
    """Complete the moves of a run that was killed in `publish_files`.

    Returns
    -------
    bool
        False if there is no such run.

    Raises
    ------
    ConfigError
        If that run made other products than `products`.
    """
    record = folder / _MOVES
    if not record.exists():
        return False
    moves = [
        Move(Path(source), Path(product), overwrite)
        for source, product, overwrite in json.loads(record.read_text(encoding="utf-8"))
    ]
    if not {product.absolute() for product in products} <= {move.product for move in moves}:
        raise ConfigError(
            f"{products[0]}: an interrupted run with other products left its work in {folder}. "
            "Repeat that command, or pass --restart to discard its work"
        )
    for move in moves:
        if move.source.exists():
            _publish_file(move)
    return True


def publish_folder(source: Path, product: Path) -> None:
    """Move a finished folder to its product.

    An existing folder is moved aside first, and moved back if this fails. Raises OutputError.
    """
    former = source.with_name(_FORMER)
    shutil.rmtree(former, ignore_errors=True)
    try:
        if product.exists():
            product.rename(former)
        source.rename(product)
    except OSError as fault:
        if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"{product}: cannot be written ({fault.strerror}). "
                "Close programs that have files in it open, or choose another folder"
            ) from fault
        raise
    finally:
        restore_folder(source.parent, product)


def restore_folder(folder: Path, product: Path) -> None:
    """Move back a product that `publish_folder` had moved aside when it was killed."""
    former = folder / _FORMER
    if former.exists() and not product.exists():
        former.rename(product)


def _publish_file(move: Move) -> None:
    move.product.parent.mkdir(exist_ok=True)
    with replacing(move.product, overwrite=move.overwrite) as scratch:
        try:
            move.source.replace(scratch)
        except OSError as fault:
            if fault.errno != errno.EXDEV:  # another file system
                raise
            shutil.copyfile(move.source, scratch)
    move.source.unlink(missing_ok=True)


def _lock_folder(folder: Path, output: Path) -> FileLock:
    """Create the folder if there is none, and lock it; the system drops the lock of a killed process."""
    path = folder / _LOCK
    while True:
        lock = FileLock(path, blocking=False, thread_local=False)
        try:
            folder.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # the former owner removed the folder since
                lock.acquire()
                return lock
        except Timeout as fault:
            if path.exists():
                raise OutputError(
                    f"{output}: another process is writing it. "
                    "Wait for that process, or choose another name"
                ) from fault
        except OSError as fault:
            raise OutputError(
                f"{output}: cannot be written ({fault.strerror}). Choose another folder"
            ) from fault


def _unlock_folder(folder: Path, lock: FileLock, *, remove: bool) -> None:
    """Release the lock, and remove its file and the folder.

    POSIX removes the file before it is released, so that nobody locks a file without a name. Windows cannot remove an
    open file, neither ours before nor another owner's after the release.
    """
    if ON_WINDOWS:
        lock.release()
    if remove:
        with suppress(OSError):
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
    lock.release()


def _has_work(folder: Path) -> bool:
    """Return True if a journal has a record after its header, or products are being published."""

    def has_record(journal: Path) -> bool:
        with journal.open("rb") as file:
            return bool(file.readline()) and bool(file.read(1))

    return (folder / _MOVES).exists() or any(map(has_record, folder.glob("*/journal")))


def _clear(folder: Path, *, ignore_errors: bool = False) -> None:
    """Remove everything in the folder but the lock."""
    try:
        entries = [entry for entry in folder.iterdir() if entry.name != _LOCK]
    except OSError:
        if not ignore_errors:
            raise
        return
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=ignore_errors)
            continue
        with suppress(OSError) if ignore_errors else nullcontext():
            entry.unlink()
