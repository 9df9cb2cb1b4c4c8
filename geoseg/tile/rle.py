"""COCO's run lengths: columns from left to right, in them rows from above, beginning with what is not set."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations import Annotations, burn


def run_lengths(geometry: shapely.Geometry, height: int, width: int) -> list[int]:
    """Of the pixels whose centres lie in a geometry, which lies in an image of `height` x `width` pixels."""
    left, top, right, bottom = (int(v) for v in np.floor(geometry.bounds))
    right, bottom = min(right + 1, width), min(bottom + 1, height)
    alone = Annotations(np.array([geometry], object), np.ones(1, np.uint8), np.zeros(1, np.bool_))
    pixels = burn(
        alone, bottom - top, right - left, transform=Affine.translation(-left, -top)
    ).astype(np.bool_)
    column, row = np.nonzero(pixels.T)
    return _lengths((column + left) * height + row + top, height * width)


def _lengths(ones: NDArray[np.int64], total: int) -> list[int]:
    """Lengths of runs of zeros and ones by turns, for the ascending places of the ones among `total`."""
    if not len(ones):
        return [total]
    breaks = np.flatnonzero(np.diff(ones) > 1)
    starts = ones[np.concatenate([[0], breaks + 1])]
    ends = ones[np.concatenate([breaks, [len(ones) - 1]])] + 1
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [total]])
    lengths: list[int] = np.diff(edges).tolist()
    return lengths if lengths[-1] else lengths[:-1]
