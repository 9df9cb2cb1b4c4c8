"""A folder of windows takes its name when it is complete."""

from __future__ import annotations

import os
from pathlib import Path

from geoseg.errors import OutputError
from geoseg.files import check_parent
from geoseg.tile.manifest import MANIFEST
from geoseg.unfinished import take_folder


def check_folder(output: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError now if `output` could not take its name later. Only windows that `geoseg tile`
    made, or an empty folder, are ever replaced.
    """
    check_parent(output, output.resolve().parent)
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / MANIFEST).is_file():
        raise OutputError(f"{output}: exists and holds no windows of geoseg. choose another name")
    if not overwrite:
        raise OutputError(f"{output}: exists already. choose another name or use --overwrite")


def take_name(products: Path, output: Path) -> None:
    """Turn the folder `products`, which lies in one of ours beside it, into `output`."""
    if hasattr(os, "sync"):
        os.sync()  # one call for ten thousands of files
    take_folder(products, output)
