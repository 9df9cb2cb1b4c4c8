"""Export training chips of a dataset: image and label pairs for other tools."""

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
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg._version import __version__
from geoseg.annotations.burn import AnnotationIndex
from geoseg.annotations.validation import ValidationReport
from geoseg.dataset.chip_formats import (
    FORMATS,
    ChipFormat,
    check_options,
    choose_chip_stretch,
    choose_image_format,
    choose_layer,
    write_image,
)
from geoseg.dataset.chip_records import (
    ChipPart,
    Entry,
    PartRecorder,
    SplitRecords,
    check_folder,
    divide_scenes,
    is_complete,
    publish_chips,
    read_entries,
    write_legend,
    write_manifest,
)
from geoseg.dataset.chips import (
    Chip,
    burn_chip,
    clip_window,
    format_chip_name,
    select_objects,
    to_box,
)
from geoseg.dataset.folder import ANNOTATIONS, DESCRIPTION, Dataset, DatasetScene
from geoseg.dataset.pool import InputPool
from geoseg.files import sha256
from geoseg.inference.journal import Journal, JournalEntry, open_journal
from geoseg.legend import Legend
from geoseg.options import BatchOptions, ChipOptions, StrPath
from geoseg.progress import Track, silent
from geoseg.raster.bands import RGB
from geoseg.raster.scene import Scene
from geoseg.raster.stretch import Stretch
from geoseg.work_folder import open_work_folder

EMPTY = "chips without objects were left out"
NO_DATA = "chips without data were left out"
HIDDEN = "objects are hardly visible in a chip and were left out there"
UNKNOWN = "ignored areas are not represented in the format"
NOT_ANNOTATED = "chips outside the annotated area were left out"
OUTSIDE = "chips have pixels outside the annotated area, which the format does not represent"

_STATE, _PRODUCTS = "state", "products"

_FORMAT_OPTIONS = ("format", "image", "quality")
"""Fields of `ChipOptions` that do not change which windows are cut."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChipSummary:
    """Chips that were exported."""

    folder: Path

    chips: dict[str, int]
    """Number of chips by split."""

    objects: int
    """Number of objects in all chips; an object in several chips counts in each."""

    notes: dict[str, int]
    """What was left out or is not represented in the format, with the number of chips or objects."""

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON data."""
        return {"counts": self.chips, "objects": self.objects, "notes": self.notes}

    def __str__(self) -> str:
        splits = ", ".join(f"{split} {n:,}" for split, n in self.chips.items())
        notes = "".join(f"; {n:,} {text}" for text, n in self.notes.items())
        return f"{sum(self.chips.values()):,} chips ({splits}), {self.objects:,} objects{notes}"


def chip(
    folder: StrPath,
    output: StrPath,
    *,
    chips: ChipOptions = ChipOptions(),
    splits: Sequence[str] = (),
    layer: str | None = None,
    run: BatchOptions = BatchOptions(),
    track: Track = silent,
) -> ChipSummary:
    """Export training chips of a dataset: image and label pairs for other tools.

    Parameters
    ----------
    folder
        Dataset folder.
    output
        Folder to write; the documentation of ``geoseg chip`` describes its layout.
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

    Returns
    -------
    ChipSummary
        Numbers of chips and objects.

    Raises
    ------
    DatasetError, ConfigError, OutputError, SceneError
    SkippedInputsError
        After the folder is complete, if scenes were skipped.
    """
    folder, output = Path(folder), Path(output)
    check_folder(output, overwrite=run.overwrite)
    dataset = Dataset.open(folder)
    check_options(chips, dataset)
    suffix = choose_image_format(chips, dataset)
    layer = layer or choose_layer(chips.format, dataset)
    splits = tuple(dict.fromkeys(splits)) or dataset.splits
    scenes = [scene for split in splits for scene in dataset.split(split)]
    annotations = dataset.annotations(layer, scenes=scenes)
    head = _describe_export(folder, layer, chips, suffix)
    report = ValidationReport(skip=run.skip_bad)
    with (
        open_work_folder(output.resolve(), restart=run.restart) as scratch,
        _open_journal(scratch, {**head, "splits": splits}, dataset, output) as journal,
        InputPool(run.jobs, track) as pool,
    ):
        writer = ChipWriter(
            dataset=dataset,
            indexes={scene.name: AnnotationIndex(annotations[scene.name]) for scene in scenes},
            options=chips,
            format=FORMATS[chips.format](dataset.legend),
            suffix=f".{suffix}",
            stretch=choose_chip_stretch(chips, dataset),
            products=scratch / _PRODUCTS,
            records=scratch / _STATE,
            check=pool.raise_if_cancelled,
        )
        writer.make_folders(splits)
        parts = _write_parts(writer, divide_scenes(scenes, chips), journal, pool, report)
        summary = _finish(writer, parts, splits, head, output)
        publish_chips(writer.products, output.resolve())
    log.info("%s: %s", output, summary)
    report.raise_skipped(output)
    return summary


def _describe_export(folder: Path, layer: str, chips: ChipOptions, suffix: str) -> dict[str, Any]:
    """Return the head of the manifest."""
    windows = {key: value for key, value in asdict(chips).items() if key not in _FORMAT_OPTIONS}
    return {
        "dataset": folder.resolve().name,
        "truth": layer,
        "labels": chips.format,
        "image": suffix,
        "quality": chips.quality if suffix == "jpg" else None,
        **windows,
    }


@contextmanager
def _open_journal(
    scratch: Path, head: dict[str, Any], dataset: Dataset, output: Path
) -> Iterator[Journal]:
    """Open the journal of written parts.

    Raises ConfigError if an interrupted run had another dataset, other options or another version of geoseg.
    """
    state = scratch / _STATE
    state.mkdir(exist_ok=True)
    annotations = (dataset.folder / ANNOTATIONS).stat()
    key = {
        **head,
        "scenes": sha256(dataset.folder / DESCRIPTION),
        "annotations": [annotations.st_size, annotations.st_mtime_ns],
        "geoseg": __version__,
    }
    with open_journal(state / "journal", key, output=output) as journal:
        yield journal


def _find_complete(
    journal: Journal, parts: Sequence[ChipPart], writer: ChipWriter
) -> dict[int, ChipPart]:
    """Return the parts that an interrupted run has written and that are still complete, by number."""
    numbers = {entry.number for entry in journal.read_entries()}
    return {number: parts[number] for number in numbers if writer.is_complete(parts[number])}


def _write_parts(
    writer: ChipWriter,
    parts: Sequence[ChipPart],
    journal: Journal,
    pool: InputPool,
    report: ValidationReport,
) -> list[ChipPart]:
    """Write the parts that are not complete; return all complete parts in their order."""
    done = _find_complete(journal, parts, writer)
    written = pool.map(
        partial(_write_part, writer=writer, journal=journal, lock=threading.Lock()),
        [part for part in parts if part.number not in done],
        "write chips",
        report,
        stop_at_first=True,
    )
    return sorted([*done.values(), *written], key=attrgetter("number"))


def _write_part(
    part: ChipPart, *, writer: ChipWriter, journal: Journal, lock: threading.Lock
) -> ChipPart:
    try:
        writer.write_part(part)
    except BaseException:
        writer.remove_part(part)
        raise
    with lock:
        window = Window(0, 0, part.scene.width, part.scene.height)
        journal.append(JournalEntry(part.number, window, None))
    return part


def _finish(
    writer: ChipWriter,
    parts: Sequence[ChipPart],
    splits: Sequence[str],
    head: Mapping[str, Any],
    output: Path,
) -> ChipSummary:
    """Write the files that concern all chips."""
    records = [
        SplitRecords(split, [p for p in parts if p.scene.split == split], writer.records)
        for split in splits
    ]
    notes = sum((split.sum_notes() for split in records), Counter())
    counts = {split.split: sum(1 for _ in split.read_entries()) for split in records}
    entries = (entry for split in records for _, entry in split.read_entries())
    objects = sum(sum(entry["objects"].values()) for entry in entries)
    summary = ChipSummary(output, counts, objects, dict(notes))
    write_manifest(writer.products, {**head, **summary.to_json()}, records)
    write_legend(writer.products, writer.dataset.legend)
    writer.format.finish(writer.products, records)
    return summary


@dataclass(frozen=True, slots=True)
class ChipWriter:
    """Writes the chips of parts, from several threads."""

    dataset: Dataset
    indexes: Mapping[str, AnnotationIndex]
    options: ChipOptions
    format: ChipFormat

    suffix: str
    """Suffix of images: ``.png``, ``.jpg`` or ``.tif``."""

    stretch: Stretch | None
    """Stretch of images to 8-bit pictures; None: pixels are kept."""

    products: Path
    """Folder of the chips."""

    records: Path
    """Folder of the records of parts."""

    check: Callable[[], None]
    """Called before each chip; raises to cancel the work."""

    def make_folders(self, splits: Iterable[str]) -> None:
        """Create the folders of images and annotations."""
        for split in splits:
            for file in self._chip_files(split, ""):
                file.parent.mkdir(parents=True, exist_ok=True)

    def write_part(self, part: ChipPart) -> None:
        """Write the chips of a part. Raises SceneError and OutputError."""
        dataset, scene = self.dataset, part.scene
        with (
            dataset.open_scene(scene) as opened,
            PartRecorder(part, self.records) as recorder,
        ):
            for window in part.windows:
                self.check()
                chip = self._cut_chip(opened, scene, window, recorder.notes)
                if chip is not None:
                    self._write_chip(chip, recorder)

    def is_complete(self, part: ChipPart) -> bool:
        """Return False if a file of a written part is missing or empty, as after a power failure."""
        entries = read_entries(part, self.records)
        try:
            return is_complete(part, self.records) and all(map(self._has_files, entries))
        except OSError:
            return False

    def remove_part(self, part: ChipPart) -> None:
        """Remove the files of a part."""
        for window in part.windows:
            name = format_chip_name(self.options, part.scene.name, window)
            for file in self._chip_files(part.scene.split, name):
                file.unlink(missing_ok=True)

    def _has_files(self, entry: Entry) -> bool:
        """Check the files of a chip. Raises OSError if one is missing."""
        image, labels = self.products / entry["image"], self.products / entry["truth"]
        return image.stat().st_size > 0 and self.format.is_complete(labels, entry)

    def _chip_files(self, split: str, name: str) -> tuple[Path, Path]:
        """Return the image and the annotation file of a chip."""
        return (
            self.products / self._image_file(split, name),
            self.products / self.format.annotation_file(split, name),
        )

    def _image_file(self, split: str, name: str) -> str:
        return f"{split}/images/{name}{self.suffix}"

    def _cut_chip(
        self, opened: Scene, scene: DatasetScene, window: Window, notes: Counter[str]
    ) -> Chip | None:
        """Read a chip; None, with the reason in `notes`, if it is left out."""
        index = self.indexes[scene.name]
        inside = clip_window(window, scene.width, scene.height)
        name = format_chip_name(self.options, scene.name, window)
        area, box = index.annotations.area, to_box(inside)
        if area is not None and not shapely.area(shapely.intersection(area, box)):
            notes[NOT_ANNOTATED] += 1
            return None
        objects = select_objects(index, inside, self.options)
        if not len(objects) and not _is_sampled(name, self.options.empty):
            notes[EMPTY] += 1
            return None
        pixels, valid = opened.read(inside)
        if not valid.any():
            notes[NO_DATA] += 1
            return None
        notes[HIDDEN] += objects.hidden
        if not self.format.has_ignore:
            notes[UNKNOWN] += objects.unknown
            notes[OUTSIDE] += area is not None and not shapely.covers(area, box)
        names = self.dataset.band_names
        if self.stretch is not None:
            pixels = _apply_stretch(self.stretch, pixels, valid)
            names = RGB
        pixels, valid = _pad(pixels, window), _pad(valid, window)
        labels = partial(burn_chip, index, inside, valid, self.options)
        crs = self.dataset.crs
        return Chip(name, scene, crs, window, pixels, valid, objects, labels, notes, names)

    def _write_chip(self, chip: Chip, recorder: PartRecorder) -> None:
        entry = self._describe_chip(chip)
        write_image(self.products / entry["image"], chip, quality=self.options.quality)
        for data in self.format.write(chip, self.products / entry["truth"]):
            recorder.collect(data)
        recorder.add_chip(entry)

    def _describe_chip(self, chip: Chip) -> Entry:
        """Return the manifest entry of a chip."""
        window, split = chip.window, chip.scene.split
        return {
            "image": self._image_file(split, chip.name),
            "truth": self.format.annotation_file(split, chip.name),
            "scene": chip.scene.name,
            "split": split,
            "window": [window.col_off, window.row_off, window.width, window.height],
            "objects": _count_objects(chip, self.dataset.legend),
        }


def _count_objects(chip: Chip, legend: Legend) -> dict[str, int]:
    counts = np.bincount(chip.objects.whole.class_id, minlength=len(legend))
    return {c.name: int(counts[c.id]) for c in legend.objects if counts[c.id]}


def _apply_stretch(
    stretch: Stretch, pixels: NDArray[Any], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Convert (bands, h, w) pixels to (3, h, w) red, green and blue; black where not valid."""
    picture = stretch.apply(np.moveaxis(pixels, 0, -1))
    picture[~valid] = 0
    return np.moveaxis(picture, -1, 0)


def _is_sampled(name: str, share: float) -> bool:
    """Return True for that share of names, the same in every run."""
    return zlib.crc32(name.encode()) < share * 2**32


def _pad(array: NDArray[Any], window: Window) -> NDArray[Any]:
    """Pad a (..., h, w) array with zeros, below and on the right, to the size of a window."""
    height, width = array.shape[-2:]
    missing = [(0, window.height - height), (0, window.width - width)]
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + missing) if np.any(missing) else array
