"""Training windows: sample n of a run is a function of (seed, n) alone.

So a run that was killed and resumed sees the same windows as one that was not, in whatever order and on
however many threads they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.random import Generator
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations import Annotations, Difficult, Index, burn
from geoseg.dataset import Dataset, DatasetScene
from geoseg.grid import grid
from geoseg.learn.augment import jitter, orientation, warp
from geoseg.learn.config import Augment
from geoseg.legend import IGNORE


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
    """The scenes of one split with their annotations, read window by window."""

    def __init__(
        self, dataset: Dataset, split: str, *, layer: str | None, difficult: Difficult
    ) -> None:
        self.scenes: Sequence[DatasetScene] = dataset.split(split)
        self.paths: list[Path] = [dataset.path(scene) for scene in self.scenes]
        annotations = dataset.annotations(layer)
        self.indexes = [Index(annotations.get(s.name, Annotations.empty())) for s in self.scenes]
        self.difficult = difficult

    def read(self, number: int, transform: Affine, size: int) -> Sample:
        """A square of `size` pixels of scene `number`, seen through `transform` (pixels of the scene →
        pixels of the square)."""
        scene = self.scenes[number]
        corners = [~transform @ corner for corner in ((0, 0), (size, 0), (0, size), (size, size))]
        low = np.floor(np.min(corners, axis=0)).astype(int) - 1
        high = np.ceil(np.max(corners, axis=0)).astype(int) + 1
        low = low.clip(0, (scene.width - 1, scene.height - 1))
        high = high.clip(low + 1, (scene.width, scene.height))
        window = Window(*low.tolist(), *(high - low).tolist())
        pixels, valid = read_window(self.paths[number], window)
        placed = transform @ Affine.translation(*low.tolist())
        seen = warp(valid, placed, size, nearest=True) > 0
        labels = burn(
            self.indexes[number].window(window),
            size,
            size,
            transform=transform,
            difficult=self.difficult,
        )
        labels[~seen] = IGNORE
        pixels = warp(pixels, placed, size)
        pixels = pixels.reshape(size, size, -1)  # OpenCV drops a single band's axis
        pixels[~seen] = 0
        return Sample(pixels, labels, seen)

    def tiles(self, size: int, most: int) -> list[tuple[int, Affine]]:
        """At most `most` windows, evenly spread over the scenes, for `read`."""
        every = [
            (number, Affine.translation(-tile.core.col_off, -tile.core.row_off))
            for number, scene in enumerate(self.scenes)
            for tile in grid(scene.width, scene.height, core=size, margin=0, multiple=size)
        ]
        if len(every) <= most:
            return every
        return [every[i] for i in np.linspace(0, len(every) - 1, most).round().astype(int)]


class Sampler:
    """Draws training windows."""

    def __init__(
        self, scenes: Scenes, *, seed: int, size: int, balanced: float, augment: Augment
    ) -> None:
        self.scenes, self.seed, self.size = scenes, seed, size
        self.balanced, self.augment = balanced, augment
        areas = np.array([s.width * s.height for s in scenes.scenes], np.float64)
        self._by_area = areas.cumsum() / areas.sum()
        counts = [len(index.annotations) for index in scenes.indexes]
        self._scene_of = np.repeat(np.arange(len(counts)), counts)
        self._rank_in_scene = np.concatenate([np.arange(n) for n in counts])
        classes = np.concatenate([i.annotations.class_id for i in scenes.indexes])
        self._objects_by_class = [np.flatnonzero(classes == c) for c in np.unique(classes)]

    def __call__(self, n: int) -> Sample:
        """Sample number `n` of the run."""
        rng = np.random.default_rng((self.seed, n))
        number, centre = self._place(rng)
        scene = self.scenes.scenes[number]
        turned = orientation(rng, self.augment)
        reach = self.size / 2 / np.sqrt(abs(turned.determinant))
        x, y = (
            np.clip(value, reach, length - reach) if length > 2 * reach else length / 2
            for value, length in zip(centre, (scene.width, scene.height), strict=True)
        )
        half = Affine.translation(self.size / 2, self.size / 2)
        transform = half @ turned @ Affine.translation(-round(x), -round(y))
        sample = self.scenes.read(number, transform, self.size)
        pixels = jitter(rng, sample.pixels, self.augment)
        pixels[~sample.valid] = 0
        return Sample(pixels, sample.labels, sample.valid)

    def _place(self, rng: Generator) -> tuple[int, tuple[float, float]]:
        """A scene, and the point in it around which the window lies."""
        if rng.random() < self.balanced and self._objects_by_class:
            chosen = rng.choice(self._objects_by_class[rng.integers(len(self._objects_by_class))])
            number = int(self._scene_of[chosen])
            geometry = self.scenes.indexes[number].annotations.geometry[self._rank_in_scene[chosen]]
            left, top, right, bottom = geometry.bounds
            spread = 0.35 * self.size
            x, y = rng.uniform((left, top), (right, bottom)) + rng.uniform(-spread, spread, 2)
            return number, (float(x), float(y))
        number = int(np.searchsorted(self._by_area, rng.random(), side="right"))
        scene = self.scenes.scenes[number]
        x, y = rng.uniform((0, 0), (scene.width, scene.height))
        return number, (float(x), float(y))


def read_window(path: Path, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (h, w, bands) and valid (h, w; 0 or 255) of a window of a dataset's scene."""
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_CACHEMAX=64 * 2**20),
        rasterio.open(path) as source,
    ):
        pixels = np.moveaxis(source.read(window=window), 0, 2)
        return np.ascontiguousarray(pixels), source.dataset_mask(window=window)


def batch_of(
    samples: Sequence[Sample], mean: Sequence[float], std: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Inputs (N, bands, size, size) float32 as the network takes them, and labels (N, size, size)."""
    centre, spread = np.array(mean, np.float32), np.array(std, np.float32)
    pixels = (np.stack([sample.pixels for sample in samples]) - centre) / spread
    pixels[~np.stack([sample.valid for sample in samples])] = 0
    inputs = np.ascontiguousarray(np.moveaxis(pixels, 3, 1))
    return inputs, np.stack([sample.labels for sample in samples])
