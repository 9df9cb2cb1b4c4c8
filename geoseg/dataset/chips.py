"""Where windows lie, what they are called, and what becomes of objects that they cut."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn, transform_geometry
from geoseg.dataset.folder import DIGITS, DatasetScene
from geoseg.errors import OutputError
from geoseg.files import check_parent, replacing, write_json
from geoseg.legend import IGNORE, Legend
from geoseg.options import ChipOptions
from geoseg.work_folder import publish_folder


def cut_windows(chips: ChipOptions, width: int, height: int) -> list[Window]:
    """Return windows that cover a scene of `width` x `height` pixels, row by row.

    They have the full size, also where they extend beyond the right and lower edges of the scene: with
    ``pad``, and with ``shift`` those of a smaller scene. With ``crop`` they end at the edge.
    """
    if chips.size is None:
        return [Window(0, 0, width, height)]
    return [
        Window(left, top, across, down)
        for top, down in _spans(chips, height, chips.size)
        for left, across in _spans(chips, width, chips.size)
    ]


def _spans(chips: ChipOptions, length: int, size: int) -> list[tuple[int, int]]:
    """Return start and length of every window along one side."""
    step = size - chips.minimum_overlap
    starts = [step * n for n in range(ceil(max(0, length - size) / step) + 1)]
    if chips.edge == "shift" and length > size:
        starts[-1] = length - size
    return [(s, min(size, length - s) if chips.edge == "crop" else size) for s in starts]


def chip_name(chips: ChipOptions, scene: str, window: Window) -> str:
    """Return ``SCENE__SIZE__COLUMN___ROW``, as mmrotate does, or for a whole scene its name."""
    if chips.size is None:
        return scene
    return f"{scene}__{chips.size}__{window.col_off}___{window.row_off}"


def inside(window: Window, width: int, height: int) -> Window:
    """The part of a window that lies in a scene of `width` x `height` pixels."""
    left, top = window.col_off, window.row_off
    return Window(left, top, min(window.width, width - left), min(window.height, height - top))


# What a window shows of the objects of its scene.

_SLIVER = 0.01  # square pixels: less than this of a cut object is nothing


@dataclass(frozen=True, slots=True)
class Visible:
    """The objects in a window, in its pixels."""

    whole: Annotations
    """As annotated, also where they reach out of the window."""

    part: NDArray[np.object_]
    """(n,) what the window shows of each: polygons and multipolygons"""

    hidden: int
    """Objects left out because the window shows too little of them."""

    unknown: int
    """Areas of which nobody knows what is there; they are no objects."""

    def __len__(self) -> int:
        return len(self.whole)


def visible(index: AnnotationIndex, window: Window, tiling: ChipOptions) -> Visible:
    """The objects of a scene that `window`, which lies within it, shows.

    What lies wholly inside keeps its coordinates to 1e-6 of a pixel.
    """
    objects = index.query_window(window)
    if tiling.difficult == "drop":
        objects = objects[~objects.difficult]
    part = _clipped(objects.geometry, window)
    area = shapely.area(part)
    seen = area > 0
    objects, part, area = objects[seen], part[seen], area[seen]
    known = objects.class_id != IGNORE
    unknown = int((~known).sum())
    objects, part, area = objects[known], part[known], area[known]
    hardly = _hardly(objects, area, tiling)
    hidden = 0
    if tiling.hardly_visible == "difficult":
        objects = Annotations(objects.geometry, objects.class_id, objects.difficult | hardly)
    else:
        hidden = int(hardly.sum())
        objects, part = objects[~hardly], part[~hardly]
    to_window = Affine.translation(-window.col_off, -window.row_off)
    whole, part = (_rounded(transform_geometry(of, to_window)) for of in (objects.geometry, part))
    return Visible(Annotations(whole, objects.class_id, objects.difficult), part, hidden, unknown)


def labels_of(
    index: AnnotationIndex, window: Window, valid: NDArray[np.bool_], tiling: ChipOptions
) -> NDArray[np.uint8]:
    """(h, w) class ids of a window, as those of the whole scene are there.

    IGNORE where `valid` is not, where `tiling` says so of difficult objects, and where there is an object of
    which the window shows too little: to call that background would be untrue.
    """
    objects = index.query_window(window)
    if tiling.difficult == "drop":
        objects = objects[~objects.difficult]
    ignored = objects.difficult & (tiling.difficult == "ignore")
    if tiling.min_visible:
        ignored |= _hardly(objects, shapely.area(_clipped(objects.geometry, window)), tiling)
    labels = burn(
        Annotations(objects.geometry, objects.class_id, ignored),
        *valid.shape,
        transform=Affine.translation(-window.col_off, -window.row_off),
        difficult="ignore",
    )
    labels[~valid] = IGNORE
    return labels


def _hardly(
    objects: Annotations, area: NDArray[np.float64], tiling: ChipOptions
) -> NDArray[np.bool_]:
    """True where `area`, the visible one, is too little of an object."""
    hardly: NDArray[np.bool_] = area < tiling.min_visible * shapely.area(objects.geometry)
    return hardly


def _clipped(geometry: NDArray[np.object_], window: Window) -> NDArray[np.object_]:
    left, top = window.col_off, window.row_off
    box = shapely.box(left, top, left + window.width, top + window.height)
    shapely.prepare(box)
    part = geometry.copy()
    cut = ~shapely.covers(box, geometry)
    part[cut] = [_surface(g) for g in shapely.intersection(_valid(geometry[cut]), box)]
    return part


def _valid(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Polygons that GEOS can cut."""
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(geometry[invalid], method="structure")
    return geometry


def _surface(geometry: shapely.Geometry) -> shapely.Geometry:
    """A geometry without the lines, points and slivers that a clip leaves where a side only touches."""
    parts = shapely.get_parts(geometry).tolist()
    parts = [p for p in parts if p.geom_type == "Polygon" and p.area > _SLIVER]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _rounded(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    rounded: NDArray[np.object_] = shapely.transform(geometry, lambda xy: xy.round(DIGITS))
    return rounded


# A window as other tools take it: an image, and what is known of it.

Line = dict[str, Any]
"""Plain JSON data."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A window's image and truth."""

    name: str
    """Of its files, without a suffix."""

    scene: DatasetScene

    crs: str | None
    """WKT"""

    window: Window
    """In pixels of the scene, of which it may stick out on the right and below."""

    pixels: NDArray[Any]
    """(bands, h, w); 0 where not valid"""

    valid: NDArray[np.bool_]
    """(h, w)"""

    objects: Visible

    labels: Callable[[], NDArray[np.uint8]]
    """Gives (h, w) class ids, IGNORE where not valid."""

    noted: Counter[str]
    """What has to be told of objects → how many it concerns; a format adds what it cannot say."""

    @property
    def transform(self) -> Affine:
        """From pixels of the window to map coordinates."""
        shift = Affine.translation(self.window.col_off, self.window.row_off)
        return Affine(*self.scene.transform) @ shift


class Gathered(Protocol):
    """All windows of a split, read back one at a time."""

    split: str

    def windows(self) -> Iterator[tuple[int, Line]]:
        """Number of a window, from 1, and its entry in the manifest."""
        ...

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Number of a window, and one of the lines that `Format.write` gave for it."""
        ...


class Format:
    """How some other tool reads the truth of windows."""

    folder = "labels"
    """Where truth lies, below the folder of a split."""

    suffix = ".txt"

    ignores = False
    """True where it can say that nobody knows what is there."""

    def __init__(self, legend: Legend) -> None:
        self.legend = legend

    def truth(self, split: str, name: str) -> str:
        """The file with the truth of a window, below the folder of products."""
        return f"{split}/{self.folder}/{name}{self.suffix}"

    def is_whole(self, path: Path, entry: Line) -> bool:
        """False when the truth that `write` left at `path` is empty although the window's entry tells of objects,
        as after a loss of power. Raises OSError when it is missing.
        """
        return path.stat().st_size > 0 or not entry["objects"]

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write the truth of a window to `path`, or give the lines of it that `finish` is to gather."""
        raise NotImplementedError

    def finish(self, folder: Path, splits: Iterable[Gathered]) -> None:
        """Write what concerns all windows, below `folder`."""


# What became of the windows, kept part by part on disk until all are written.

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


def parts_of(scenes: Sequence[DatasetScene], tiling: ChipOptions) -> list[Part]:
    """All windows of scenes, in parts small enough to share the work on one scene."""
    shares = [
        (scene, windows[first : first + _WINDOWS])
        for scene in scenes
        for windows in [cut_windows(tiling, scene.width, scene.height)]
        for first in range(0, len(windows), _WINDOWS)
    ]
    return [Part(n, scene, tuple(windows)) for n, (scene, windows) in enumerate(shares)]


# What lies in a folder of windows: ``tiles.json``, ``legend.json`` and ``classes.txt``.

MANIFEST = "tiles.json"
FORMAT = "geoseg tiles 1"


def write_manifest(folder: Path, head: Mapping[str, Any], splits: Sequence[Records]) -> None:
    """Write tiles.json: the head, then a line for each window."""
    with (
        replacing(folder / MANIFEST, overwrite=True) as scratch,
        scratch.open("w", encoding="utf-8") as file,
    ):
        opened = json.dumps({"format": FORMAT, **head}, indent=1, ensure_ascii=False)
        file.write(opened.removesuffix("\n}") + ',\n "windows": [')
        comma = ""
        for split in splits:
            for _, entry in split.windows():
                file.write(f"{comma}\n  {json.dumps(entry, ensure_ascii=False)}")
                comma = ","
        file.write("\n ]\n}\n")


def write_legend(folder: Path, legend: Legend) -> None:
    """Write the classes, for programs and as one name a line in the order of their ids."""
    write_json(folder / "legend.json", {"classes": legend.to_json(), "ignore": IGNORE})
    with replacing(folder / "classes.txt", overwrite=True) as scratch:
        scratch.write_text("".join(f"{name}\n" for name in legend.names), encoding="utf-8")


# A folder of windows takes its name when it is complete.


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
    publish_folder(products, output)
