"""Journal of a run: what each tile gave, on disk, so that an interrupted run resumes.

One entry per tile is appended, with a checksum: an entry that a kill cut off is detected and the tile is
computed again. The first line holds what the results depend on; a run with other settings must not resume.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.errors import ConfigError

_HEADER = Struct("<8qI")
"""Number, column, row, width, height, planes, bytes and CRC-32 of the payload; CRC-32 of the header."""

_FORMAT = "geoseg journal 1"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """Result of one tile."""

    number: int
    """Index of the tile."""

    window: Window
    """In scene pixels."""

    planes: NDArray[np.uint8] | None
    """(planes, h, w) of `window`; None without data."""


class Journal:
    """Entries of one scene in an open file, appended and read back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def append(self, entry: JournalEntry) -> None:
        """Append an entry. Once this returns, it survives a kill of the process."""
        window, planes = entry.window, entry.planes
        payload = b"" if planes is None else zlib.compress(planes.tobytes(), 1)
        numbers = (
            *(entry.number, window.col_off, window.row_off, window.width, window.height),
            *(0 if planes is None else len(planes), len(payload), zlib.crc32(payload)),
        )
        header = _HEADER.pack(*numbers, 0)
        crc = zlib.crc32(header[:-4])
        self._file.write(_HEADER.pack(*numbers, crc) + payload)
        self._file.flush()

    def read_entries(self) -> Iterator[JournalEntry]:
        """Yield the entries of earlier runs, in order, and truncate the file after the last complete one.

        Exhaust it before `append`.
        """
        while True:
            start = self._file.tell()
            entry = self._read_entry()
            if entry is None:
                self._file.seek(start)
                self._file.truncate()
                return
            yield entry

    def _read_entry(self) -> JournalEntry | None:
        header = self._file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        *numbers, own = _HEADER.unpack(header)
        if own != zlib.crc32(header[:-4]):
            return None
        number, column, row, width, height, planes, length, crc = numbers
        payload = self._file.read(length)
        if len(payload) < length or zlib.crc32(payload) != crc:
            return None
        window = Window(column, row, width, height)
        if not planes:
            return JournalEntry(number, window, None)
        values = np.frombuffer(zlib.decompress(payload), np.uint8)
        return JournalEntry(number, window, values.reshape(planes, height, width))


@contextmanager
def open_journal(path: Path, dependencies: Mapping[str, Any], *, output: Path) -> Iterator[Journal]:
    """Open the journal of an interrupted run, or start one.

    Parameters
    ----------
    path
        File of the journal.
    dependencies
        What the results depend on, by names that users know, as plain JSON data.
    output
        Product that messages name.

    Raises
    ------
    ConfigError
        If the journal belongs to a run with other dependencies.
    """
    with path.open("a+b") as file:
        file.seek(0)
        expected = {"format": _FORMAT, **json.loads(json.dumps(dependencies))}
        found = _read_first_line(file)
        if found is None or file.tell() == path.stat().st_size:  # no entries
            file.seek(0)
            file.truncate()
            file.write(json.dumps(expected).encode() + b"\n")
            file.flush()
        elif changes := _list_changes(found, expected):
            raise ConfigError(
                f"{output}: an interrupted run with other settings left intermediate results "
                f"({'; '.join(changes)}). Repeat that command, or start again with --restart"
            )
        yield Journal(file)


def _read_first_line(file: IO[bytes]) -> Any:
    try:
        return json.loads(file.readline() or b"null")
    except ValueError:  # cut off by a kill
        return None


def _list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Sequence[str]:
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
