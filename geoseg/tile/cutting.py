"""From a part of a scene to pairs of files."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations import Index
from geoseg.dataset import Dataset, DatasetScene
from geoseg.legend import Legend
from geoseg.scene import Scene, open_scene
from geoseg.tile.images import write_picture, write_raster
from geoseg.tile.pair import Format, Line, Pair
from geoseg.tile.records import Part, Recorder, is_complete, windows_of
from geoseg.tile.visible import labels_of, visible
from geoseg.tile.windows import Tiling, inside

EMPTY = "windows without objects were left out"
NO_DATA = "windows without data were left out"
HIDDEN = "objects are hardly visible in a window and were left out there"
UNKNOWN = "areas of which nobody knows what is there are not told"


@dataclass(frozen=True, slots=True)
class Cutter:
    """Writes the windows of parts, from many threads."""

    dataset: Dataset
    indexes: Mapping[str, Index]
    tiling: Tiling
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
            name = self.tiling.name(part.scene.name, window)
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
        name = tiling.name(scene.name, window)
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
