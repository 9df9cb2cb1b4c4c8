"""Overviews of working rasters: each half of the one before.

GDAL makes those of a raster with a colour table from whole rows, which takes 3 GB at 100,000 pixels a side, and cannot
be stopped while it makes the others. These are made by blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.engine.rasters import BLOCK, WORKING
from geoseg.legend import IGNORE

Pixels = NDArray[np.uint8]
Resampling = Literal["mode", "average"]

_READ = 8 * BLOCK


def write_overviews(source: Path, folder: Path, resampling: Resampling) -> list[Path]:
    """Rasters of half of the size of `source`, rounded up, a quarter, …, until all of it is one block, written to
    `folder`, the largest first. `source` is uint8, IGNORE where it holds nothing; that counts for no
    overview as long as another pixel holds something.
    """
    levels: list[Path] = []
    while _longer_side(finest := levels[-1] if levels else source) > BLOCK:
        levels.append(folder / f"{2 ** (len(levels) + 1)}.tif")
        _halve(finest, levels[-1], {"mode": most_frequent, "average": average}[resampling])
    return levels


def most_frequent(pixels: Pixels) -> Pixels:
    """(h, w) → (⌈h / 2⌉, ⌈w / 2⌉), of each square of 2 x 2 pixels the label that most of them have; of labels that
    are as frequent, the one that is so first, row by row."""
    a, b, c, d = quarters = _quarters(pixels)
    found = d.copy()
    for one in reversed(quarters):
        np.copyto(found, one, where=one != IGNORE)
    # from the pair that is complete last to the one that is complete first
    for one, other in ((c, d), (b, d), (a, d), (b, c), (a, c), (a, b)):
        np.copyto(found, one, where=(one == other) & (one != IGNORE))
    return found


def average(pixels: Pixels) -> Pixels:
    """(h, w) → (⌈h / 2⌉, ⌈w / 2⌉), means of squares of 2 x 2 pixels, a half rounded up."""
    quarters = np.stack(_quarters(pixels)).astype(np.uint16)
    holds = quarters != IGNORE
    count = holds.sum(0, dtype=np.uint16)
    total = quarters.sum(0, where=holds, dtype=np.uint16)
    means = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, means, IGNORE).astype(np.uint8)


def _quarters(pixels: Pixels) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """The upper left pixel of each square, the upper right, the lower left, the lower right."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), constant_values=IGNORE)
    return even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]


def _longer_side(raster: Path) -> int:
    with rasterio.open(raster.absolute()) as dataset:
        return max(int(dataset.width), int(dataset.height))


def _halve(source: Path, output: Path, halved: Callable[[Pixels], Pixels]) -> None:
    with (
        rasterio.open(source.absolute()) as fine,
        rasterio.open(
            output.absolute(),
            "w",
            width=-(-fine.width // 2),
            height=-(-fine.height // 2),
            count=fine.count,
            **WORKING,
        ) as coarse,
    ):
        for window in _windows(fine.width, fine.height):
            for band in fine.indexes:
                pixels = fine.read(band, window=window)
                if (pixels != IGNORE).any():
                    made = halved(pixels)
                    place = Window(window.col_off // 2, window.row_off // 2, *made.shape[::-1])
                    coarse.write(made, band, window=place)


def _windows(width: int, height: int) -> Iterator[Window]:
    for row in range(0, height, _READ):
        for column in range(0, width, _READ):
            yield Window(column, row, min(_READ, width - column), min(_READ, height - row))
