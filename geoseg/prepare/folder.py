"""A dataset folder that appears only when it is complete."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.dataset import DESCRIPTION
from geoseg.errors import OutputError

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def building(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder beside `output` that takes its name when the block ends well, else vanishes.

    Only a dataset or an empty folder is ever replaced. Raises OutputError when `output` cannot be
    written, also when the disk is full.
    """
    target = output.resolve()
    _check(output, target, overwrite=overwrite)
    tag = uuid.uuid4().hex[:8]
    scratch = target.with_name(f".{target.name}.{tag}.part")
    former = target.with_name(f".{target.name}.{tag}.old")
    for other in target.parent.glob(f".{target.name}.*.part"):
        log.warning("%s: left by a run that was killed, or one that goes on. else remove it", other)
    try:
        scratch.mkdir()
        yield scratch
        _sync(scratch)
        if target.exists():
            target.rename(former)
        scratch.rename(target)
    except OSError as fault:
        if fault.errno in _FULL:
            raise OutputError(
                f"{output}: the disk is full. free some space or choose another disk"
            ) from fault
        raise
    finally:
        if former.exists() and not target.exists():
            former.rename(target)
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _check(output: Path, target: Path, *, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise OutputError(
            f"{output}: its folder does not exist. create {str(output.parent)!r} first"
        )
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{output}: no permission to write in its folder. choose another")
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() and not (target / DESCRIPTION).is_file():
        raise OutputError(f"{output}: exists and is no dataset. choose another name")
    if target.exists() and not overwrite:
        raise OutputError(f"{output}: exists already. choose another name or use --overwrite")


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
