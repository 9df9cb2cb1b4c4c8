"""Augmentation of training windows: geometry, colours, blur and noise, and Copy-Paste."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, log, sqrt
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.random import Generator
from numpy.typing import NDArray

from geoseg.annotations.burn import burn, transform_geometry
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError
from geoseg.legend import BACKGROUND
from geoseg.raster.stretch import is_rgb, value_range
from geoseg.training.config import AugmentSection
from geoseg.training.windows import ObjectIndex, Sample, SplitReader, View, apply_by_bands

_BORDER = 3  # pixels around a pasted object over which it is blended with the window
_MAX_TRIES = 20  # places tried for a pasted object
_MAX_SIDE = 0.5  # of a pasted object, as a fraction of the window's side
_MIN_AREA = 9  # pixels of a pasted object


def draw_transform(
    rng: Generator, augment: AugmentSection, pixel_size_m: float | None = None
) -> Affine:
    """Draw a flip, rotation and scale around the origin.

    Parameters
    ----------
    rng
        Generator of the sample.
    augment
        Augmentations.
    pixel_size_m
        Pixel size of the scene in metres; None: unknown. If it is known and ``augment.pixel_size_m`` is set, the
        scale leads to a pixel size from that range, else it comes from ``augment.scale``.
    """
    if augment.pixel_size_m and pixel_size_m:
        scale = pixel_size_m / _draw_log_uniform(rng, *augment.pixel_size_m)
    else:
        scale = _draw_log_uniform(rng, *augment.scale)
    return draw_rotation(rng, augment) @ Affine.scale(scale)


def draw_rotation(rng: Generator, augment: AugmentSection) -> Affine:
    """Draw a flip and rotation around the origin."""
    angle = 90.0 * rng.integers(4) if augment.rotate90 else 0.0
    if rng.random() < augment.rotate:
        angle += rng.uniform(-45, 45)
    flip = -1.0 if augment.flip and rng.random() < 0.5 else 1.0
    return Affine.rotation(angle) @ Affine.scale(flip, 1)


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Values of the bands that changes of brightness, contrast and noise are relative to."""

    bounds: tuple[tuple[float, float], ...] = ((0, 255),)
    """Low and high value of each band, or of all."""

    is_rgb: bool = True
    """True if three bands are red, green and blue, whose saturation and hue may change."""

    @classmethod
    def of(cls, dataset: Dataset) -> ValueRange:
        """Return the range of a dataset: 0 to 255 for 8-bit colours, else the 2nd to 98th percentile of each band."""
        colours = is_rgb(dataset.band_names, dataset.dtype)
        if (colours and dataset.dtype == "uint8") or not dataset.statistics:
            return cls(is_rgb=colours)
        return cls(tuple(map(value_range, dataset.statistics)), colours)

    @property
    def centre(self) -> NDArray[np.float64]:
        """(1,) or (bands,) middle of the range."""
        return np.array([(low + high) / 2 for low, high in self.bounds])

    @property
    def span(self) -> NDArray[np.float64]:
        """(1,) or (bands,) length of the range."""
        return np.array([high - low for low, high in self.bounds], np.float64)


EIGHT_BIT = ValueRange()
"""0 to 255."""


def jitter_colours(
    rng: Generator,
    pixels: NDArray[Any],
    augment: AugmentSection,
    values: ValueRange = EIGHT_BIT,
) -> NDArray[Any]:
    """Change brightness and contrast of (h, w, bands) pixels, and saturation and hue of red, green and blue."""
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4) * (
        augment.brightness,
        augment.contrast,
        augment.saturation,
        augment.hue,
    )
    if values.is_rgb and pixels.shape[2] == 3 and (saturation or hue):
        pixels = _shift_colours(pixels, hue, saturation, values)
    centre, offset = values.centre, values.centre + values.span * brightness
    if pixels.dtype != np.uint8:
        return _to_dtype((pixels - centre) * (1 + contrast) + offset, pixels.dtype)
    levels = (np.arange(256)[:, None] - centre) * (1 + contrast) + offset
    table = levels.clip(0, 255).astype(np.uint8)  # (256, bands or 1)
    if table.shape[1] == 1:
        changed: NDArray[np.uint8] = table[:, 0][pixels]
        return changed
    return np.stack([table[:, i][pixels[..., i]] for i in range(pixels.shape[2])], axis=2)


def _shift_colours(
    pixels: NDArray[Any], hue: float, saturation: float, values: ValueRange
) -> NDArray[Any]:
    """Shift the hue of (h, w, 3) red, green and blue by a fraction of the circle, and scale their saturation."""
    if pixels.dtype == np.uint8:
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + 180 * hue) % 180
        hsv[..., 1] *= 1 + saturation
        hsv = hsv.clip(0, (179, 255, 255)).astype(np.uint8)
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    # one range for all bands, so that greys stay grey
    low = min(low for low, _ in values.bounds)
    span = max(high for _, high in values.bounds) - low
    scaled = np.maximum((pixels - low) / span, 0).astype(np.float32)
    hsv = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2HSV), np.float32)
    hsv[..., 0] = (hsv[..., 0] + 360 * hue) % 360
    hsv[..., 1] = (hsv[..., 1] * (1 + saturation)).clip(0, 1)
    shifted = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)
    return _to_dtype(pixels + (shifted - scaled) * span, pixels.dtype)


def blur_and_add_noise(
    rng: Generator,
    pixels: NDArray[Any],
    augment: AugmentSection,
    values: ValueRange = EIGHT_BIT,
) -> NDArray[Any]:
    """Blur (h, w, bands) pixels by a Gaussian and add Gaussian noise, each at random."""
    if rng.random() < augment.blur:
        sigma = rng.uniform(0.3, 1.5)
        pixels = apply_by_bands(pixels, lambda part: cv2.GaussianBlur(part, (0, 0), sigma))
    if augment.noise:
        deviation = (values.span * rng.uniform(0, augment.noise)).astype(np.float32)
        noise = deviation * rng.standard_normal(pixels.shape, np.float32)
        pixels = _to_dtype(pixels + noise, pixels.dtype)
    return pixels


def _to_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert values to a data type: integers rounded and limited to its range."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return values.round().clip(limits.min, limits.max).astype(dtype)


@dataclass(frozen=True, slots=True)
class _Patch:
    """An object cut out of its scene."""

    pixels: NDArray[Any]
    """(h, w, bands)"""

    labels: NDArray[np.uint8]
    """(h, w); BACKGROUND outside the object."""

    ids: NDArray[np.int32]
    """(h, w) IDs of the object and of those on top of it; 0 outside."""

    opacity: NDArray[np.float32]
    """(h, w); 1 on the object, falling to 0 over `_BORDER` pixels around it."""


class CopyPaste:
    """Paste objects of a split into its training windows.

    Notes
    -----
    Ghiasi et al. 2021, arXiv 2012.07177, for nadir views: objects are rotated freely, and keep their size on the
    ground where the pixel sizes of both scenes are known.
    """

    def __init__(
        self, reader: SplitReader, objects: ObjectIndex, augment: AugmentSection, size: int
    ) -> None:
        self._reader, self._objects = reader, objects
        self._augment, self._size = augment, size
        self._classes = self._choose_classes()
        rarity = 1 / np.sqrt([max(1, len(objects.by_class[c])) for c in self._classes])
        self.probabilities = dict(zip(self._classes, (rarity / rarity.sum()).tolist(), strict=True))
        """Class ID → probability of being drawn, proportional to 1 / √(number of its objects)."""

    def __call__(
        self, rng: Generator, sample: Sample, view: View
    ) -> tuple[Sample, NDArray[np.int32]]:
        """Return the sample with objects pasted on free background, or unchanged.

        Nothing is pasted over an object, over pixels that are not valid, or over another pasted object.

        Returns
        -------
        Sample
            Pixels and labels.
        (size, size) array
            IDs of the pasted objects, those on top of them included; 0 elsewhere.
        """
        pasted = np.zeros(sample.labels.shape, np.int32)
        if not self._classes or rng.random() >= self._augment.copy_paste:
            return sample, pasted
        pixels, labels = sample.pixels.copy(), sample.labels.copy()
        occupied = labels != BACKGROUND
        for _ in range(rng.integers(1, self._augment.copy_paste_objects + 1)):
            patch = self._draw_patch(rng, view)
            place = _find_free_place(rng, occupied, patch) if patch else None
            if patch is None or place is None:
                continue
            opacity = patch.opacity[..., np.newaxis]
            blended = opacity * patch.pixels + (1 - opacity) * pixels[place]
            pixels[place] = _to_dtype(blended, pixels.dtype)
            labels[place] = np.where(patch.opacity == 1, patch.labels, labels[place])
            inside = patch.opacity == 1
            pasted[place][inside] = pasted.max() + patch.ids[inside]
            occupied[place] |= patch.opacity > 0
        return Sample(pixels, labels, sample.valid), pasted

    def _draw_patch(self, rng: Generator, view: View) -> _Patch | None:
        """Draw an object, rotated and at the scale of `view`; None if it is cut off, too large or too small."""
        class_id = rng.choice(self._classes, p=list(self.probabilities.values()))
        number, chosen = self._objects[rng.choice(self._objects.by_class[int(class_id)])]
        scene = self._reader.scenes[number]
        rotation = draw_rotation(rng, self._augment) @ Affine.scale(self._scale(view, number))
        inside_scene = shapely.box(0, 0, scene.width, scene.height).contains(chosen.geometry[0])
        (outline,) = transform_geometry(chosen.geometry, rotation)
        left, top, right, bottom = outline.bounds
        side = ceil(max(right - left, bottom - top)) + 2 * (_BORDER + 1)
        if not inside_scene or side > _MAX_SIDE * self._size or outline.area < _MIN_AREA:
            return None
        transform = Affine.translation(_BORDER + 1 - left, _BORDER + 1 - top) @ rotation
        source = self._reader.read(View(number, transform), side)
        inside = burn(chosen, side, side, transform=transform) != BACKGROUND
        if not inside.any() or not source.valid[inside].all():
            return None
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
        opacity = (1 - np.asarray(distance, np.float32) / (_BORDER + 1)).clip(0, 1)
        opacity[(source.labels != BACKGROUND) & ~inside] = 0  # without its neighbours
        ids, _ = self._reader.burn_ids(View(number, transform), side)
        labels = np.where(inside, source.labels, BACKGROUND)
        return _Patch(source.pixels, labels, np.where(inside, ids, 0), opacity)

    def _scale(self, view: View, number: int) -> float:
        """Return the scale at which an object of scene `number` appears in `view`."""
        scale = sqrt(abs(view.transform.determinant))
        target = self._reader.scenes[view.scene].pixel_size_m
        source = self._reader.scenes[number].pixel_size_m
        return scale * source / target if target and source else scale

    def _choose_classes(self) -> list[int]:
        """Return the IDs of the classes to paste that have objects."""
        try:
            named = [self._reader.legend.id_of(n) for n in self._augment.copy_paste_classes]
        except ValueError as error:
            raise ConfigError(f"augment.copy_paste_classes: {error}. Correct it") from error
        return [c for c in self._objects.by_class if not named or c in named]


def _find_free_place(
    rng: Generator, occupied: NDArray[np.bool_], patch: _Patch
) -> tuple[slice, slice] | None:
    """Return rows and columns where `patch` overlaps nothing occupied, or None."""
    side = len(patch.opacity)
    for top, left in rng.integers(0, len(occupied) - side + 1, (_MAX_TRIES, 2)).tolist():
        place = slice(top, top + side), slice(left, left + side)
        if not (occupied[place] & (patch.opacity > 0)).any():
            return place
    return None


def _draw_log_uniform(rng: Generator, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))
