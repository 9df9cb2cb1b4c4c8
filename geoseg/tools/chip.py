"""From a part of a scene to pairs of files."""

from __future__ import annotations

import logging
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg._version import __version__
from geoseg.annotations.burn import AnnotationIndex
from geoseg.annotations.validation import ValidationReport
from geoseg.dataset.build import Threads
from geoseg.dataset.chip_formats import (
    FORMATS,
    check_fit,
    image_for,
    layer_for,
    write_picture,
    write_raster,
)
from geoseg.dataset.chips import (
    Format,
    Line,
    Pair,
    Part,
    Recorder,
    Records,
    check_folder,
    chip_name,
    inside,
    is_complete,
    labels_of,
    parts_of,
    take_name,
    visible,
    windows_of,
    write_legend,
    write_manifest,
)
from geoseg.dataset.folder import ANNOTATIONS, DESCRIPTION, Dataset, DatasetScene
from geoseg.files import sha256
from geoseg.inference.journal import Journal, JournalEntry, open_journal
from geoseg.legend import Legend
from geoseg.options import BatchOptions, ChipOptions, StrPath
from geoseg.progress import Track, silent
from geoseg.raster.scene import Scene, open_scene
from geoseg.work_folder import open_work_folder

EMPTY = "windows without objects were left out"
NO_DATA = "windows without data were left out"
HIDDEN = "objects are hardly visible in a window and were left out there"
UNKNOWN = "areas of which nobody knows what is there are not told"


@dataclass(frozen=True, slots=True)
class Cutter:
    """Writes the windows of parts, from many threads."""

    dataset: Dataset
    indexes: Mapping[str, AnnotationIndex]
    tiling: ChipOptions
    format: Format

    suffix: str
    """Of images: ``.png``, ``.jpg`` or ``.tif``."""

    quality: int
    """Of JPEGs."""

    products: Path
    records: Path

    check: Callable[[], None]
    """Called before each window."""

    def make_folders(self, splits: Iterable[str]) -> None:
        """What windows are written to."""
        for split in splits:
            for file in (self._image(split, ""), self.format.truth(split, "")):
                (self.products / file).parent.mkdir(parents=True, exist_ok=True)

    def write(self, part: Part) -> None:
        """Write the windows of a part. Raises SceneError and OutputError."""
        dataset, scene = self.dataset, part.scene
        with (
            open_scene(dataset.path(scene), bands=dataset.bands, dtype=dataset.dtype) as opened,
            Recorder(part, self.records) as recorder,
        ):
            for window in part.windows:
                self.check()
                if (pair := self._pair(opened, scene, window, recorder.told)) is not None:
                    self._write(pair, recorder)

    def is_whole(self, part: Part) -> bool:
        """False when a file of a part that was written is missing or empty, as after a loss of power."""
        entries = windows_of(part, self.records)
        try:
            return is_complete(part, self.records) and all(map(self._is_there, entries))
        except OSError:
            return False

    def _is_there(self, entry: Line) -> bool:
        """Raises OSError when a file is missing."""
        image, truth = self.products / entry["image"], self.products / entry["truth"]
        return image.stat().st_size > 0 and self.format.is_whole(truth, entry)

    def remove(self, part: Part) -> None:
        """Remove what there is of a part."""
        for window in part.windows:
            name = chip_name(self.tiling, part.scene.name, window)
            for file in (
                self._image(part.scene.split, name),
                self.format.truth(part.scene.split, name),
            ):
                (self.products / file).unlink(missing_ok=True)

    def _image(self, split: str, name: str) -> str:
        """The file with an image, below the folder of products."""
        return f"{split}/images/{name}{self.suffix}"

    def _pair(
        self, opened: Scene, scene: DatasetScene, window: Window, told: Counter[str]
    ) -> Pair | None:
        """What a window shows; None, and `told` why, if it is to be left out."""
        tiling, index = self.tiling, self.indexes[scene.name]
        within = inside(window, scene.width, scene.height)
        name = chip_name(tiling, scene.name, window)
        objects = visible(index, within, tiling)
        if not len(objects) and not _chosen(name, tiling.empty):
            told[EMPTY] += 1
            return None
        pixels, valid = opened.read(within)
        if not valid.any():
            told[NO_DATA] += 1
            return None
        told[HIDDEN] += objects.hidden
        if not self.format.ignores:
            told[UNKNOWN] += objects.unknown
        pixels, valid = _filled(pixels, window), _filled(valid, window)
        labels = partial(labels_of, index, within, valid, tiling)
        crs = self.dataset.crs
        return Pair(name, scene, crs, window, pixels, valid, objects, labels, told)

    def _write(self, pair: Pair, recorder: Recorder) -> None:
        entry = self._entry(pair)
        image = self.products / entry["image"]
        if self.suffix == ".tif":
            write_raster(image, pair)
        else:
            write_picture(image, pair.pixels, quality=self.quality)
        for line in self.format.write(pair, self.products / entry["truth"]):
            recorder.line(line)
        recorder.window(entry)

    def _entry(self, pair: Pair) -> Line:
        """Of the manifest."""
        window, split = pair.window, pair.scene.split
        return {
            "image": self._image(split, pair.name),
            "truth": self.format.truth(split, pair.name),
            "scene": pair.scene.name,
            "split": split,
            "window": [window.col_off, window.row_off, window.width, window.height],
            "objects": _counts(pair, self.dataset.legend),
        }


def _counts(pair: Pair, legend: Legend) -> dict[str, int]:
    found = np.bincount(pair.objects.whole.class_id, minlength=len(legend))
    return {c.name: int(found[c.id]) for c in legend.objects if found[c.id]}


def _chosen(name: str, share: float) -> bool:
    """True for that share of names, the same in every run."""
    return zlib.crc32(name.encode()) < share * 2**32


def _filled(array: NDArray[Any], window: Window) -> NDArray[Any]:
    """(…, h, w) grown by zeros, below and on the right, to the size of a window."""
    height, width = array.shape[-2:]
    lacking = [(0, window.height - height), (0, window.width - width)]
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + lacking) if np.any(lacking) else array


# Windows of a dataset as files for other tools: image and label pairs.

log = logging.getLogger(__name__)

_STATE, _PRODUCTS = "state", "products"

_FORMAT_OPTIONS = ("format", "image", "quality")
"""Fields of `ChipOptions` that do not change which windows are cut."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Chips that were exported."""

    folder: Path

    windows: dict[str, int]
    """By split."""

    objects: int
    """In all windows; one that several windows show counts in each."""

    told: dict[str, int]
    """What was left out of windows, or could not be said in the format → how often."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"counts": self.windows, "objects": self.objects, "told": self.told}

    def __str__(self) -> str:
        """A line for people."""
        splits = ", ".join(f"{split} {n:,}" for split, n in self.windows.items())
        told = "".join(f"; {n:,} {what}" for what, n in self.told.items())
        return f"{sum(self.windows.values()):,} windows ({splits}), {self.objects:,} objects{told}"


def chip(
    folder: StrPath,
    output: StrPath,
    *,
    chips: ChipOptions = ChipOptions(),
    splits: Sequence[str] = (),
    layer: str | None = None,
    run: BatchOptions = BatchOptions(),
    track: Track = silent,
) -> Tiles:
    """Export training chips of a dataset: image and label pairs for other tools.

    Parameters
    ----------
    folder
        Dataset folder.
    output
        Folder to write. ``docs/tiles.md`` describes its layout.
    chips
        Windows and formats.
    splits
        Splits to export. Default: all.
    layer
        Annotation layer. Default: quads for formats of quads, else outlines where the dataset has
        them.
    run
        Treatment of an existing folder, of interrupted runs and of scenes with errors.
    track
        Progress of an iterable.

    Raises
    ------
    DatasetError, ConfigError, OutputError, SceneError
    SkippedInputsError
        After the folder is complete, if scenes were skipped.
    """
    folder, output = Path(folder), Path(output)
    tiling, format, target = chips, chips.format, output.resolve()
    check_folder(output, overwrite=run.overwrite)
    dataset = Dataset.open(folder)
    check_fit(format, tiling, dataset)
    suffix = image_for(format, chips.image, dataset)
    layer = layer or layer_for(format, dataset)
    splits = tuple(dict.fromkeys(splits)) or dataset.splits
    scenes = [scene for split in splits for scene in dataset.split(split)]
    truth = dataset.annotations(layer, scenes=scenes)
    about: dict[str, Any] = {"dataset": folder.resolve().name, "truth": layer, "labels": format}
    cuts = {key: value for key, value in asdict(chips).items() if key not in _FORMAT_OPTIONS}
    about |= {"image": suffix, "quality": chips.quality if suffix == "jpg" else None, **cuts}
    report = ValidationReport(skip=run.skip_bad)
    with (
        open_work_folder(target, restart=run.restart) as scratch,
        _journal(scratch, {**about, "splits": splits}, dataset, output) as journal,
        Threads(run.jobs, track) as threads,
    ):
        cutter = Cutter(
            dataset=dataset,
            indexes={scene.name: AnnotationIndex(truth[scene.name]) for scene in scenes},
            tiling=tiling,
            format=FORMATS[format](dataset.legend),
            suffix=f".{suffix}",
            quality=chips.quality,
            products=scratch / _PRODUCTS,
            records=scratch / _STATE,
            check=threads.check,
        )
        cutter.make_folders(splits)
        parts = parts_of(scenes, tiling)
        done = _done(journal, parts, cutter)
        written = threads.run(
            partial(_write, cutter=cutter, journal=journal, lock=threading.Lock()),
            [part for part in parts if part.number not in done],
            "write windows",
            report,
            at_once=True,
        )
        whole = sorted([*done.values(), *written], key=attrgetter("number"))
        tiles = _finish(cutter, whole, splits, about, output)
        take_name(cutter.products, target)
    log.info("%s: %s", output, tiles)
    report.raise_skipped(output)
    return tiles


@contextmanager
def _journal(
    scratch: Path, about: dict[str, Any], dataset: Dataset, output: Path
) -> Iterator[Journal]:
    """Which parts are written; raises ConfigError when they are of another dataset, otherwise cut, or by
    another version of geoseg."""
    state = scratch / _STATE
    state.mkdir(exist_ok=True)
    drawn = (dataset.folder / ANNOTATIONS).stat()
    about["scenes"] = sha256(dataset.folder / DESCRIPTION)
    about["annotations"] = [drawn.st_size, drawn.st_mtime_ns]
    about["geoseg"] = __version__
    with open_journal(state / "journal", about, output=output) as journal:
        yield journal


def _done(journal: Journal, parts: Sequence[Part], cutter: Cutter) -> dict[int, Part]:
    """Parts that an interrupted run has written, as far as they are still there, by number."""
    numbers = {entry.number for entry in journal.read_entries()}
    return {number: parts[number] for number in numbers if cutter.is_whole(parts[number])}


def _write(part: Part, *, cutter: Cutter, journal: Journal, lock: threading.Lock) -> Part:
    try:
        cutter.write(part)
    except BaseException:
        cutter.remove(part)
        raise
    with lock:
        journal.append(
            JournalEntry(part.number, Window(0, 0, part.scene.width, part.scene.height), None)
        )
    return part


def _finish(
    cutter: Cutter,
    parts: Sequence[Part],
    splits: Sequence[str],
    about: dict[str, Any],
    output: Path,
) -> Tiles:
    """Write what concerns all windows."""
    records = [
        Records(split, [part for part in parts if part.scene.split == split], cutter.records)
        for split in splits
    ]
    told = sum((of.told() for of in records), Counter())
    windows = {of.split: sum(1 for _ in of.windows()) for of in records}
    objects = sum(sum(entry["objects"].values()) for of in records for _, entry in of.windows())
    tiles = Tiles(output, windows, objects, dict(told))
    write_manifest(cutter.products, {**about, **tiles.to_json()}, records)
    write_legend(cutter.products, cutter.dataset.legend)
    cutter.format.finish(cutter.products, records)
    return tiles
