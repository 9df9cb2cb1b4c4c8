"""The scenes that a command line names: files, patterns, lists, and addresses where that is allowed."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.files import Source, Url, input_file, source


def expanded(
    names: Sequence[str], listed: Path | None = None, *, allow_remote: bool = False
) -> list[Source]:
    """The scenes that `names` and the lines of the text file `listed` stand for, each once.

    A name with ``*``, ``?`` or ``[`` that is no file is a pattern. Names in a list are relative to its
    folder; empty lines and those that begin with ``#`` do not count. Raises ConfigError when a
    pattern finds nothing or the list cannot be read.
    """
    found = [
        path
        for name in (*names, *(_lines(listed) if listed else ()))
        for path in _matches(name, allow_remote=allow_remote)
    ]
    if not found:
        raise ConfigError("no SCENE is given. name at least one, see 'geoseg segment --help'")
    return list(dict.fromkeys(found))


def _lines(listed: Path) -> Iterator[str]:
    try:
        text = input_file(listed, ConfigError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{listed}: is not a text file in UTF-8. name a scene a line") from error
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            is_url = isinstance(source(line, allow_remote=True), Url)
            yield line if is_url else str(listed.parent / line)


def _matches(name: str, *, allow_remote: bool) -> list[Source]:
    named = source(name, allow_remote=allow_remote)
    if isinstance(named, Url) or not glob.has_magic(name) or named.exists():
        return [named]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not found:
        raise ConfigError(f"{name}: no file matches. check the pattern")
    return [Path(path) for path in found]
