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
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.annotations import Annotations
from geoseg.dataset import SCENES, DatasetScene
from geoseg.files import replacing, write_lines
from geoseg.prepare.sources import Source
from geoseg.scene import SceneInfo

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
        write_lines(folder / JOURNAL, [_FORMAT, *self._done.values()])
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
        write_lines(self._folder / JOURNAL, [_FORMAT, *(self._done[s.name] for s in scenes)])
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
