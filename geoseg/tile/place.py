"""A folder of windows takes its name when it is complete."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from geoseg.errors import OutputError
from geoseg.tile.manifest import MANIFEST

_FORMER = "former"


def check_folder(output: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError now if `output` could not take its name later. Only windows that `geoseg tile`
    made, or an empty folder, are ever replaced.
    """
    if not output.parent.is_dir():
        raise OutputError(
            f"{output}: its folder does not exist. create {str(output.parent)!r} first"
        )
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output}: no permission to write in its folder. choose another")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / MANIFEST).is_file():
        raise OutputError(f"{output}: exists and holds no windows of geoseg. choose another name")
    if not overwrite:
        raise OutputError(f"{output}: exists already. choose another name or use --overwrite")


def take_name(products: Path, output: Path) -> None:
    """Turn the folder `products`, which lies in one of ours beside it, into `output`."""
    former = products.with_name(_FORMER)
    if hasattr(os, "sync"):
        os.sync()  # one call for ten thousands of files
    shutil.rmtree(former, ignore_errors=True)
    if output.exists():
        output.rename(former)
    try:
        products.rename(output)
    except OSError as fault:
        if former.exists():
            former.rename(output)
        if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"{output}: cannot be written ({fault.strerror}). choose another folder"
            ) from fault
        raise
