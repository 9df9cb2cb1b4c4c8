"""A folder beside a product for work that an interruption must not lose."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from geoseg.errors import ConfigError, OutputError

log = logging.getLogger(__name__)

_LOCK, _COMPLETE = "lock", "complete"


def unfinished_folder(output: Path) -> Path:
    """Where the work on `output` lies until it is finished."""
    return output.with_name(f".{output.name}.unfinished")


@contextmanager
def unfinished(output: Path, *, restart: bool = False) -> Iterator[Path]:
    """The folder of an earlier run that was interrupted, or a new one; `restart` empties it first.

    It vanishes when the block ends, well or by an error that no command could mend. It stays after
    Ctrl-C, SIGTERM, a full disk, and of course a kill. Raises OutputError while
    another process is at it.
    """
    folder = unfinished_folder(output)
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / _LOCK).open("ab")
    except OSError as fault:
        raise OutputError(
            f"{output}: cannot be written ({fault.strerror}). choose another folder"
        ) from fault
    with lock:
        _hold(lock, output)
        if restart:
            _empty(folder)
        try:
            yield folder
        except ConfigError:  # another command may do
            raise
        except (KeyboardInterrupt, SystemExit, OutputError, OSError):
            log.warning("%s: unfinished. the same command goes on from here", output)
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def complete(folder: Path) -> None:
    """Note in an unfinished folder that products are about to take their names."""
    (folder / _COMPLETE).touch()


def forget_finished(output: Path) -> None:
    """Remove the folder of a run that was killed when `output` had its name already."""
    if output.exists() and is_complete(output):
        shutil.rmtree(unfinished_folder(output), ignore_errors=True)


def is_complete(output: Path) -> bool:
    """True when a run came so far, and was killed before it could remove the folder: products beside
    `output` that bear their names are its own.
    """
    return (unfinished_folder(output) / _COMPLETE).exists()


def _hold(lock: IO[bytes], output: Path) -> None:
    """Until the file is closed, also by a kill."""
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        raise OutputError(
            f"{output}: another process is writing it. wait for it, or choose another name"
        ) from fault


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()
