"""Training windows: pixels and labels of the scenes of one split, at any offset, scale and angle."""

from __future__ import annotations

import os
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import (
    AnnotationIndex,
    Annotations,
    burn,
    burn_ids,
    shift_annotations,
)
from geoseg.dataset.folder import Dataset, DatasetScene, group_by_file
from geoseg.errors import ConfigError
from geoseg.legend import IGNORE
from geoseg.options import Difficult
from geoseg.raster.scene import Scene, gdal_env
from geoseg.raster.tiles import tile_grid
from geoseg.training.config import DataSection
from geoseg.training.object_targets import PAD, ObjectTargets, compute_object_targets

MAX_OPEN_SCENES = 128
"""Half of the file descriptors that macOS allows a process by default."""


@dataclass(frozen=True, slots=True)
class View:
    """Placement of a window in a scene."""

    scene: int
    """Index of the scene in its split."""

    transform: Affine
    """Pixels of the scene → pixels of the window."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Pixels and labels of one window."""

    pixels: NDArray[Any]
    """(size, size, bands) in the data type of the dataset; 0 where not valid."""

    labels: NDArray[np.uint8]
    """(size, size) class IDs; IGNORE where not valid."""

    valid: NDArray[np.bool_]
    """(size, size) True where the scene has data."""

    objects: ObjectTargets | None = None
    """Targets of object outputs; None for a network without them."""


class ScenePool:
    """Open scenes of a split, at most `limit` of them idle, least recently used closed first.

    Opening a scene takes longer than reading a window that lies in GDAL's block cache. A handle belongs to one
    thread at a time, since GDAL's handles are not thread-safe, and to the process that opened it: after a fork
    the child opens its own.
    """

    def __init__(
        self, paths: Sequence[Path], *, bands: int, dtype: str, limit: int = MAX_OPEN_SCENES
    ) -> None:
        self._paths, self._bands, self._dtype, self._limit = paths, bands, dtype, limit
        self._lock, self._process = Lock(), os.getpid()
        self._idle: list[tuple[int, Scene]] = []  # least recently used first
        self._of_parent: list[tuple[int, Scene]] = []  # neither used nor closed after a fork

    @contextmanager
    def borrow(self, number: int) -> Iterator[Scene]:
        """Yield an open scene that no other thread uses.

        Parameters
        ----------
        number
            Index of the scene in `paths`.

        Raises
        ------
        SceneError
            If the file cannot be opened, or does not have the bands and dtype of the dataset.
        """
        with gdal_env(self._paths[number]):
            scene = self._take(number) or Scene.open(
                self._paths[number], bands=self._bands, dtype=self._dtype
            )
            try:
                yield scene
            except BaseException:
                scene.close()  # its state is unknown
                raise
            self._put_back(number, scene)

    def close(self) -> None:
        """Close the idle scenes. The pool can be used again."""
        if os.getpid() != self._process:
            return
        with self._lock:
            idle, self._idle = self._idle, []
        for _, scene in idle:
            scene.close()

    def _take(self, number: int) -> Scene | None:
        if os.getpid() != self._process:
            self._lock, self._process = Lock(), os.getpid()
            self._of_parent, self._idle = self._idle, []
        with self._lock:
            for position in range(len(self._idle) - 1, -1, -1):
                if self._idle[position][0] == number:
                    return self._idle.pop(position)[1]
        return None

    def _put_back(self, number: int, scene: Scene) -> None:
        with self._lock:
            self._idle.append((number, scene))
            oldest = self._idle.pop(0)[1] if len(self._idle) > self._limit else None
        if oldest is not None:
            oldest.close()


class SplitReader:
    """Scenes of one split with their annotations, read by window from any thread.

    Parameters
    ----------
    dataset
        Dataset of the scenes.
    split
        Split of the dataset.
    layer
        Annotation layer; None: the dataset's default.
    difficult
        Treatment of objects marked as difficult.
    held_out
        Fraction of the scenes that are left out, see `is_held_out`.
    max_open
        Scenes that stay open between windows.

    Notes
    -----
    The blocks of one file are one scene, of the extent of all of them: a window may span several. Labels are IGNORE
    outside of the blocks and of the annotated area. Pixels there are read as context, also those of other splits: holes
    in a window would be a shape that no scene has, and nothing is learned or scored without labels.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        *,
        layer: str | None,
        difficult: Difficult,
        held_out: float = 0.0,
        max_open: int = MAX_OPEN_SCENES,
    ) -> None:
        blocks = [scene for scene in dataset.split(split) if not is_held_out(scene.name, held_out)]
        merged = [merge_blocks(of_file) for of_file in group_by_file(blocks)]
        self.scenes: Sequence[DatasetScene] = [extent for extent, _ in merged]
        self.dataset, self.legend, self.difficult = dataset, dataset.legend, difficult
        self._countable = np.zeros(IGNORE + 1, bool)
        self._countable[: len(self.legend)] = self.legend.countable
        annotations = dataset.annotations(layer, scenes=blocks)
        self.indexes = [
            AnnotationIndex(merge_annotations(extent, of_file, annotations))
            for extent, of_file in merged
        ]
        """Annotations of each scene, searchable by area."""
        self.blocks: Sequence[Sequence[Window]] = [
            [Window(*np.subtract(b.corner, extent.corner).tolist(), b.width, b.height) for b in of]
            for extent, of in merged
        ]
        """Blocks of each scene, in its pixels."""
        self._bounds: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {}
        self.paths = [dataset.path(scene) for scene in self.scenes]
        self._pool = ScenePool(self.paths, bands=dataset.bands, dtype=dataset.dtype, limit=max_open)
        weakref.finalize(self, self._pool.close)

    def close(self) -> None:
        """Close the files of the scenes. Reading opens them again; garbage collection closes them at the latest."""
        self._pool.close()

    def read(self, view: View, size: int) -> Sample:
        """Read a square of `size` pixels placed by `view`.

        Notes
        -----
        Pixels are resampled bilinearly; labels are burned at the window's own resolution, so they are exact
        for any scale and angle.
        """
        corners = np.array(_scene_corners(view, size))
        low = np.floor(corners.min(axis=0)).astype(int) - 1
        high = np.ceil(corners.max(axis=0)).astype(int) + 1
        first, last = np.transpose(self.read_bounds(view.scene))
        low = low.clip(first, last - 1)
        high = high.clip(low + 1, last)
        corner, sides = low + self.scenes[view.scene].corner, high - low
        with self._pool.borrow(view.scene) as opened:
            bands, valid = opened.read(Window(*corner.tolist(), *sides.tolist()))  # (bands, h, w)
        window = Window(*low.tolist(), *sides.tolist())
        pixels = np.ascontiguousarray(np.moveaxis(bands, 0, 2))  # (h, w, bands)
        to_window = view.transform @ Affine.translation(*low.tolist())
        valid = warp(valid.view(np.uint8), to_window, size, nearest=True) > 0
        labels = burn(
            self.indexes[view.scene].query_window(window),
            size,
            size,
            transform=view.transform,
            difficult=self.difficult,
        )
        labels[~valid] = IGNORE
        pixels = warp(pixels, to_window, size)
        pixels[~valid] = 0
        return Sample(pixels, labels, valid)

    def read_bounds(self, number: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return first and last column, and first and last row, between which a scene is read, in its pixels."""
        if number not in self._bounds:
            scene = self.scenes[number]
            width, height = scene.width, scene.height
            if scene.window is not None:
                with self._pool.borrow(number) as opened:
                    width, height = opened.info.width, opened.info.height
            left, top = scene.corner
            self._bounds[number] = (-left, width - left), (-top, height - top)
        return self._bounds[number]

    def read_objects(
        self,
        view: View,
        size: int,
        *,
        labels: NDArray[np.uint8] | None = None,
        pasted: NDArray[np.int32] | None = None,
    ) -> ObjectTargets:
        """Compute the targets of object outputs in a square of `size` pixels placed by `view`.

        Parameters
        ----------
        view, size
            Placement of the square.
        labels
            (size, size) class IDs, with `pasted`.
        pasted
            (size, size) IDs of pasted objects, 0 elsewhere.
        """
        padded = View(view.scene, Affine.translation(PAD, PAD) @ view.transform)
        ids, near = self.burn_ids(padded, size + 2 * PAD)
        ids[~np.append(False, self._countable[near.class_id])[ids]] = 0
        if pasted is not None and labels is not None:
            inside = ids[PAD:-PAD, PAD:-PAD]
            added = (pasted > 0) & self._countable[labels]
            inside[added] = len(near) + pasted[added]
        return compute_object_targets(ids)

    def burn_ids(self, view: View, size: int) -> tuple[NDArray[np.int32], Annotations]:
        """Burn the objects in a square of `size` pixels placed by `view`.

        Returns
        -------
        (size, size) array
            1 + index of the object; 0 elsewhere.
        Annotations
            The objects.
        """
        near = self.indexes[view.scene].query(shapely.Polygon(_scene_corners(view, size)))
        if self.difficult == "drop":
            near = near[~near.difficult]
        return burn_ids(near, size, size, transform=view.transform), near

    def count_objects(self, view: View, size: int) -> int:
        """Count the objects that touch a square of `size` pixels placed by `view`."""
        found = self.indexes[view.scene].query(shapely.Polygon(_scene_corners(view, size)))
        return int((~found.difficult).sum()) if self.difficult == "drop" else len(found)

    def spread_windows(self, size: int, most: int) -> list[tuple[int, Window]]:
        """Return at most `most` windows, evenly spread over a grid of `size` pixels on all blocks.

        Returns
        -------
        list
            Index of the scene, and window in its pixels, of `size` pixels or cut by the edge of the block; without
            those that are outside of the annotated area.
        """
        windows = [
            (
                number,
                Window(
                    block.col_off + core.col_off,
                    block.row_off + core.row_off,
                    core.width,
                    core.height,
                ),
            )
            for number, blocks in enumerate(self.blocks)
            for block in blocks
            for tile in tile_grid(block.width, block.height, core=size, margin=0, multiple=size)
            for core in [tile.core]
        ]
        windows = [
            (number, window) for number, window in windows if self._is_annotated(number, window)
        ]
        if len(windows) <= most:
            return windows
        return [windows[i] for i in np.linspace(0, len(windows) - 1, most).round().astype(int)]

    def _is_annotated(self, number: int, window: Window) -> bool:
        area = self.indexes[number].annotations.area
        return area is None or bool(shapely.area(shapely.intersection(area, to_box(window))) > 0)


def merge_blocks(blocks: Sequence[DatasetScene]) -> tuple[DatasetScene, Sequence[DatasetScene]]:
    """Return the extent of blocks of one file as a scene, and the blocks; a whole file is its own extent."""
    if blocks[0].window is None:
        return blocks[0], blocks
    windows = np.array([block.window for block in blocks])
    left, top = windows[:, :2].min(axis=0).tolist()
    right, bottom = (windows[:, :2] + windows[:, 2:]).max(axis=0).tolist()
    x, y = blocks[0].corner
    shift = Affine.translation(left - x, top - y)
    extent = replace(
        blocks[0],
        name=Path(blocks[0].file).stem,
        window=(left, top, right - left, bottom - top),
        width=right - left,
        height=bottom - top,
        transform=(Affine(*blocks[0].transform) @ shift)[:6],
    )
    return extent, blocks


def merge_annotations(
    extent: DatasetScene, blocks: Sequence[DatasetScene], annotations: Mapping[str, Annotations]
) -> Annotations:
    """Return the annotations of blocks in pixels of their extent; objects in several blocks occur once.

    Their area is the blocks, or the annotated area in them; None for a whole file that is annotated completely.
    """
    if extent.window is None:
        return annotations.get(extent.name, Annotations.empty())
    parts = []
    for block in blocks:
        x, y = np.subtract(block.corner, extent.corner).tolist()
        part = annotations.get(block.name, Annotations.empty())
        box = shapely.box(0, 0, block.width, block.height)
        area = box if part.area is None else shapely.intersection(part.area, box)
        parts.append(shift_annotations(replace(part, area=area), x, y))
    merged = Annotations(
        np.concatenate([part.geometry for part in parts]),
        np.concatenate([part.class_id for part in parts]),
        np.concatenate([part.difficult for part in parts]),
        shapely.union_all([part.area for part in parts]),
    )
    bounds = shapely.bounds(merged.geometry).reshape(-1, 4).round(3)
    # IDs are burned in order: of objects that differ by rounding only, the last one remains
    key = np.column_stack([merged.class_id, bounds, shapely.area(merged.geometry).round(3)])
    _, first = np.unique(key, axis=0, return_index=True)
    return merged[np.sort(first)]


def to_box(window: Window) -> shapely.Polygon:
    """Convert a window to a polygon."""
    left, top = window.col_off, window.row_off
    return shapely.box(left, top, left + window.width, top + window.height)


class ObjectIndex:
    """Objects of a split that windows are centred on or that are pasted, numbered from 0."""

    def __init__(self, reader: SplitReader) -> None:
        ranks = [
            np.flatnonzero(
                (i.annotations.class_id != IGNORE)
                & (~i.annotations.difficult | (reader.difficult == "keep"))
            )
            for i in reader.indexes
        ]
        self._indexes = reader.indexes
        self._scene = np.repeat(np.arange(len(ranks)), [len(of_scene) for of_scene in ranks])
        self._rank = np.concatenate(ranks)
        class_ids = np.concatenate(
            [
                index.annotations.class_id[of_scene]
                for index, of_scene in zip(reader.indexes, ranks, strict=True)
            ]
        )
        self.by_class = {int(c): np.flatnonzero(class_ids == c) for c in np.unique(class_ids)}
        """Class ID → numbers of its objects; only classes that occur."""

    def __getitem__(self, number: int) -> tuple[int, Annotations]:
        """Return the index of the scene of object `number`, and the object alone."""
        scene, rank = int(self._scene[number]), int(self._rank[number])
        return scene, self._indexes[scene].annotations[[rank]]


def open_dataset(data: DataSection) -> Dataset:
    """Open the dataset of a configuration.

    Raises
    ------
    ConfigError
        If the configuration names none.
    DatasetError
        If the folder is not a dataset.
    """
    if not data.dataset:
        raise ConfigError("data.dataset: missing. Name a folder written by geoseg prepare")
    return Dataset.open(Path(data.dataset))


def choose_layer(data: DataSection, dataset: Dataset) -> str:
    """Return the annotation layer to learn from. Raises ConfigError if the dataset does not have it."""
    if data.layer is not None and data.layer not in dataset.layers:
        known = ", ".join(dataset.layers)
        raise ConfigError(f"data.layer: the dataset has no layer {data.layer!r}. Known: {known}")
    return data.layer or dataset.default_layer


def open_split(data: DataSection, dataset: Dataset, split: str) -> SplitReader:
    """Return a reader of the scenes and annotations of a split, of train without those that are held out.

    Raises ConfigError if no scene is left.
    """
    held_out = data.held_out if split == "train" else 0.0
    layer = choose_layer(data, dataset)
    reader = SplitReader(dataset, split, layer=layer, difficult=data.difficult, held_out=held_out)
    if held_out and not reader.scenes:
        raise ConfigError("data.held_out: leaves no scene to train on. Lower it")
    return reader


def is_held_out(name: str, fraction: float) -> bool:
    """Return True for scenes that are not trained on: one in round(1 / `fraction`), by the CRC-32 of their name."""
    return fraction > 0 and zlib.crc32(name.encode()) % round(1 / fraction) == 0


def warp(
    pixels: NDArray[Any], transform: Affine, size: int, *, nearest: bool = False
) -> NDArray[Any]:
    """Resample an image into a square.

    Parameters
    ----------
    pixels
        (h, w) or (h, w, bands) of uint8, uint16, int16 or float32.
    transform
        Pixels of the image → pixels of the square.
    size
        Side of the square. Outside the image it is 0.
    nearest
        Resample by nearest neighbour instead of bilinearly. Without it, an image that shrinks by a factor of 2
        or more is averaged over blocks of pixels first, against aliasing.

    Returns
    -------
    (size, size) or (size, size, bands) array
        In the data type of `pixels`. Each band is the same as if it were resampled alone.
    """
    if not nearest:
        pixels, transform = _average_blocks(pixels, transform)
    # OpenCV counts from pixel centres, geoseg from pixel corners
    centred = Affine.translation(-0.5, -0.5) @ transform @ Affine.translation(0.5, 0.5)
    matrix = np.array(centred[:6], np.float64).reshape(2, 3)
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return apply_by_bands(
        pixels, partial(cv2.warpAffine, M=matrix, dsize=(size, size), flags=flags)
    )


def apply_by_bands(
    pixels: NDArray[Any], function: Callable[[NDArray[Any]], cv2.typing.MatLike]
) -> NDArray[Any]:
    """Apply a function of OpenCV to an image of any number of bands.

    Parameters
    ----------
    pixels
        (h, w) or (h, w, bands).
    function
        Treats every band alike, and keeps the data type.

    Notes
    -----
    OpenCV resamples 1, 3 and 4 channels alike, others less precisely, and more than 128 not at all.
    """
    if pixels.ndim == 2:
        return np.asarray(function(pixels), pixels.dtype)
    parts, first, bands = [], 0, pixels.shape[2]
    while first < bands:
        count = bands - first if bands - first in (3, 4) else 4 if bands - first > 4 else 1
        part = np.ascontiguousarray(pixels[..., first : first + count])
        done = np.asarray(function(part), pixels.dtype)
        parts.append(done.reshape(*done.shape[:2], count))  # OpenCV drops a single band
        first += count
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _average_blocks(pixels: NDArray[Any], transform: Affine) -> tuple[NDArray[Any], Affine]:
    """Average square blocks by the whole factor that `transform` shrinks, and return the remaining transform."""
    factor = int(1 / sqrt(abs(transform.determinant)) + 1e-9)
    if factor < 2:
        return pixels, transform
    height, width = (-(-length // factor) * factor for length in pixels.shape[:2])
    bottom, right = height - pixels.shape[0], width - pixels.shape[1]
    size = (width // factor, height // factor)

    def average(part: NDArray[Any]) -> cv2.typing.MatLike:
        padded = cv2.copyMakeBorder(part, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)

    return apply_by_bands(pixels, average), transform @ Affine.scale(factor)


def _scene_corners(view: View, size: int) -> list[tuple[float, float]]:
    """Return the corners of a window in pixels of its scene."""
    inverse = ~view.transform
    return [inverse @ corner for corner in ((0, 0), (size, 0), (size, size), (0, size))]
