"""Operations whose behaviour depends on the operating system."""

from __future__ import annotations

import os
from pathlib import Path

ON_WINDOWS = os.name == "nt"


def sync_file(path: Path, mode: int | None = None) -> None:
    """Flush a file's data and metadata to the disk.

    Parameters
    ----------
    path
        Existing file.
    mode
        Permission bits to set first. Windows only has the bit that makes a file read-only.

    Notes
    -----
    The descriptor is writable: on Windows, `os.fsync` refuses read-only descriptors (EBADF).
    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        if mode is not None:
            path.chmod(mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk. Do nothing on Windows, where folders cannot be opened."""
    if ON_WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
