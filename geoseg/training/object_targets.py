"""Training targets of the object outputs, from the IDs of the objects of a window."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PAD = 32
"""Pixels around a window that are burned too, so that objects cut by its edge have their true shape."""

_TOUCHING_SIDE = 5  # pixels; of the square in which two objects touch
_UNIT_AREA = 144  # pixels of an object whose pixels have weight 1


@dataclass(frozen=True, slots=True)
class ObjectTargets:
    """Targets of `geoseg.models.objects.OBJECT_OUTPUTS` in a window."""

    values: NDArray[np.bool_]
    """(2, size, size): interior and touching."""

    weight: NDArray[np.float16]
    """(size, size) weight of a pixel in the loss: 0.5 to 2, larger on smaller objects; 0 outside of objects."""


def compute_object_targets(ids: NDArray[np.int32], *, pad: int = PAD) -> ObjectTargets:
    """Compute the targets of a window.

    Parameters
    ----------
    ids
        (size + 2 * pad, size + 2 * pad) IDs of the objects of countable classes; 0 elsewhere.
    pad
        Pixels around the window.

    Notes
    -----
    The interior of an object is what remains without its outermost pixels. An object that is too thin for that is
    all interior. The weight of a pixel is ``12 / sqrt(area)``.
    """
    on = ids > 0
    inner = _find_inner(ids)
    area = np.bincount(ids.ravel())
    is_thin = np.bincount(ids[inner], minlength=len(area)) == 0
    weight = np.sqrt(_UNIT_AREA / area.clip(1)).clip(0.5, 2).astype(np.float16)
    weight[0] = 0
    inside = np.s_[pad : len(ids) - pad, pad : len(ids) - pad]
    interior = inner | (on & is_thin[ids])
    values = np.stack([interior[inside], find_touching(ids)[inside]])
    return ObjectTargets(values, weight[ids[inside]])


def find_touching(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Find the pixels in whose square of 5 by 5 pixels two objects occur."""
    kernel = np.ones((_TOUCHING_SIDE, _TOUCHING_SIDE), np.uint8)
    numbers = ids.astype(np.float32)  # exact up to 2**24
    bound = float(numbers.max()) + 1
    highest = np.asarray(cv2.dilate(numbers, kernel))
    lowest = bound - np.asarray(cv2.dilate(np.where(ids > 0, bound - numbers, 0), kernel))
    touching: NDArray[np.bool_] = (highest > 0) & (highest != lowest)
    return touching


def _find_inner(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Find the pixels of objects whose four neighbours belong to the same object."""
    inner = ids > 0
    for axis in (0, 1):
        ahead, behind = (np.moveaxis(inner, axis, 0)[part] for part in (np.s_[1:], np.s_[:-1]))
        differs = np.moveaxis(np.diff(ids, axis=axis) != 0, axis, 0)
        ahead &= ~differs
        behind &= ~differs
    return inner
