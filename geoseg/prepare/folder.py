"""A dataset folder that appears only when it is complete; what is interrupted can go on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.dataset import DESCRIPTION, SCENES
from geoseg.errors import OutputError
from geoseg.files import check_parent
from geoseg.prepare.record import JOURNAL, Record
from geoseg.unfinished import restore_folder, take_folder, unfinished

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEW = "dataset"


@contextmanager
def building(
    output: Path, *, overwrite: bool = False, restart: bool = False
) -> Iterator[tuple[Path, Record]]:
    """A folder that takes the name `output` when the block ends well, and the record of its scenes.

    Scenes that an interrupted run has finished are in it, and the record knows those of a dataset that is
    to be replaced; `restart` does without both. Only a dataset or an empty folder is ever replaced.
    Raises OutputError when `output` cannot be written, also when the disk is full, and while another
    process writes it.
    """
    target = output.resolve()
    check_parent(output, target.parent)
    # a scene at fault may be whole in the next run, so what is done stays in any case
    with unfinished(target, remote=True) as work:
        new = work / _NEW
        restore_folder(work, target)
        _check_target(output, target, overwrite=overwrite)
        if restart:
            shutil.rmtree(new, ignore_errors=True)
        try:
            (new / SCENES).mkdir(parents=True, exist_ok=True)
            _drop_remains(new)
            before = target if overwrite and not restart else None
            yield new, Record(new, before)
            _sync(new)
            take_folder(new, target)
        except OSError as fault:
            if fault.errno in _FULL:
                raise OutputError(
                    f"{output}: the disk is full. free some space or choose another disk"
                ) from fault
            raise


def _drop_remains(folder: Path) -> None:
    """Leave of a run that was killed its scenes and its journal: the rest is made anew, or was never finished."""
    for path in folder.iterdir():
        if path.is_file() and path.name != JOURNAL:
            path.unlink()


def _check_target(output: Path, target: Path, *, overwrite: bool) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() and not (target / DESCRIPTION).is_file():
        raise OutputError(f"{output}: exists and is no dataset. choose another name")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{output}: exists already. choose another name or use --overwrite, "
            "which writes only what has changed"
        )


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
