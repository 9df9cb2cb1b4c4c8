"""Windows of a dataset as files for other tools: image and label pairs."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from rasterio.windows import Window

import geoseg
from geoseg.annotations import Index
from geoseg.dataset import ANNOTATIONS, DESCRIPTION, Dataset
from geoseg.engine.journal import Journal, Record, open_journal
from geoseg.files import sha256
from geoseg.prepare.findings import Findings
from geoseg.prepare.threads import Threads
from geoseg.progress import Track, silent
from geoseg.tile.cutting import Cutter
from geoseg.tile.formats import FORMATS, check_fit, image_for, layer_for
from geoseg.tile.manifest import write_legend, write_manifest
from geoseg.tile.place import check_folder, take_name
from geoseg.tile.records import Part, Records, parts_of
from geoseg.tile.windows import Tiling
from geoseg.unfinished import unfinished

__all__ = ["FORMATS", "Tiles", "Tiling", "tile"]

log = logging.getLogger(__name__)

_STATE, _PRODUCTS = "state", "products"


@dataclass(frozen=True, slots=True)
class Tiles:
    """What `tile` has made."""

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


def tile(
    folder: Path,
    output: Path,
    *,
    format: str = "png",
    tiling: Tiling | None = None,
    splits: Sequence[str] = (),
    layer: str | None = None,
    image: str | None = None,
    quality: int = 95,
    skip_bad: bool = False,
    jobs: int | None = None,
    restart: bool = False,
    overwrite: bool = False,
    track: Track = silent,
) -> Tiles:
    """Write windows of the dataset `folder` as files for other tools into the folder `output`.

    `format` is one of `FORMATS`, `splits` are those to write (default: all), `layer` is the truth (default:
    quads for formats of quads, else the best there is). `image` is ``png``, ``jpg`` (of `quality` 1 to 100)
    or ``tif``, the only one that takes any number of bands and any type. ``docs/tiles.md`` tells what lies
    where.

    A run that was interrupted goes on where it was, unless `restart`. Scenes at fault stop the work, or with
    `skip_bad` are left out and listed by a SkippedInputsError once the folder is complete. Raises
    DatasetError, ConfigError, OutputError, SceneError.
    """
    tiling, target = tiling or Tiling(), output.resolve()
    check_folder(output, overwrite=overwrite)
    dataset = Dataset.open(folder)
    check_fit(format, tiling, dataset)
    suffix = image_for(format, image, dataset)
    layer = layer or layer_for(format, dataset)
    splits = tuple(dict.fromkeys(splits)) or dataset.splits
    scenes = [scene for split in splits for scene in dataset.split(split)]
    truth = dataset.annotations(layer, scenes=scenes)
    about: dict[str, Any] = {"dataset": folder.resolve().name, "truth": layer, "labels": format}
    about |= {"image": suffix, "quality": quality if suffix == "jpg" else None, **asdict(tiling)}
    findings = Findings(skip=skip_bad)
    with (
        unfinished(target, restart=restart) as scratch,
        _journal(scratch, {**about, "splits": splits}, dataset, output) as journal,
        Threads(jobs, track) as threads,
    ):
        cutter = Cutter(
            dataset=dataset,
            indexes={scene.name: Index(truth[scene.name]) for scene in scenes},
            tiling=tiling,
            format=FORMATS[format](dataset.legend),
            suffix=f".{suffix}",
            quality=quality,
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
            findings,
            at_once=True,
        )
        whole = sorted([*done.values(), *written], key=attrgetter("number"))
        tiles = _finish(cutter, whole, splits, about, output)
        take_name(cutter.products, target)
    log.info("%s: %s", output, tiles)
    findings.tell(output)
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
    about["geoseg"] = geoseg.__version__
    with open_journal(state / "journal", about, output=output) as journal:
        yield journal


def _done(journal: Journal, parts: Sequence[Part], cutter: Cutter) -> dict[int, Part]:
    """Parts that an interrupted run has written, as far as they are still there, by number."""
    numbers = {record.number for record in journal.records()}
    return {number: parts[number] for number in numbers if cutter.is_whole(parts[number])}


def _write(part: Part, *, cutter: Cutter, journal: Journal, lock: threading.Lock) -> Part:
    try:
        cutter.write(part)
    except BaseException:
        cutter.remove(part)
        raise
    with lock:
        journal.add(Record(part.number, Window(0, 0, part.scene.width, part.scene.height), None))
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
