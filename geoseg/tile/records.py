"""What became of the windows, kept part by part on disk until all are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rasterio.windows import Window

from geoseg.dataset import DatasetScene
from geoseg.tile.pair import Line
from geoseg.tile.windows import Tiling

_WINDOWS = 64  # of a part, at most


@dataclass(frozen=True, slots=True)
class Part:
    """Windows of one scene that one thread writes, one after the other."""

    number: int
    """In the order of the dataset."""

    scene: DatasetScene
    windows: tuple[Window, ...]

    def record(self, folder: Path) -> Path:
        """The file with the entries of its windows in the manifest, and last what else is told of it."""
        return folder / f"{self.number:07d}.windows"

    def lines(self, folder: Path) -> Path:
        """The file with what the format gathers of them."""
        return folder / f"{self.number:07d}.lines"


class Recorder:
    """Takes down a part while it is written."""

    def __init__(self, part: Part, folder: Path) -> None:
        self._stack = ExitStack()
        self._windows, self._lines = (
            self._open(path) for path in (part.record(folder), part.lines(folder))
        )
        self._number = self._count = 0
        self.told: Counter[str] = Counter()
        """What is to be said of windows and objects → how many it concerns."""

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            end = {"told": +self.told, "lines": self._count}
            self._windows.write(json.dumps(end) + "\n")
        self._stack.close()

    def line(self, line: Line) -> None:
        """Add a line of the window that comes next."""
        self._lines.write(json.dumps([self._number, line]) + "\n")
        self._count += 1

    def window(self, entry: Line) -> None:
        """Add a window."""
        self._windows.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._number += 1

    def _open(self, path: Path) -> IO[str]:
        return self._stack.enter_context(path.open("w", encoding="utf-8"))


class Records:
    """All parts of one split, read back one line at a time."""

    def __init__(self, split: str, parts: Sequence[Part], folder: Path) -> None:
        self.split = split
        self._parts = parts
        self._folder = folder

    def windows(self) -> Iterator[tuple[int, Line]]:
        """Number of a window in its split, from 1, and its entry in the manifest."""
        number = 0
        for part in self._parts:
            for entry in windows_of(part, self._folder):
                number += 1
                yield number, entry

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Number of a window, and one of the lines that the format gave for it."""
        before = 1
        for part in self._parts:
            with part.lines(self._folder).open(encoding="utf-8") as file:
                for text in file:
                    number, line = json.loads(text)
                    yield before + number, line
            before += sum(1 for _ in windows_of(part, self._folder))

    def told(self) -> Counter[str]:
        """The sum of what was told of the parts."""
        return sum((Counter(_end(p, self._folder)["told"]) for p in self._parts), Counter())


def windows_of(part: Part, folder: Path) -> Iterator[Line]:
    """Entries of the windows of a part."""
    with part.record(folder).open(encoding="utf-8") as file:
        for text in file:
            entry = json.loads(text)
            if "image" in entry:
                yield entry


def is_complete(part: Part, folder: Path) -> bool:
    """False when something is missing of what was taken down. Raises OSError when nothing was."""
    try:
        with part.lines(folder).open("rb") as file:
            return bool(sum(1 for _ in file) == _end(part, folder)["lines"])
    except (ValueError, LookupError):
        return False


def _end(part: Part, folder: Path) -> dict[str, Any]:
    """The last line of a record."""
    with part.record(folder).open(encoding="utf-8") as file:
        end: dict[str, Any] = json.loads([*file][-1])
    return end


def parts_of(scenes: Sequence[DatasetScene], tiling: Tiling) -> list[Part]:
    """All windows of scenes, in parts small enough to share the work on one scene."""
    shares = [
        (scene, windows[first : first + _WINDOWS])
        for scene in scenes
        for windows in [tiling.windows(scene.width, scene.height)]
        for first in range(0, len(windows), _WINDOWS)
    ]
    return [Part(n, scene, tuple(windows)) for n, (scene, windows) in enumerate(shares)]
