"""Records of exported chips: parts of an export on disk until all are written, and the manifest of the result."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rasterio.windows import Window

from geoseg.dataset.chips import cut_windows
from geoseg.dataset.folder import DatasetScene
from geoseg.errors import OutputError
from geoseg.files import check_parent, replacing, write_json, write_text
from geoseg.legend import IGNORE, Legend
from geoseg.options import ChipOptions
from geoseg.work_folder import publish_folder

MANIFEST = "chips.json"
FORMAT = "geoseg chips 1"

_MANIFESTS = (MANIFEST, "tiles.json")  # the latter until 0.2
_PART_WINDOWS = 64  # of a part, at most

Entry = dict[str, Any]
"""JSON data: entry of a chip in the manifest, or data of a format that is collected over all chips."""


@dataclass(frozen=True, slots=True)
class ChipPart:
    """Windows of one scene that one thread writes in a row."""

    number: int
    """Position in the order of the dataset."""

    scene: DatasetScene
    windows: tuple[Window, ...]

    def record_file(self, folder: Path) -> Path:
        """Return the file with the manifest entries of the part, and its summary in the last line."""
        return folder / f"{self.number:07d}.windows"

    def collected_file(self, folder: Path) -> Path:
        """Return the file with the data that the format collects."""
        return folder / f"{self.number:07d}.lines"


def divide_scenes(scenes: Sequence[DatasetScene], options: ChipOptions) -> list[ChipPart]:
    """Divide the windows of all scenes into parts small enough that threads share the work on one scene."""
    parts = [
        (scene, windows[first : first + _PART_WINDOWS])
        for scene in scenes
        for windows in [cut_windows(options, scene.width, scene.height)]
        for first in range(0, len(windows), _PART_WINDOWS)
    ]
    return [ChipPart(n, scene, tuple(windows)) for n, (scene, windows) in enumerate(parts)]


class PartRecorder:
    """Writes the record of a part while its chips are written."""

    def __init__(self, part: ChipPart, folder: Path) -> None:
        self._stack = ExitStack()
        self._entries, self._collected = (
            self._stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
            for path in (part.record_file(folder), part.collected_file(folder))
        )
        self._number = self._count = 0
        self.notes: Counter[str] = Counter()
        """Notes of the summary, with the number of windows or objects."""

    def __enter__(self) -> PartRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            summary = {"notes": +self.notes, "lines": self._count}
            self._entries.write(json.dumps(summary) + "\n")
        self._stack.close()

    def collect(self, data: Entry) -> None:
        """Add data of the format for the next chip."""
        self._collected.write(json.dumps([self._number, data]) + "\n")
        self._count += 1

    def add_chip(self, entry: Entry) -> None:
        """Add the manifest entry of a chip."""
        self._entries.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._number += 1


@dataclass(frozen=True, slots=True)
class SplitRecords:
    """Records of all parts of a split, read item by item."""

    split: str
    parts: Sequence[ChipPart]
    folder: Path

    def read_entries(self) -> Iterator[tuple[int, Entry]]:
        """Yield the number of each chip in its split, from 1, and its manifest entry."""
        number = 0
        for part in self.parts:
            for entry in read_entries(part, self.folder):
                number += 1
                yield number, entry

    def read_collected(self) -> Iterator[tuple[int, Entry]]:
        """Yield the number of a chip and an item of the data that the format collected for it."""
        first = 1
        for part in self.parts:
            with part.collected_file(self.folder).open(encoding="utf-8") as file:
                for text in file:
                    number, data = json.loads(text)
                    yield first + number, data
            first += sum(1 for _ in read_entries(part, self.folder))

    def sum_notes(self) -> Counter[str]:
        """Sum the notes of all parts."""
        notes = (Counter(_read_summary(part, self.folder)["notes"]) for part in self.parts)
        return sum(notes, Counter())


def read_entries(part: ChipPart, folder: Path) -> Iterator[Entry]:
    """Yield the manifest entries of a part."""
    with part.record_file(folder).open(encoding="utf-8") as file:
        for text in file:
            entry = json.loads(text)
            if "image" in entry:
                yield entry


def is_complete(part: ChipPart, folder: Path) -> bool:
    """Return False if the record of a part is truncated. Raises OSError if there is none."""
    try:
        with part.collected_file(folder).open("rb") as file:
            return bool(sum(1 for _ in file) == _read_summary(part, folder)["lines"])
    except (ValueError, LookupError):
        return False


def _read_summary(part: ChipPart, folder: Path) -> dict[str, Any]:
    with part.record_file(folder).open(encoding="utf-8") as file:
        summary: dict[str, Any] = json.loads([*file][-1])
    return summary


def write_manifest(folder: Path, head: Mapping[str, Any], splits: Sequence[SplitRecords]) -> None:
    """Write chips.json: the head, then a line for each chip."""
    with (
        replacing(folder / MANIFEST, overwrite=True) as scratch,
        scratch.open("w", encoding="utf-8", newline="\n") as file,
    ):
        text = json.dumps({"format": FORMAT, **head}, indent=1, ensure_ascii=False)
        file.write(text.removesuffix("\n}") + ',\n "windows": [')
        comma = ""
        for split in splits:
            for _, entry in split.read_entries():
                file.write(f"{comma}\n  {json.dumps(entry, ensure_ascii=False)}")
                comma = ","
        file.write("\n ]\n}\n")


def write_legend(folder: Path, legend: Legend) -> None:
    """Write the classes to legend.json, and to classes.txt, one name per line in the order of the IDs."""
    write_json(folder / "legend.json", {"classes": legend.to_json(), "ignore": IGNORE})
    names = "".join(f"{name}\n" for name in legend.names)
    write_text(folder / "classes.txt", names, overwrite=True)


def check_folder(output: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError if `output` cannot be written. Only chips of geoseg or an empty folder are replaced."""
    check_parent(output, output.resolve().parent)
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not any((output / name).is_file() for name in _MANIFESTS):
        raise OutputError(f"{output}: exists and has no chips of geoseg. Choose another name")
    if not overwrite:
        raise OutputError(f"{output}: exists already. Choose another name or use --overwrite")


def publish_chips(products: Path, output: Path) -> None:
    """Move the folder `products`, which lies in the work folder of `output`, to `output`."""
    if hasattr(os, "sync"):
        os.sync()  # one call for tens of thousands of files
    publish_folder(products, output)
