"""Read JSON objects larger than memory: member by member, lists element by element."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from geoseg.errors import AnnotationError
from geoseg.files import input_file

_CHUNK = 1 << 20  # characters
_NEAR_END = 16  # characters: an error this close to the end of the buffer may be caused by that end
_SPACE = " \t\n\r"


def read_members(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of every member of the JSON object in a file.

    A member that is a list yields one pair per element; an empty list yields none. Memory holds one element and one
    chunk of text. Raises AnnotationError with the line of a syntax error.
    """
    with input_file(path, AnnotationError).open(encoding="utf-8-sig") as file:
        buffer = _Buffer(file)
        try:
            if buffer.peek() == "[":
                raise AnnotationError(
                    f"{path}: contains a list, not an object with members. Check the file name"
                )
            yield from _read_object(buffer)
        except (ValueError, RecursionError) as error:  # ValueError: also numbers of many digits
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            if isinstance(error, json.JSONDecodeError):
                reason = error.msg
            raise AnnotationError(
                f"{path}:{buffer.line}: invalid JSON ({reason}). The file may be truncated: copy or "
                "download it again"
            ) from error


def _read_object(buffer: _Buffer) -> Iterator[tuple[str, Any]]:
    buffer.skip("{")
    while buffer.peek() != "}":
        key = buffer.read_value()
        if not isinstance(key, str):
            raise _error("a key must be a string")
        buffer.skip(":")
        if buffer.peek() != "[":
            yield key, buffer.read_value()
        else:
            buffer.skip("[")
            while buffer.peek() != "]":
                yield key, buffer.read_value()
                buffer.skip_comma("]")
            buffer.skip("]")
        buffer.skip_comma("}")
    buffer.skip("}")
    if buffer.peek():
        raise _error("extra data after the end of the object")


def _error(reason: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(reason, "", 0)


class _Buffer:
    """Part of a text file in memory, and the position in it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._position = 0
        self._line = 1
        self._at_end = False
        self._decode = json.JSONDecoder().raw_decode

    @property
    def line(self) -> int:
        """Line number of the position, from 1."""
        return self._line + self._text.count("\n", 0, self._position)

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end of the file."""
        while True:
            while self._position < len(self._text):
                if self._text[self._position] not in _SPACE:
                    return self._text[self._position]
                self._position += 1
            if self._at_end:
                return ""
            self._read_more()

    def skip(self, character: str) -> None:
        """Advance past `character`. Raises JSONDecodeError if another one follows."""
        if self.peek() != character:
            raise _error(f"expected {character!r}, found {self.peek() or 'its end'!r}")
        self._position += 1

    def skip_comma(self, end: str) -> None:
        """Advance past a comma, unless `end` follows."""
        if self.peek() != end:
            self.skip(",")
            if self.peek() == end:
                raise _error(f"no value between ',' and {end!r}")

    def read_value(self) -> Any:
        """Read the next value."""
        while True:
            self.peek()
            try:
                value, end = self._decode(self._text, self._position)
            except json.JSONDecodeError as error:
                far = len(self._text) - error.pos > _NEAR_END
                if self._at_end or (far and not error.msg.startswith("Unterminated")):
                    self._position = min(error.pos, len(self._text))
                    raise
            else:
                # a number at the end of the buffer may continue
                if len(self._text) - end > len("e+") or self._at_end:
                    self._position = end
                    return value
            self._read_more()

    def _read_more(self) -> None:
        """Discard the text before the position and at least double the rest: linear time for long values."""
        rest = self._text[self._position :]
        self._line += self._text.count("\n", 0, self._position)
        read = self._file.read(max(_CHUNK, len(rest)))
        self._text, self._position, self._at_end = rest + read, 0, not read
