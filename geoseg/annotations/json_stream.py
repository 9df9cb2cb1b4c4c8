"""JSON objects too long for memory: their members one by one, of lists each element."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from geoseg.errors import AnnotationError
from geoseg.files import input_file

_CHUNK = 1 << 20  # characters
_NEAR = 16  # a fault so close to the end of what was read may be that end
_SPACE = " \t\n\r"


def members(path: Path) -> Iterator[tuple[str, Any]]:
    """(key, value) of every member of the object that a file holds; a member that is a list gives one pair per
    element, an empty one none.

    Memory holds an element and a chunk of text. Raises AnnotationError, which names the line.
    """
    with input_file(path, AnnotationError).open(encoding="utf-8-sig") as file:
        text = _Text(file)
        try:
            if text.peek() == "[":
                raise AnnotationError(
                    f"{path}: holds a list, need an object with members. is it another file?"
                )
            yield from _members(text)
        except (ValueError, RecursionError) as fault:  # also numbers of thousands of digits
            what = "is nested too deeply" if isinstance(fault, RecursionError) else str(fault)
            if isinstance(fault, json.JSONDecodeError):
                what = fault.msg
            raise AnnotationError(
                f"{path}:{text.line}: is no JSON ({what}). was the copy or download cut off?"
            ) from fault


def _members(text: _Text) -> Iterator[tuple[str, Any]]:
    text.take("{")
    while text.peek() != "}":
        key = text.value()
        if not isinstance(key, str):
            raise text.fault("a key must be text")
        text.take(":")
        if text.peek() != "[":
            yield key, text.value()
        else:
            text.take("[")
            while text.peek() != "]":
                yield key, text.value()
                text.comma("]")
            text.take("]")
        text.comma("}")
    text.take("}")
    if text.peek():
        raise text.fault("there is more behind its end")


class _Text:
    """What of a file is in memory, and how far it was used."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._line = 1
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    @property
    def line(self) -> int:
        """The line that comes next, numbered from 1."""
        return self._line + self._text.count("\n", 0, self._at)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._more()

    def take(self, character: str) -> None:
        """Go past `character`, which must come next."""
        if self.peek() != character:
            raise self.fault(f"expected {character!r}, found {self.peek() or 'its end'!r}")
        self._at += 1

    def comma(self, end: str) -> None:
        """Go past a comma, unless `end` comes next."""
        if self.peek() != end:
            self.take(",")
            if self.peek() == end:
                raise self.fault(f"there is nothing between ',' and {end!r}")

    def value(self) -> Any:
        """The value that comes next."""
        while True:
            self.peek()
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as fault:
                far = len(self._text) - fault.pos > _NEAR
                if self._ended or (far and not fault.msg.startswith("Unterminated")):
                    self._at = min(fault.pos, len(self._text))
                    raise
            else:
                if len(self._text) - end > len("e+") or self._ended:  # else a number may go on
                    self._at = end
                    return value
            self._more()

    def fault(self, what: str) -> json.JSONDecodeError:
        """What is wrong here."""
        return json.JSONDecodeError(what, "", 0)

    def _more(self) -> None:
        """Forget what was used, and read as much again as is left, so that long values take linear time."""
        left = self._text[self._at :]
        self._line += self._text.count("\n", 0, self._at)
        read = self._file.read(max(_CHUNK, len(left)))
        self._text, self._at, self._ended = left + read, 0, not read
