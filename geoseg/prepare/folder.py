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
from geoseg.prepare.record import Record
from geoseg.unfinished import unfinished

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEW, _FORMER = "dataset", "former"


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
    _check_place(output, target)
    # a scene at fault may be whole in the next run, so what is done stays in any case
    with unfinished(target, remote=True) as work:
        new, former = work / _NEW, work / _FORMER
        if former.exists() and not target.exists():  # killed between the two renames below
            former.rename(target)
        _check_target(output, target, overwrite=overwrite)
        if restart:
            shutil.rmtree(new, ignore_errors=True)
        try:
            (new / SCENES).mkdir(parents=True, exist_ok=True)
            before = target if overwrite and not restart else None
            yield new, Record(new, before)
            _sync(new)
            if target.exists():
                shutil.rmtree(former, ignore_errors=True)
                target.rename(former)
            new.rename(target)
        except OSError as fault:
            if fault.errno in _FULL:
                raise OutputError(
                    f"{output}: the disk is full. free some space or choose another disk"
                ) from fault
            raise
        finally:
            if former.exists() and not target.exists():
                former.rename(target)


def _check_place(output: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise OutputError(
            f"{output}: its folder does not exist. create {str(output.parent)!r} first"
        )
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{output}: no permission to write in its folder. choose another")


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
