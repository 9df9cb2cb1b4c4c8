"""Copy-Paste: objects of other scenes, cut out by their outlines, in places where there is nothing.

After Ghiasi et al. 2021 (arXiv 2012.07177), for objects seen from above: any angle looks right, and an object keeps its
size on the ground where that is known of both scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.random import Generator
from numpy.typing import NDArray

from geoseg.annotations.burn import burn, transform_geometry
from geoseg.errors import ConfigError
from geoseg.legend import BACKGROUND
from geoseg.training.augmentation import turned
from geoseg.training.config import AugmentSection
from geoseg.training.windows import Objects, Sample, Scenes, View

_BORDER = 3
"""Pixels around an object over which its surroundings fade into those of the place it is put."""

_TRIES = 20  # places for an object
_LARGEST = 0.5  # of a window's side
_SMALLEST = 9  # pixels


@dataclass(frozen=True, slots=True)
class _Piece:
    """An object that was cut out."""

    pixels: NDArray[np.uint8]
    """(h, w, bands)"""

    labels: NDArray[np.uint8]
    """(h, w); BACKGROUND outside the object"""

    opacity: NDArray[np.float32]
    """(h, w) 1 on the object, falling to 0 around it"""


class Paster:
    """Puts objects of a split into its windows."""

    def __init__(
        self, scenes: Scenes, objects: Objects, augment: AugmentSection, size: int
    ) -> None:
        self._scenes, self._objects = scenes, objects
        self._augment, self._size = augment, size
        self._classes = self._chosen()
        rarity = 1 / np.sqrt([max(1, len(objects.by_class[c])) for c in self._classes])
        self.chances = dict(zip(self._classes, (rarity / rarity.sum()).tolist(), strict=True))
        """Class id → how often it is drawn: in inverse proportion to the root of its objects' number."""

    def __call__(self, rng: Generator, sample: Sample, view: View) -> Sample:
        """The sample, with objects where there were none, or as it was.

        Nothing is pasted over an object, over pixels that are not valid, or over what was pasted before.
        """
        if not self._classes or rng.random() >= self._augment.copy_paste:
            return sample
        pixels, labels = sample.pixels.copy(), sample.labels.copy()
        taken = labels != BACKGROUND
        for _ in range(rng.integers(1, self._augment.copy_paste_objects + 1)):
            piece = self._piece(rng, view)
            place = _free_place(rng, taken, piece) if piece else None
            if piece is None or place is None:
                continue
            opacity = piece.opacity[..., np.newaxis]
            blended = opacity * piece.pixels + (1 - opacity) * pixels[place]
            pixels[place] = blended.round().astype(np.uint8)
            labels[place] = np.where(piece.opacity == 1, piece.labels, labels[place])
            taken[place] |= piece.opacity > 0
        return Sample(pixels, labels, sample.valid)

    def _piece(self, rng: Generator, view: View) -> _Piece | None:
        """One object, turned and as large as it would be in `view`; None if it does not suit."""
        class_id = rng.choice(self._classes, p=list(self.chances.values()))
        number, chosen = self._objects[rng.choice(self._objects.by_class[int(class_id)])]
        scene = self._scenes.scenes[number]
        turn = turned(rng, self._augment) @ Affine.scale(self._zoom(view, number))
        whole = shapely.box(0, 0, scene.width, scene.height).contains(chosen.geometry[0])
        (outline,) = transform_geometry(chosen.geometry, turn)
        left, top, right, bottom = outline.bounds
        side = ceil(max(right - left, bottom - top)) + 2 * (_BORDER + 1)
        if not whole or side > _LARGEST * self._size or outline.area < _SMALLEST:
            return None
        transform = Affine.translation(_BORDER + 1 - left, _BORDER + 1 - top) @ turn
        seen = self._scenes.read(View(number, transform), side)
        inside = burn(chosen, side, side, transform=transform) != BACKGROUND
        away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
        opacity = (1 - np.asarray(away, np.float32) / (_BORDER + 1)).clip(0, 1)
        opacity[(seen.labels != BACKGROUND) & ~inside] = 0  # neighbours stay where they are
        if not inside.any() or not seen.valid[inside].all():
            return None
        return _Piece(seen.pixels, np.where(inside, seen.labels, BACKGROUND), opacity)

    def _zoom(self, view: View, number: int) -> float:
        zoom = sqrt(abs(view.transform.determinant))
        here = self._scenes.scenes[view.scene].pixel_size_m
        there = self._scenes.scenes[number].pixel_size_m
        return zoom * there / here if here and there else zoom

    def _chosen(self) -> list[int]:
        """Ids of the classes to paste that have objects."""
        try:
            named = [self._scenes.legend.id_of(name) for name in self._augment.copy_paste_classes]
        except ValueError as error:
            raise ConfigError(f"augment.copy_paste_classes: {error}. correct it") from error
        return [c for c in self._objects.by_class if not named or c in named]


def _free_place(
    rng: Generator, taken: NDArray[np.bool_], piece: _Piece
) -> tuple[slice, slice] | None:
    """Rows and columns where nothing of `piece` meets what is taken."""
    side = len(piece.opacity)
    for top, left in rng.integers(0, len(taken) - side + 1, (_TRIES, 2)).tolist():
        place = slice(top, top + side), slice(left, left + side)
        if not (taken[place] & (piece.opacity > 0)).any():
            return place
    return None
