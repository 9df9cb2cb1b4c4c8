"""A window as other tools take it: an image, and what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.dataset import DatasetScene
from geoseg.legend import Legend
from geoseg.tile.visible import Visible

Line = dict[str, Any]
"""Plain JSON data."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A window's image and truth."""

    name: str
    """Of its files, without a suffix."""

    scene: DatasetScene

    crs: str | None
    """WKT"""

    window: Window
    """In pixels of the scene, of which it may stick out on the right and below."""

    pixels: NDArray[Any]
    """(bands, h, w); 0 where not valid"""

    valid: NDArray[np.bool_]
    """(h, w)"""

    objects: Visible

    labels: Callable[[], NDArray[np.uint8]]
    """Gives (h, w) class ids, IGNORE where not valid."""

    noted: Counter[str]
    """What has to be told of objects → how many it concerns; a format adds what it cannot say."""

    @property
    def transform(self) -> Affine:
        """From pixels of the window to map coordinates."""
        shift = Affine.translation(self.window.col_off, self.window.row_off)
        return Affine(*self.scene.transform) @ shift


class Gathered(Protocol):
    """All windows of a split, read back one at a time."""

    split: str

    def windows(self) -> Iterator[tuple[int, Line]]:
        """Number of a window, from 1, and its entry in the manifest."""
        ...

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Number of a window, and one of the lines that `Format.write` gave for it."""
        ...


class Format:
    """How some other tool reads the truth of windows."""

    folder = "labels"
    """Where truth lies, below the folder of a split."""

    suffix = ".txt"

    ignores = False
    """True where it can say that nobody knows what is there."""

    def __init__(self, legend: Legend) -> None:
        self.legend = legend

    def truth(self, split: str, name: str) -> str:
        """The file with the truth of a window, below the folder of products."""
        return f"{split}/{self.folder}/{name}{self.suffix}"

    def is_whole(self, path: Path, entry: Line) -> bool:
        """False when the truth that `write` left at `path` is empty although the window's entry tells of objects,
        as after a loss of power. Raises OSError when it is missing.
        """
        return path.stat().st_size > 0 or not entry["objects"]

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write the truth of a window to `path`, or give the lines of it that `finish` is to gather."""
        raise NotImplementedError

    def finish(self, folder: Path, splits: Iterable[Gathered]) -> None:
        """Write what concerns all windows, below `folder`."""
