"""Objects of a scene in a temporary raster: decoded in one pass over the scene, read by windows afterwards.

The IDs of objects are known when the last row has been decoded, so the first pass writes provisional numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.concurrency import prefetch
from geoseg.errors import ConfigError, SceneError
from geoseg.files import discard
from geoseg.legend import Legend
from geoseg.options import PolygonOptions
from geoseg.polygons.attributes import RowArea
from geoseg.polygons.clean import HoleFilter, filter_rows
from geoseg.polygons.object_rules import RULES_TAG, default_rules, read_rules
from geoseg.polygons.objects import Decoding, EnergyStrip, ObjectDecoder, ObjectTable
from geoseg.polygons.trace import Strip
from geoseg.progress import Track, silent
from geoseg.raster.cog import ROWS, RowWriter, ignore_missing_georeference
from geoseg.raster.labels import (
    Certainty,
    ConfidenceArray,
    ConfidenceFile,
    LabelArray,
    LabelFile,
    read_class_ids,
)

_STRIP = 2 * ROWS

Energy = ConfidenceFile | ConfidenceArray
"""Plane by which objects are separated, 0 to 200."""


def choose_decoding(
    options: PolygonOptions,
    legend: Legend,
    *,
    confidence: Energy | None = None,
    interior: Energy | None = None,
    row_area: RowArea | None = None,
) -> tuple[Decoding, Energy] | None:
    """Return how `options` separate objects, and by which plane.

    Parameters
    ----------
    options
        *split* is the method; *auto* is *interior* if there is that plane. The smallest sizes apply to objects.
    legend
        Classes, which are countable or not.
    confidence
        Confidence of the labels, for *confidence*. The rules are the default ones.
    interior
        Interior of objects, for *interior*. The rules are those in its tags, else the default ones.
    row_area
        Area of a pixel by row, needed for ``options.min_area_m2``.

    Returns
    -------
    tuple or None
        None if polygons are regions of the labels: *none*, *necks*, or *auto* without interior.

    Raises
    ------
    ConfigError
        If there is no such plane.
    SceneError
        If the rules in the tags are not those of the classes.
    """
    method = options.split
    if method == "auto":
        method = "none" if interior is None else "interior"
    if method not in ("interior", "confidence"):
        return None
    energy = interior if method == "interior" else confidence
    if energy is None:
        raise ConfigError(f"--split {method} needs a raster of it. Pass --{method} TIF")
    rules = None
    if isinstance(energy, ConfidenceFile):
        try:
            rules = read_rules(energy.dataset.tags(), legend)
        except ValueError as error:
            raise SceneError(
                f"{energy.path}: its tag {RULES_TAG} is damaged ({error}). "
                "Remove the tag: gdal_edit.py -unsetmd"
            ) from error
    decoding = Decoding(
        rules or default_rules(len(legend)),
        legend.countable,
        across_classes=method == "interior",
        min_pixels=options.min_pixels,
        min_area_m2=options.min_area_m2,
        row_area=row_area,
    )
    return decoding, energy


def read_energy_strips(
    labels: LabelFile | LabelArray, energy: Energy, legend: Legend, track: Track = silent
) -> Iterator[EnergyStrip]:
    """Yield class IDs and energy from top to bottom. Raises as `geoseg.raster.labels.read_class_ids`."""
    for window in track(labels.strips(), "objects"):
        yield read_class_ids(labels, legend, window), energy.read(window)


class ObjectRaster:
    """Decoded objects of a scene, while `open_objects` keeps their raster open."""

    def __init__(self, raster: DatasetReader, table: ObjectTable) -> None:
        self._raster = raster
        self._table = table
        self.shape: tuple[int, int] = raster.shape
        """Rows and columns."""

    @property
    def class_id(self) -> NDArray[np.uint8]:
        """(n + 1,) class of each object by its ID, for `geoseg.polygons.table.extract_polygons`."""
        return self._table.class_id

    @property
    def pixels(self) -> NDArray[np.int64]:
        """(n + 1,) area of each object in pixels, by its ID."""
        return self._table.pixels

    def __len__(self) -> int:
        return len(self._table.class_id) - 1

    def read(self, window: Window) -> NDArray[np.uint32]:
        """Return (h, w) IDs, 0 for none. They are 1, 2, 3 … in the order of first pixels, row by row."""
        return self._table.finish(self._raster.read(1, window=window))

    def read_strips(
        self,
        windows: Iterable[Window],
        confidence: Certainty | None = None,
        *,
        fill_holes: int = 0,
    ) -> Iterator[Strip]:
        """Yield IDs and confidence from top to bottom, for `geoseg.polygons.table.extract_polygons`.

        Parameters
        ----------
        windows
            Windows of full width, from top to bottom.
        confidence
            Confidence of the labels, or confidence and uncertainty.
        fill_holes
            Largest number of pixels of a hole that becomes part of the object that alone surrounds it.
        """
        strips = self._read_strips(windows, confidence)
        return filter_rows(strips, HoleFilter(fill_holes)) if fill_holes else strips

    def _read_strips(
        self, windows: Iterable[Window], confidence: Certainty | None
    ) -> Iterator[Strip]:
        for window in windows:
            values = confidence.read(window) if confidence else None
            for top in range(0, window.height, _STRIP):  # IDs take four times the memory
                height = min(_STRIP, window.height - top)
                part = Window(window.col_off, window.row_off + top, window.width, height)
                yield self.read(part), None if values is None else values[top : top + height]


@contextmanager
def open_objects(
    strips: Iterable[EnergyStrip], decoding: Decoding, *, shape: tuple[int, int], path: Path
) -> Iterator[ObjectRaster]:
    """Decode the objects of a scene into a temporary raster.

    Parameters
    ----------
    strips
        Labels and energy from top to bottom, of any heights; read before the block begins.
    decoding
        Rules and classes.
    shape
        Rows and columns of the scene.
    path
        Raster to create; removed when the block ends.

    Yields
    ------
    ObjectRaster
        The same for any heights of strips.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    decoder = ObjectDecoder(decoding)
    try:
        with (
            ThreadPoolExecutor(1) as thread,
            closing(RowWriter(path, shape, "int32")) as writer,
        ):
            for provisional in prefetch(thread, decoder.decode(strips)):
                writer.write(provisional)
        with ignore_missing_georeference():
            raster = rasterio.open(path.absolute())
        with raster:
            yield ObjectRaster(raster, decoder.finish())
    finally:
        discard(path)
