"""Sampling of training windows: sample n of a run is a function of (seed, n) alone.

A resumed run therefore trains on the same windows as an uninterrupted one, whatever the order, thread or process
that reads them. Placement, Copy-Paste and noise draw from separate generators: switching one off leaves the others
unchanged.
"""

from __future__ import annotations

import logging

import numpy as np
import shapely
from affine import Affine
from numpy.random import Generator

from geoseg.training.augmentation import (
    CopyPaste,
    ValueRange,
    blur_and_add_noise,
    draw_transform,
    jitter_colours,
)
from geoseg.training.config import AugmentSection, DataSection, TrainConfig
from geoseg.training.windows import ObjectIndex, Sample, SplitReader, View

_MAX_TRIES = 50  # places tried for a window without objects
_COPY_PASTE, _NOISE = 1, 2  # third numbers of the seeds of their generators

log = logging.getLogger(__name__)


class Sampler:
    """Draw the training windows of a run.

    Parameters
    ----------
    reader
        Scenes of the training split.
    seed
        Seed of the run.
    data
        Window size, and fractions of balanced and of background windows.
    augment
        Augmentations.
    objects
        Samples have targets of object outputs.
    """

    def __init__(
        self,
        reader: SplitReader,
        *,
        seed: int,
        data: DataSection,
        augment: AugmentSection,
        objects: bool = False,
    ) -> None:
        self.reader, self.seed, self.size = reader, seed, data.window
        self._data, self._augment, self._with_objects = data, augment, objects
        self._areas = [index.annotations.area for index in reader.indexes]
        areas = np.array(
            [
                scene.width * scene.height if area is None else area.area
                for scene, area in zip(reader.scenes, self._areas, strict=True)
            ]
        )
        self._cumulative_area = areas.cumsum() / areas.sum()
        self._values = ValueRange.of(reader.dataset)
        self._objects = ObjectIndex(reader)
        self._classes = list(self._objects.by_class.values())
        powers = np.array([float(len(numbers)) for numbers in self._classes]) ** data.class_power
        self._class_probabilities = powers / powers.sum()
        self._copy_paste = (
            CopyPaste(reader, self._objects, augment, self.size) if augment.copy_paste else None
        )

    @property
    def classes(self) -> int:
        """Number of classes that have objects."""
        return len(self._classes)

    def __call__(self, n: int) -> Sample:
        """Draw, read and augment sample `n`."""
        rng = np.random.default_rng((self.seed, n))
        view = self._draw_view(rng)
        sample, pasted = self.reader.read(view, self.size), None
        if self._copy_paste:
            rng_paste = np.random.default_rng((self.seed, n, _COPY_PASTE))
            sample, pasted = self._copy_paste(rng_paste, sample, view)
        pixels = jitter_colours(rng, sample.pixels, self._augment, self._values)
        rng_noise = np.random.default_rng((self.seed, n, _NOISE))
        pixels = blur_and_add_noise(rng_noise, pixels, self._augment, self._values)
        pixels[~sample.valid] = 0
        objects = (
            self.reader.read_objects(view, self.size, labels=sample.labels, pasted=pasted)
            if self._with_objects
            else None
        )
        return Sample(pixels, sample.labels, sample.valid, objects)

    def view(self, n: int) -> View:
        """Return the placement of sample `n`."""
        return self._draw_view(np.random.default_rng((self.seed, n)))

    def _draw_view(self, rng: Generator) -> View:
        kind = rng.random()
        if kind < self._data.balanced and self._classes:
            return self._place(rng, *self._draw_near_object(rng))
        if kind >= 1 - self._data.unlabelled:
            return self._place(rng, *self._draw_unlabelled(rng))
        view = self._place(rng, *self._draw_anywhere(rng))
        if kind < self._data.balanced + self._data.background:
            for _ in range(_MAX_TRIES):
                if not self.reader.count_objects(view, self.size):
                    break
                view = self._place(rng, *self._draw_anywhere(rng))
        return view

    def _draw_anywhere(self, rng: Generator) -> tuple[int, tuple[float, float]]:
        """Draw a scene with probability proportional to its annotated area, and a point in that."""
        number = int(np.searchsorted(self._cumulative_area, rng.random(), side="right"))
        scene, area = self.reader.scenes[number], self._areas[number]
        left, top, right, bottom = (
            (0, 0, scene.width, scene.height) if area is None else area.bounds
        )
        x, y = rng.uniform((left, top), (right, bottom))
        for _ in range(_MAX_TRIES):
            if area is None or shapely.contains_xy(area, x, y):
                break
            x, y = rng.uniform((left, top), (right, bottom))
        return number, self._move_inside(number, float(x), float(y))

    def _move_inside(self, number: int, x: float, y: float) -> tuple[float, float]:
        """Return the nearest point of the annotated area, so that a window around it is not ignored wholly."""
        area = self._areas[number]
        if area is None or shapely.contains_xy(area, x, y):
            return x, y
        inside, _ = shapely.get_coordinates(shapely.shortest_line(area, shapely.Point(x, y)))
        return float(inside[0]), float(inside[1])

    def _draw_unlabelled(self, rng: Generator) -> tuple[int, tuple[float, float]]:
        """Draw a scene with probability proportional to its area, and a point in it, labelled or not."""
        sizes = np.array([(scene.width, scene.height) for scene in self.reader.scenes], float)
        areas = sizes.prod(axis=1)
        number = int(rng.choice(len(areas), p=areas / areas.sum()))
        x, y = rng.uniform((0, 0), sizes[number])
        return number, (float(x), float(y))

    def _draw_near_object(self, rng: Generator) -> tuple[int, tuple[float, float]]:
        """Draw a class, then an object of it: its scene, and a point at most 0.35 windows from its bounding box."""
        number, chosen = self._objects[rng.choice(self._classes[self._draw_class(rng)])]
        left, top, right, bottom = chosen.geometry[0].bounds
        spread = 0.35 * self.size
        x, y = rng.uniform((left, top), (right, bottom)) + rng.uniform(-spread, spread, 2)
        return number, self._move_inside(number, float(x), float(y))

    def _draw_class(self, rng: Generator) -> int:
        """Draw the index of a class that has objects."""
        if not self._data.class_power:
            return int(rng.integers(len(self._classes)))
        return int(rng.choice(len(self._classes), p=self._class_probabilities))

    def _place(self, rng: Generator, number: int, centre: tuple[float, float]) -> View:
        """Place a window around a point, shifted into the file of the scene where it fits."""
        scene = self.reader.scenes[number]
        transform = draw_transform(rng, self._augment, scene.pixel_size_m)
        half_side = self.size / 2 / np.sqrt(abs(transform.determinant))
        x, y = (
            np.clip(value, first + half_side, last - half_side)
            if last - first > 2 * half_side
            else (first + last) / 2
            for value, (first, last) in zip(centre, self.reader.read_bounds(number), strict=True)
        )
        to_centre = Affine.translation(self.size / 2, self.size / 2)
        return View(number, to_centre @ transform @ Affine.translation(-round(x), -round(y)))


def build_sampler(config: TrainConfig, reader: SplitReader, *, objects: bool = False) -> Sampler:
    """Return the sampler of a configuration, with targets of `objects` or without."""
    seed, data = config.training.seed, config.data
    return Sampler(reader, seed=seed, data=data, augment=config.augment, objects=objects)


def log_sampling(sampler: Sampler, data: DataSection) -> None:
    """Log how the training windows are distributed."""
    if not sampler.classes:
        log.warning("the training scenes have no objects: windows are placed uniformly")
        return
    power = f"by their objects ** {data.class_power:.2g}" if data.class_power else "uniformly"
    log.info(
        "windows: %.0f %% near an object (%d classes drawn %s), %.0f %% without objects, "
        "%.0f %% placed uniformly",
        *(100 * data.balanced, sampler.classes, power, 100 * data.background),
        100 * (1 - data.balanced - data.background),
    )
