"""Training windows: sample n of a run is a function of (seed, n) alone.

So a run that was killed and resumed sees the same windows as one that was not, in whatever order, on however many
threads or in however many processes they are read. What is drawn for one thing (place, paste, noise) comes from a
generator of its own: switching one off leaves the others as they were.
"""

from __future__ import annotations

import numpy as np
from affine import Affine
from numpy.random import Generator

from geoseg.training.augmentation import blur_and_noise, jitter, orientation
from geoseg.training.config import AugmentSection, DataSection
from geoseg.training.copy_paste import Paster
from geoseg.training.windows import Objects, Sample, Scenes, View

_TRIES = 50  # for a place without objects
_PASTE, _NOISE = 1, 2


class Sampler:
    """Draws training windows."""

    def __init__(
        self, scenes: Scenes, *, seed: int, data: DataSection, augment: AugmentSection
    ) -> None:
        self.scenes, self.seed, self.size = scenes, seed, data.window
        self._data, self._augment = data, augment
        areas = np.array([s.width * s.height for s in scenes.scenes], np.float64)
        self._by_area = areas.cumsum() / areas.sum()
        self._objects = Objects(scenes)
        self._classes = list(self._objects.by_class.values())
        self._paste = (
            Paster(scenes, self._objects, augment, self.size) if augment.copy_paste else None
        )

    def __call__(self, n: int) -> Sample:
        """Sample number `n` of the run."""
        rng = np.random.default_rng((self.seed, n))
        view = self._view(rng)
        sample = self.scenes.read(view, self.size)
        if self._paste:
            sample = self._paste(np.random.default_rng((self.seed, n, _PASTE)), sample, view)
        pixels = jitter(rng, sample.pixels, self._augment)
        pixels = blur_and_noise(
            np.random.default_rng((self.seed, n, _NOISE)), pixels, self._augment
        )
        pixels[~sample.valid] = 0
        return Sample(pixels, sample.labels, sample.valid)

    @property
    def classes(self) -> int:
        """How many classes have objects."""
        return len(self._classes)

    def view(self, n: int) -> View:
        """Where sample `n` lies."""
        return self._view(np.random.default_rng((self.seed, n)))

    def _view(self, rng: Generator) -> View:
        kind = rng.random()
        if kind < self._data.balanced and self._classes:
            return self._around(rng, *self._near_an_object(rng))
        view = self._around(rng, *self._anywhere(rng))
        if kind < self._data.balanced + self._data.background:
            for _ in range(_TRIES):
                if not self.scenes.objects_in(view, self.size):
                    break
                view = self._around(rng, *self._anywhere(rng))
        return view

    def _anywhere(self, rng: Generator) -> tuple[int, tuple[float, float]]:
        """A scene, by its area, and a point in it."""
        number = int(np.searchsorted(self._by_area, rng.random(), side="right"))
        scene = self.scenes.scenes[number]
        x, y = rng.uniform((0, 0), (scene.width, scene.height))
        return number, (float(x), float(y))

    def _near_an_object(self, rng: Generator) -> tuple[int, tuple[float, float]]:
        """A class, then an object of it: its scene, and a point in its box or up to a third of a window away."""
        number, chosen = self._objects[rng.choice(self._classes[rng.integers(len(self._classes))])]
        left, top, right, bottom = chosen.geometry[0].bounds
        spread = 0.35 * self.size
        x, y = rng.uniform((left, top), (right, bottom)) + rng.uniform(-spread, spread, 2)
        return number, (float(x), float(y))

    def _around(self, rng: Generator, number: int, centre: tuple[float, float]) -> View:
        """A window around a point, moved inside the scene as far as it fits."""
        scene = self.scenes.scenes[number]
        turned = orientation(rng, self._augment, scene.pixel_size_m)
        reach = self.size / 2 / np.sqrt(abs(turned.determinant))
        x, y = (
            np.clip(value, reach, length - reach) if length > 2 * reach else length / 2
            for value, length in zip(centre, (scene.width, scene.height), strict=True)
        )
        half = Affine.translation(self.size / 2, self.size / 2)
        return View(number, half @ turned @ Affine.translation(-round(x), -round(y)))
