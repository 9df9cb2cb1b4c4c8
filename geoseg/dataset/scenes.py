"""What was written, and of what: so that a later run writes only what has changed.

``journal`` in a dataset folder has a line for each scene: a fingerprint of everything that its pixels and
its counts depend on. The same file lets a run go on that was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from geoseg.annotations.burn import QUADS, AnnotationIndex, Annotations, burn
from geoseg.annotations.dota import read_dota
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.dataset.folder import SCENES, ClassCounts, Counts, DatasetScene
from geoseg.dataset.images import look_at_image, write_scene
from geoseg.dataset.placement import transforms
from geoseg.dataset.sources import Source
from geoseg.files import replacing, write_json_lines
from geoseg.legend import Legend
from geoseg.raster.scene import SceneInfo

JOURNAL = "journal"

_FORMAT = {"format": "geoseg prepare 1"}  # another number: scenes are written in another way
_COMPANIONS = (".msk", ".aux.xml")  # where GDAL looks for what is valid
_SAMPLE = 1 << 16  # bytes read of either end of a file

Pixels = dict[str, NDArray[np.int64]]
"""Layer name → (classes,) valid pixels of each class."""

log = logging.getLogger(__name__)


def fingerprint(
    source: Source,
    image: SceneInfo,
    truths: Mapping[str, Annotations],
    classes: int,
    crs: CRS | None,
) -> str:
    """Hexadecimal digest of what the pixels of a scene and its counts depend on, but its place.

    An image is known by its size, its time of change and both its ends.
    """
    digest = hashlib.sha256()
    for file in (source.image, *(Path(f"{source.image}{end}") for end in _COMPANIONS)):
        digest.update(repr(_state(file)).encode())
    what = (source.window, image.nodata, classes, crs.to_wkt() if crs else None)
    digest.update(repr(what).encode())
    for layer, objects in truths.items():
        digest.update(f"{layer} {len(objects)}".encode())
        digest.update(objects.class_id.tobytes())
        for wkb in shapely.to_wkb(objects.geometry):
            digest.update(wkb)
    return digest.hexdigest()


class Record:
    """The journal of a dataset in the making, and that of the one it is to replace."""

    def __init__(self, folder: Path, former: Path | None) -> None:
        self._folder, self._former = folder, former
        self._lock = threading.Lock()
        self._done = _entries(folder)
        self._before = _entries(former) if former else {}
        write_json_lines(folder / JOURNAL, [_FORMAT, *self._done.values()])
        self.reused = 0
        """Scenes that were not written again."""

    def reuse(self, scene: DatasetScene, key: str) -> Pixels | None:
        """Have the scene in the folder without writing it, and return its counts; None if that cannot be."""
        target = self._folder / scene.file
        for folder, entries in ((self._folder, self._done), (self._former, self._before)):
            entry = entries.get(scene.name)
            if folder is None or entry is None or entry["key"] != key:
                continue
            made = folder / scene.file
            if not made.is_file() or made.stat().st_size != entry["bytes"]:
                continue
            same_place = entry["transform"] == list(scene.transform)
            if made != target or not same_place:
                _take(made, target, None if same_place else Affine(*scene.transform))
            pixels = {name: np.array(n, np.int64) for name, n in entry["pixels"].items()}
            if folder is self._former or not same_place:
                self.add(scene, key, pixels)
            with self._lock:
                self.reused += 1
            return pixels
        return None

    def add(self, scene: DatasetScene, key: str, pixels: Pixels) -> None:
        """Take note of a scene that lies finished in the folder."""
        entry = {
            "scene": scene.name,
            "key": key,
            "bytes": (self._folder / scene.file).stat().st_size,
            "transform": list(scene.transform),
            "pixels": {layer: count.tolist() for layer, count in pixels.items()},
        }
        with self._lock, (self._folder / JOURNAL).open("a", encoding="utf-8") as journal:
            self._done[scene.name] = entry
            journal.write(json.dumps(entry) + "\n")

    def close(self, scenes: Collection[DatasetScene]) -> None:
        """Leave these scenes in the folder, and in the journal in their order."""
        files = {scene.file for scene in scenes}
        for path in (self._folder / SCENES).iterdir():
            if f"{SCENES}/{path.name}" not in files:
                path.unlink()
        write_json_lines(self._folder / JOURNAL, [_FORMAT, *(self._done[s.name] for s in scenes)])
        if self.reused:
            log.info("%d of %d scenes had not changed and were kept", self.reused, len(scenes))


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Scene name → its line, of a journal of ours; a line that a kill has cut does not count."""
    try:
        first, *lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    if first != json.dumps(_FORMAT):
        return {}
    entries = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        entries[entry["scene"]] = entry
    return entries


def _take(made: Path, target: Path, transform: Affine | None) -> None:
    """A scene of another dataset, or one that lies elsewhere now; it is written beside its new name first."""
    with replacing(target, overwrite=True) as scratch:
        if transform is None:
            try:
                os.link(made, scratch)
            except OSError:  # a file system without hard links
                shutil.copy2(made, scratch)
        else:
            shutil.copyfile(made, scratch)
            with rasterio.open(scratch, "r+") as scene:
                scene.transform = transform


def ends(file: Path) -> str:
    """Hexadecimal digest of the first and last 64 KiB of a file."""
    with file.open("rb") as opened:
        head = opened.read(_SAMPLE)
        opened.seek(max(0, os.fstat(opened.fileno()).st_size - _SAMPLE))
        return hashlib.sha256(head + opened.read(_SAMPLE)).hexdigest()


def _state(file: Path) -> tuple[int, int, str] | None:
    try:
        stat = file.stat()
        return stat.st_size, stat.st_mtime_ns, ends(file)
    except FileNotFoundError:
        return None


# The way of one scene into the dataset: looked at, placed, written.

Truths = Mapping[str, Annotations]
"""Layer name → annotations of one scene, in its pixels."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image and its annotations, looked at."""

    source: Source
    image: SceneInfo

    truths: Truths

    legend: Legend
    """What the class ids of `truths` mean."""

    gsd: float | None = None
    """Metres per pixel, where the annotations or a dataset say so."""

    image_source: str | None = None

    files: Mapping[str, Path] = field(default_factory=dict)
    """Layer name → where its annotations stand, if that is not the source's label file."""

    def file(self, layer: str) -> Path:
        """Where the annotations of a layer stand."""
        return self.files.get(layer, self.source.labels)


@dataclass(frozen=True, slots=True)
class Placed:
    """An input, and where it lies."""

    input: Input
    transform: Affine
    """From pixels to map coordinates."""


@dataclass(frozen=True, slots=True)
class Written:
    """A scene of the dataset, its annotations and their counts."""

    scene: DatasetScene
    truths: Truths
    tallies: Mapping[str, Tally]


def look(source: Source, *, legend: Legend, report: ValidationReport) -> Input:
    """Read the DOTA labels of an image, and what it says of itself."""
    labels = read_dota(source.labels, legend)
    image = look_at_image(source.image)
    for kind, done, count in (
        (IssueKind.INVALID_RING, Action.REPAIRED, labels.repaired),
        (IssueKind.NO_AREA, Action.LEFT_OUT, labels.skipped),
    ):
        report.add(kind, source.labels, done, scene=source.name, count=count, note=QUADS)
    truths = {QUADS: labels.annotations}
    return Input(source, image, truths, legend, labels.gsd, labels.image_source)


def place(inputs: Sequence[Input]) -> list[Placed]:
    """Give every input its place, largest scene first."""
    found = transforms(
        [i.image for i in inputs],
        [i.gsd for i in inputs],
        [list(i.truths.values()) for i in inputs],
    )
    placed = [Placed(*parts) for parts in zip(inputs, found, strict=True)]
    # so that at the end no thread is alone with a large one
    return sorted(placed, key=lambda p: -p.input.image.width * p.input.image.height)


def write(
    placed: Placed,
    *,
    folder: Path,
    crs: CRS | None,
    legend: Legend,
    record: Record,
    check: Callable[[], None],
) -> Written:
    """Write the scene into the dataset `folder` and count its pixels; `check` is called often.

    What `record` has of it, unchanged, is not made again.
    """
    source, image, truths = placed.input.source, placed.input.image, placed.input.truths
    scene = DatasetScene(
        name=source.name,
        file=f"{SCENES}/{source.name}.tif",
        split=source.split or "",
        width=image.width,
        height=image.height,
        pixel_size_m=image.pixel_size_m if crs else placed.input.gsd,
        image_source=placed.input.image_source,
        transform=tuple(placed.transform[:6]),
    )
    key = fingerprint(source, image, truths, len(legend), crs)
    pixels = record.reuse(scene, key)
    if pixels is None:
        counting = {layer: Counting(objects, len(legend)) for layer, objects in truths.items()}

        def each(window: Window, valid: NDArray[np.bool_]) -> None:
            check()
            for counter in counting.values():
                counter.add(window, valid)

        write_scene(
            source.image,
            folder / scene.file,
            transform=placed.transform,
            crs=crs,
            each=each,
            window=source.window,
        )
        pixels = {layer: counter.pixels for layer, counter in counting.items()}
        record.add(scene, key, pixels)
    tallies = {n: Tally.of(objects, pixels[n]) for n, objects in truths.items()}
    return Written(scene, truths, tallies)


# How often each class occurs, counted while scenes are written.


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one scene and one truth, by class id."""

    objects: NDArray[np.int64]
    pixels: NDArray[np.int64]

    @staticmethod
    def of(annotations: Annotations, pixels: NDArray[np.int64]) -> Tally:
        """Objects counted, pixels as given."""
        return Tally(_by_class(annotations.class_id, len(pixels)), pixels)


class Counting:
    """Counts the pixels of one scene and one truth, window by window."""

    def __init__(self, annotations: Annotations, classes: int) -> None:
        self.pixels: NDArray[np.int64] = np.zeros(classes, np.int64)
        self._index = AnnotationIndex(annotations)

    def add(self, window: Window, valid: NDArray[np.bool_]) -> None:
        """Count the valid pixels of a window."""
        labels = burn(
            self._index.query_window(window),
            *valid.shape,
            transform=Affine.translation(-window.col_off, -window.row_off),
        )
        self.pixels += _by_class(labels[valid], len(self.pixels))


def class_counts(tallies: Sequence[Tally], splits: Sequence[str], legend: Legend) -> ClassCounts:
    """Sums over all scenes and over those of each split; `splits` names the one of each tally."""
    by_split: Mapping[str, list[Tally]] = {
        split: [t for t, s in zip(tallies, splits, strict=True) if s == split]
        for split in sorted(set(splits))
    }
    whole = _sum(tallies, legend)
    parts = {split: _sum(part, legend) for split, part in by_split.items()}
    return ClassCounts(whole.objects, whole.pixels, parts)


def _by_class(labels: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(classes,) how often each occurs; IGNORE is none."""
    counts: NDArray[np.int64] = np.bincount(labels, minlength=classes)[:classes]
    return counts


def _sum(tallies: Sequence[Tally], legend: Legend) -> Counts:
    objects = np.sum([tally.objects for tally in tallies], axis=0)
    pixels = np.sum([tally.pixels for tally in tallies], axis=0)
    return Counts(
        {c.name: int(objects[c.id]) for c in legend.objects},
        {c.name: int(pixels[c.id]) for c in legend},
    )
