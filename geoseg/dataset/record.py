"""Journal of the files of a dataset, by which a later run writes only files whose input has changed.

``journal`` in a dataset folder has a line for each GeoTIFF: a fingerprint of everything that its pixels and the counts
of its scenes depend on. It also lets an interrupted run be continued.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.dataset.folder import SCENES, DatasetScene
from geoseg.dataset.sources import SourceScene
from geoseg.files import replacing, write_json_lines
from geoseg.raster.checks import list_parts
from geoseg.raster.histogram import Histogram
from geoseg.raster.scene import SceneInfo

JOURNAL = "journal"

_FORMAT = {"format": "geoseg prepare 3"}  # to be changed with the way scenes are written
_SIDECARS = (".msk", ".aux.xml")  # where GDAL reads masks and nodata from
_SAMPLE = 1 << 16  # bytes read at either end of a file

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class SceneCounts:
    """Counts of the valid pixels of a scene."""

    pixels: Mapping[str, NDArray[np.int64]]
    """(classes,) pixels of each class, by annotation layer."""

    values: tuple[Histogram, ...]
    """Values of each band."""

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON data."""
        return {
            "pixels": {layer: counts.tolist() for layer, counts in self.pixels.items()},
            "values": [band.to_json() for band in self.values],
        }

    @classmethod
    def from_json(cls, data: Any) -> SceneCounts:
        """Read JSON data from `to_json`."""
        pixels = {layer: np.array(counts, np.int64) for layer, counts in data["pixels"].items()}
        return cls(pixels, tuple(map(Histogram.from_json, data["values"])))


def compute_fingerprint(
    scenes: Sequence[SourceScene], classes: int, band_names: Sequence[str], crs: CRS | None
) -> str:
    """Return a hexadecimal digest of everything that the pixels and counts of the scenes of an image depend on.

    Their position is not part of it. Images are compared by size, time of modification and their ends.
    """
    image = scenes[0].whole or scenes[0].image
    digest = hashlib.sha256()
    for file in _list_files(image):
        digest.update(repr(_read_state(file)).encode())
    common = (
        image.nodata,
        classes,
        crs.to_wkt() if crs else None,
        image.indexes,
        tuple(band_names),
    )
    digest.update(repr(common).encode())
    for scene in scenes:
        digest.update(repr((scene.name, scene.window)).encode())
        if scene.area is not None:
            digest.update(shapely.to_wkb(scene.area))
        for layer, objects in scene.layers.items():
            digest.update(f"{layer} {len(objects)}".encode())
            digest.update(objects.class_id.tobytes())
            for wkb in shapely.to_wkb(objects.geometry):
                digest.update(wkb)
    return digest.hexdigest()


class BuildJournal:
    """Journals of the dataset that is written and of the one that it replaces.

    Parameters
    ----------
    output
        Name of the dataset, for messages.
    folder
        Folder of the new dataset, perhaps with scenes of an interrupted run.
    former
        Dataset to be replaced, if its scenes may be reused.
    """

    def __init__(self, output: Path, folder: Path, former: Path | None) -> None:
        self.output, self.folder, self._former = output, folder, former
        self._lock = threading.Lock()
        self._entries = _read_entries(folder)
        self._former_entries = _read_entries(former) if former else {}
        write_json_lines(folder / JOURNAL, [_FORMAT, *self._entries.values()])
        self.reused = 0
        """Number of scenes that were not written again."""

    def reuse(
        self, file: str, key: str, transform: Sequence[float]
    ) -> dict[str, SceneCounts] | None:
        """Take an unchanged file from an interrupted run or the former dataset.

        Parameters
        ----------
        file
            Path of the GeoTIFF in the new dataset.
        key
            Fingerprint of its scenes.
        transform
            Its transform.

        Returns
        -------
        dict or None
            Counts by scene; None if there is no unchanged file.
        """
        target = self.folder / file
        for folder, entries in (
            (self.folder, self._entries),
            (self._former, self._former_entries),
        ):
            entry = entries.get(file)
            if folder is None or entry is None or entry["key"] != key:
                continue
            source = folder / file
            if not source.is_file() or source.stat().st_size != entry["bytes"]:
                continue
            same_place = entry["transform"] == list(transform)
            if source != target or not same_place:
                _copy_scene(source, target, None if same_place else Affine(*transform))
            counts = {name: SceneCounts.from_json(of) for name, of in entry["counts"].items()}
            if folder is self._former or not same_place:
                self.add(file, key, transform, counts)
            with self._lock:
                self.reused += len(counts)
            return counts
        return None

    def add(
        self, file: str, key: str, transform: Sequence[float], counts: Mapping[str, SceneCounts]
    ) -> None:
        """Add a file that is complete in the folder."""
        entry = {
            "file": file,
            "key": key,
            "bytes": (self.folder / file).stat().st_size,
            "transform": list(transform),
            "counts": {scene: of.to_json() for scene, of in counts.items()},
        }
        with (
            self._lock,
            (self.folder / JOURNAL).open("a", encoding="utf-8", newline="\n") as journal,
        ):
            self._entries[file] = entry
            journal.write(json.dumps(entry) + "\n")

    def close(self, scenes: Collection[DatasetScene]) -> None:
        """Remove the files of other scenes, and write the entries of these in their order."""
        files = dict.fromkeys(scene.file for scene in scenes)
        for path in (self.folder / SCENES).iterdir():
            if f"{SCENES}/{path.name}" not in files:
                path.unlink()
        entries = (self._entries[file] for file in files)
        write_json_lines(self.folder / JOURNAL, [_FORMAT, *entries])
        if self.reused:
            log.info("%d of %d scenes are unchanged and were reused", self.reused, len(scenes))


def _read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the entries of a journal by file; truncated lines are ignored."""
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
        entries[entry["file"]] = entry
    return entries


def _copy_scene(source: Path, target: Path, transform: Affine | None) -> None:
    """Link or copy a scene, or copy it and set its transform; complete before it gets its name."""
    with replacing(target, overwrite=True) as scratch:
        if transform is None:
            try:
                os.link(source, scratch)
            except OSError:  # a file system without hard links
                shutil.copy2(source, scratch)
        else:
            shutil.copyfile(source, scratch)
            with rasterio.open(scratch, "r+") as scene:
                scene.transform = transform


def _list_files(image: SceneInfo) -> Iterator[Path]:
    """Yield the files that an image is read from."""
    file = Path(image.path)
    for part in (file, *list_parts(file)):
        yield from (Path(f"{part}{suffix}") for suffix in ("", *_SIDECARS))


def hash_ends(file: Path) -> str:
    """Return a hexadecimal digest of the first and last 64 KiB of a file."""
    with file.open("rb") as opened:
        head = opened.read(_SAMPLE)
        opened.seek(max(0, os.fstat(opened.fileno()).st_size - _SAMPLE))
        return hashlib.sha256(head + opened.read(_SAMPLE)).hexdigest()


def _read_state(file: Path) -> tuple[int, int, str] | None:
    try:
        stat = file.stat()
        return stat.st_size, stat.st_mtime_ns, hash_ends(file)
    except FileNotFoundError:
        return None
