"""What has been decided of a scene so far, on disk: a run that was killed goes on from here.

One record per tile is appended as it is decided, with a checksum, so what a kill cuts off is noticed and
decided again. The first line says what the run was about; a run about something else may not go on.
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

_HEAD = Struct("<8qI")  # number, column, row, width, height, planes, bytes, payload's crc; own crc
_FORMAT = "geoseg journal 1"


@dataclass(frozen=True, slots=True)
class Record:
    """What was decided in a tile."""

    number: int
    """Of the tile, in the order of the grid."""

    place: Window
    """In the scene's pixels."""

    planes: NDArray[np.uint8] | None
    """(planes, h, w) labels, confidence and what else was asked for; None where there is no data."""


class Journal:
    """Records of one scene, appended and read back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, record: Record) -> None:
        """Append a record; once this returns, the death of this process does not undo it."""
        place, planes = record.place, record.planes
        payload = b"" if planes is None else zlib.compress(planes.tobytes(), 1)
        numbers = (
            *(record.number, place.col_off, place.row_off, place.width, place.height),
            *(0 if planes is None else len(planes), len(payload), zlib.crc32(payload)),
        )
        head = _HEAD.pack(*numbers, 0)
        own = zlib.crc32(head[:-4])
        self._file.write(_HEAD.pack(*numbers, own) + payload)
        self._file.flush()

    def records(self) -> Iterator[Record]:
        """What was added before, in that order. What follows the last whole record is cut off; call it
        to its end before `add`.
        """
        while True:
            start = self._file.tell()
            record = self._next()
            if record is None:
                self._file.seek(start)
                self._file.truncate()
                return
            yield record

    def _next(self) -> Record | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        *numbers, own = _HEAD.unpack(head)
        if own != zlib.crc32(head[:-4]):
            return None
        number, column, row, width, height, planes, length, crc = numbers
        payload = self._file.read(length)
        if len(payload) < length or zlib.crc32(payload) != crc:
            return None
        place = Window(column, row, width, height)
        if not planes:
            return Record(number, place, None)
        values = np.frombuffer(zlib.decompress(payload), np.uint8)
        return Record(number, place, values.reshape(planes, height, width))


@contextmanager
def open_journal(path: Path, about: Mapping[str, Any], *, output: Path) -> Iterator[Journal]:
    """The journal at `path`, of an earlier run or a new one; `about` is what results depend on, as plain
    JSON data by names that a user knows, and `output` the product's name for messages.

    Raises ConfigError when the earlier run was about something else.
    """
    with path.open("a+b") as file:
        file.seek(0)
        told = {"format": _FORMAT, **json.loads(json.dumps(about))}
        before = _first_line(file)
        if before is None or file.tell() == path.stat().st_size:  # nothing has been decided
            file.seek(0)
            file.truncate()
            file.write(json.dumps(told).encode() + b"\n")
            file.flush()
        elif changed := _differences(before, told):
            raise ConfigError(
                f"{output}: an interrupted run with other settings left its work beside it "
                f"({'; '.join(changed)}). repeat that command, or use --restart to begin anew"
            )
        yield Journal(file)


def _first_line(file: IO[bytes]) -> Any:
    try:
        return json.loads(file.readline() or b"null")
    except ValueError:  # killed within it
        return None


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Sequence[str]:
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
