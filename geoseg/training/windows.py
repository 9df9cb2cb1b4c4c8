"""The scenes of one split, read window by window, each with its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.legend import IGNORE
from geoseg.options import Difficult
from geoseg.raster.scene import open_scene
from geoseg.raster.tiles import grid
from geoseg.training.augmentation import warp


@dataclass(frozen=True, slots=True)
class View:
    """Where a window lies."""

    scene: int
    """Number of the scene in its split."""

    transform: Affine
    """Pixels of the scene → pixels of the window."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A window and its truth."""

    pixels: NDArray[np.uint8]
    """(size, size, bands); 0 where not valid"""

    labels: NDArray[np.uint8]
    """(size, size) class ids, IGNORE where not valid"""

    valid: NDArray[np.bool_]
    """(size, size)"""


class Scenes:
    """The scenes of one split with their annotations."""

    def __init__(
        self, dataset: Dataset, split: str, *, layer: str | None, difficult: Difficult
    ) -> None:
        self.scenes: Sequence[DatasetScene] = dataset.split(split)
        self.paths: list[Path] = [dataset.path(scene) for scene in self.scenes]
        annotations = dataset.annotations(layer, scenes=self.scenes)
        self.indexes = [
            AnnotationIndex(annotations.get(s.name, Annotations.empty())) for s in self.scenes
        ]
        self.legend, self.difficult = dataset.legend, difficult
        self._bands, self._dtype = dataset.bands, dataset.dtype

    def read(self, view: View, size: int) -> Sample:
        """A square of `size` pixels as `view` sees it."""
        scene = self.scenes[view.scene]
        corners = np.array([~view.transform @ corner for corner in _corners(size)])
        low = np.floor(corners.min(axis=0)).astype(int) - 1
        high = np.ceil(corners.max(axis=0)).astype(int) + 1
        low = low.clip(0, (scene.width - 1, scene.height - 1))
        high = high.clip(low + 1, (scene.width, scene.height))
        window = Window(*low.tolist(), *(high - low).tolist())
        pixels, valid = self._window(view.scene, window)
        placed = view.transform @ Affine.translation(*low.tolist())
        seen = warp(valid.view(np.uint8), placed, size, nearest=True) > 0
        labels = burn(
            self.indexes[view.scene].query_window(window),
            size,
            size,
            transform=view.transform,
            difficult=self.difficult,
        )
        labels[~seen] = IGNORE
        pixels = warp(pixels, placed, size)
        pixels = pixels.reshape(size, size, -1)  # OpenCV drops a single band's axis
        pixels[~seen] = 0
        return Sample(pixels, labels, seen)

    def objects_in(self, view: View, size: int) -> int:
        """How many objects touch what `read` would give."""
        area = shapely.Polygon([~view.transform @ corner for corner in _corners(size)])
        found = self.indexes[view.scene].query(area)
        return int((~found.difficult).sum()) if self.difficult == "drop" else len(found)

    def tiles(self, size: int, most: int) -> list[View]:
        """At most `most` windows, evenly spread over the scenes, for `read`."""
        every = [
            View(number, Affine.translation(-tile.core.col_off, -tile.core.row_off))
            for number, scene in enumerate(self.scenes)
            for tile in grid(scene.width, scene.height, core=size, margin=0, multiple=size)
        ]
        if len(every) <= most:
            return every
        return [every[i] for i in np.linspace(0, len(every) - 1, most).round().astype(int)]

    def _window(self, number: int, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels (h, w, bands) and valid (h, w)."""
        with open_scene(self.paths[number], bands=self._bands, dtype=self._dtype) as scene:
            pixels, valid = scene.read(window)
        return np.ascontiguousarray(np.moveaxis(pixels, 0, 2)), valid


class Objects:
    """The annotated objects of all scenes of a split that can be looked for, numbered from 0."""

    def __init__(self, scenes: Scenes) -> None:
        wanted = [
            np.flatnonzero(
                (i.annotations.class_id != IGNORE)
                & (~i.annotations.difficult | (scenes.difficult == "keep"))
            )
            for i in scenes.indexes
        ]
        self._indexes = scenes.indexes
        self._scene = np.repeat(np.arange(len(wanted)), [len(ranks) for ranks in wanted])
        self._rank = np.concatenate(wanted)
        classes = [
            i.annotations.class_id[ranks] for i, ranks in zip(scenes.indexes, wanted, strict=True)
        ]
        of = np.concatenate(classes)
        self.by_class = {int(c): np.flatnonzero(of == c) for c in np.unique(of)}
        """Class id → numbers of its objects; only classes that have any."""

    def __getitem__(self, number: int) -> tuple[int, Annotations]:
        """The scene that object `number` lies in, and the object alone."""
        scene, rank = int(self._scene[number]), int(self._rank[number])
        return scene, self._indexes[scene].annotations[[rank]]


def _corners(size: int) -> tuple[tuple[int, int], ...]:
    return (0, 0), (size, 0), (size, size), (0, size)
