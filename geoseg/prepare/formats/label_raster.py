"""A label raster of class ids or colours, opened after checks and read by strips."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import AnnotationError, SceneError
from geoseg.legend import IGNORE, IGNORED, Legend
from geoseg.polygons.labels import Labels, largest_class, open_labels
from geoseg.polygons.raster_legend import read_legend
from geoseg.preflight import check_georeference, open_raster
from geoseg.prepare.formats.colours import UNKNOWN, Colours

_ROWS = 512
_CACHE = 16 << 20  # bytes; strips are whole blocks, few are read twice
_NAMED = 5  # colours without a meaning
_ENOUGH = 10_000  # of them; it is a photograph

Strip = tuple[NDArray[np.uint8], None]


class LabelRaster:
    """Class ids of an open raster, or what its colours stand for."""

    def __init__(self, dataset: DatasetReader, path: Path, names: tuple[str, ...]) -> None:
        self.dataset, self.path = dataset, path
        self.names: NDArray[np.object_] = np.full(IGNORE + 1, IGNORED, object)
        """(256,) class names by label"""
        self.names[: len(names)] = names

    def strips(self, window: Window) -> Iterator[Strip]:
        """Labels (rows, columns) of a window, from top to bottom."""
        block = self.dataset.block_shapes[0][0]
        step = _ROWS // block * block if block <= _ROWS else min(block, 4 * _ROWS)
        top, end = window.row_off, window.row_off + window.height
        while top < end:
            height = min(end - top, step - top % step)
            yield self.read(Window(window.col_off, top, window.width, height)), None
            top += height

    def read(self, window: Window) -> NDArray[np.uint8]:
        """(h, w) labels."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise AnnotationError for what was read since the last time and has no meaning."""


class _Ids(LabelRaster):
    def __init__(self, labels: Labels, legend: Legend) -> None:
        super().__init__(labels.dataset, labels.path, legend.names)
        self._labels, self._classes, self._largest = labels, len(legend), 0

    def read(self, window: Window) -> NDArray[np.uint8]:
        ids = self._labels.read(window)
        self._largest = max(self._largest, largest_class(ids))
        return ids

    def check(self) -> None:
        largest, self._largest = self._largest, 0
        if largest >= self._classes:
            raise AnnotationError(
                f"{self.path}: holds class {largest}, but the legend ends at {self._classes - 1}. name another "
                "--legend"
            )


class _Pictures(LabelRaster):
    def __init__(self, dataset: DatasetReader, path: Path, colours: Colours) -> None:
        super().__init__(dataset, path, colours.names)
        self._colours = colours
        self._palette = _palette(dataset)
        self._unknown: dict[tuple[int, ...], list[int]] = {}

    def read(self, window: Window) -> NDArray[np.uint8]:
        try:
            pixels = self.dataset.read(window=window)
        except RasterioError as error:
            raise SceneError(f"{self.path}: damaged. copy or download it again") from error
        colours = pixels[:3]
        if self._palette is not None:
            colours = np.moveaxis(self._palette[pixels[0]], 2, 0)
        elif len(pixels) < 3:
            colours = np.broadcast_to(pixels[:1], (3, *pixels.shape[1:]))
        labels = self._colours.labels(colours)
        if len(pixels) in (2, 4):
            labels[pixels[-1] == 0] = IGNORE  # transparent
        if (strange := labels == UNKNOWN).any():
            self._note(colours[:, strange], np.argwhere(strange), window)
        return labels

    def check(self) -> None:
        unknown, self._unknown = self._unknown, {}
        if unknown:
            most = sorted(unknown.items(), key=lambda item: -item[1][0])
            named = ", ".join(
                f"#{red:02x}{green:02x}{blue:02x} ({count:,} pixels, first at column {x}, row {y})"
                for (red, green, blue), (count, x, y) in most[:_NAMED]
            )
            more = f", and {len(most) - _NAMED} more" if len(most) > _NAMED else ""
            raise AnnotationError(
                f"{self.path}: has colours that mean nothing: {named}{more}. add them to a file for --colours, "
                'or all at once by "*"; a JPEG never has exact colours'
            )

    def _note(self, colours: NDArray[np.uint8], places: NDArray[np.int64], window: Window) -> None:
        """Count colours (3, n) that have no meaning, at (n, 2) rows and columns of a window."""
        kinds, first, counts = np.unique(colours.T, axis=0, return_index=True, return_counts=True)
        for kind, index, count in zip(kinds.tolist(), first, counts.tolist(), strict=True):
            row, column = places[index].tolist()
            place = [0, window.col_off + column, window.row_off + row]
            self._unknown.setdefault(tuple(kind), place)[0] += count
        if len(self._unknown) > _ENOUGH:
            self.check()


@contextmanager
def open_label_raster(
    path: Path, *, legend: Legend | None, colours: Colours | None
) -> Iterator[LabelRaster]:
    """Open a raster of class ids, named by `legend` or else by the raster itself, or of `colours`.

    Raises SceneError, AnnotationError when it is none.
    """
    if colours:
        with (
            rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
            open_raster(path) as dataset,
        ):
            check_georeference(dataset, path)
            if set(dataset.dtypes) != {"uint8"} or dataset.count > 4:
                raise AnnotationError(
                    f"{path}: has {dataset.count} bands of {dataset.dtypes[0]}, colours have 1 to 4 of uint8. "
                    "is it the scene itself?"
                )
            yield _Pictures(dataset, path, colours)
        return
    with open_raster(path) as dataset:
        if dataset.count > 1:
            raise AnnotationError(
                f"{path}: is a picture of {dataset.count} bands, not of class ids. say what its colours mean: "
                "--colours isaid, potsdam, or a file"
            )
    with open_labels(path) as labels:
        yield _Ids(labels, legend or read_legend(labels))


def _palette(dataset: DatasetReader) -> NDArray[np.uint8] | None:
    """(256, 3) colours of a raster that holds numbers of them."""
    if dataset.colorinterp[0] != ColorInterp.palette:
        return None
    table = np.zeros((256, 3), np.uint8)
    for number, colour in dataset.colormap(1).items():
        table[number] = colour[:3]
    return table
