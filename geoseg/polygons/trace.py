"""Trace labels along pixel edges: the polygons of GDAL for the whole raster, from strips of it.

One sweep over the rows builds all outlines (`geoseg.polygons.kernels`). Its state between two rows is a row of labels
and the open outlines, so that the polygons and their order do not depend on the heights of the strips.

Notes
-----
Labelling connected components and following the border of each (0.41 s against 0.53 s on 25 million pixels) needs the
whole raster in memory, or joins at every strip. GDAL sweeps too, but is slower, and rasterio creates Python objects
for every corner; contourrs, a Rust crate, is half as fast and keeps everything in memory: `benchmarks/vectorize.py`.
The sweep has no vectorized form, hence numba.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.polygons import kernels
from geoseg.polygons.kernels import collect_polygons, map_rings, oldest_row, polygons_to_wkb, sweep

Labels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]
"""Class IDs; class IDs plus multiples of `geoseg.polygons.kernels.PART`; or IDs of objects."""

Strip = tuple[Labels, NDArray[np.uint8] | None]
"""Labels (rows, columns) of some rows of a scene, and their confidence, (rows, columns), or confidence and uncertainty,
(rows, columns, 2)."""

SKIP = (0, 255)
"""Labels without polygons."""

CONFIDENCE_SCALE = 200
"""Value of the confidence raster that stands for 1."""

LARGEST = 2**31 - 1
"""Largest number of rows or columns of a scene: corners are int32."""

SWEEP_PIXELS = 1 << 17
"""Pixels swept before finished regions are collected, so that the tables stay in the CPU cache."""

BATCH_CORNERS = 1 << 17
"""Corners of a batch (2 MiB as WKB)."""


@dataclass(frozen=True, slots=True, eq=False)
class PolygonBatch:
    """A batch of n finished polygons with r rings and m points."""

    class_id: NDArray[np.uint8]
    """(n,)"""

    pixels: NDArray[np.int64]
    """(n,) numbers of pixels."""

    confidence_mean: NDArray[np.float32]
    """(n,) mean confidence, 0 to 1, of the pixels with a confidence; NaN if there are none."""

    confidence_min: NDArray[np.float32]
    """(n,) lowest confidence of them, or NaN."""

    touches_edge: NDArray[np.bool_]
    """(n,) True if the polygon touches the border of the scene and may continue beyond it."""

    perimeter_xy: NDArray[np.int64]
    """(n, 2) numbers of horizontal and of vertical pixel edges, including holes."""

    coordinates: NDArray[np.int32] | NDArray[np.float64]
    """(m, 2) x (right) and y (down) in pixels of the scene; rings are closed. Corners of pixels are int32.

    As seen on the screen, shells are counter-clockwise and holes clockwise.
    """

    ring_offsets: NDArray[np.int64]
    """(r + 1,) ring i is coordinates[ring_offsets[i]:ring_offsets[i + 1]]."""

    polygon_offsets: NDArray[np.int64]
    """(n + 1,) offsets of the rings of each polygon, shell first."""

    settled: int = 0
    """Row line above all polygons of later batches."""

    id: NDArray[np.int64] | None = None
    """(n,) IDs of objects; None for regions of labels."""

    uncertainty_mean: NDArray[np.float32] | None = None
    """(n,) mean uncertainty, 0 to 1, of the pixels with an uncertainty, or NaN; None if strips have none."""

    def __len__(self) -> int:
        return len(self.class_id)

    def wkb(self, transform: Affine) -> pa.LargeBinaryArray:
        """Return (n,) polygons in map units as WKB, shells counter-clockwise."""
        return polygons_to_wkb(self._map(transform), self.ring_offsets, self.polygon_offsets)

    def geometry(self, transform: Affine) -> NDArray[np.object_]:
        """Return (n,) shapely polygons in map units, shells counter-clockwise."""
        polygons: NDArray[np.object_] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            self._map(transform),
            (self.ring_offsets, self.polygon_offsets),
        )
        return polygons

    def _map(self, transform: Affine) -> NDArray[np.float64]:
        mapped = np.empty(self.coordinates.shape, np.float64)
        map_rings(mapped, self.coordinates, self.ring_offsets, tuple(map(float, transform[:6])))
        return mapped


def trace(
    strips: Iterable[Strip],
    *,
    skip: tuple[int, ...] = SKIP,
    noded: bool = False,
    class_id: NDArray[np.uint8] | None = None,
) -> Iterator[PolygonBatch]:
    """Trace the 4-connected regions of equal label along their pixel edges.

    Parameters
    ----------
    strips
        Labels (rows, columns), uint8 or uint16, or IDs of objects, uint32, and confidence (the same shape, uint8;
        0 to 200 for 0 to 1, 255 for none) or None; confidence and uncertainty together are (rows, columns, 2). From
        top to bottom, all as wide as the scene, of any height. The low byte of uint16 labels is the class; regions of
        one class with different labels are separate.
    skip
        Labels without polygons. Of objects, only ID 0 has none.
    noded
        Add a point where an outline passes the end of another one straight, so that the polygons are a coverage in
        the sense of `shapely.coverage_is_valid`.
    class_id
        (objects + 1,) class of each object by its ID, for strips of IDs.

    Yields
    ------
    PolygonBatch
        Polygons in the order in which they end. They do not depend on the strips. Holes may touch each other and the
        shell in corners, which is valid.

    Raises
    ------
    ValueError
        For arrays of another shape or dtype, and for more than 2**31 - 1 rows or columns.

    Notes
    -----
    Memory holds the polygons that reach the current row, and a batch.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 2]], np.uint8)
    >>> for batch in trace([(labels, None)]):
    ...     print(batch.class_id, batch.pixels)
    [1 2] [4 1]
    """
    if not set(skip) <= set(range(256)):
        raise ValueError(f"skip must hold labels, 0 to 255, got {skip}")
    sweeper: _Sweeper | None = None
    for labels, confidence in strips:
        _check(labels, confidence, objects=class_id is not None)
        sweeper = sweeper or _Sweeper(labels.shape[1], skip, noded=noded, class_id=class_id)
        yield from sweeper.add(labels, confidence)
    if sweeper:
        yield from sweeper.end()


def _check(labels: Labels, confidence: NDArray[np.uint8] | None, *, objects: bool) -> None:
    kinds = (np.uint32,) if objects else (np.uint8, np.uint16)
    if labels.ndim != 2 or labels.dtype not in kinds:
        kind = "uint32 with class_id" if objects else "uint8"
        raise ValueError(
            f"labels must be (rows, columns) {kind}, got {labels.shape} {labels.dtype}"
        )
    if confidence is None:
        return
    if confidence.shape not in (labels.shape, (*labels.shape, 2)) or confidence.dtype != np.uint8:
        raise ValueError(
            f"confidence must be {labels.shape} uint8 as the labels, "
            f"got {confidence.shape} {confidence.dtype}"
        )


def region_values(skip: tuple[int, ...] = SKIP) -> NDArray[np.uint32]:
    """Return (LABELS,) values of regions by their label: the label plus 1, or OUTSIDE for labels to skip."""
    values = np.arange(1, kernels.LABELS + 1, dtype=np.uint32)
    values[list(skip)] = kernels.OUTSIDE
    return values


class _Sweeper:
    """Arrays and state of a sweep between two rows.

    Values of regions are IDs of objects, or `region_values`.
    """

    def __init__(
        self,
        width: int,
        skip: tuple[int, ...],
        *,
        noded: bool,
        class_id: NDArray[np.uint8] | None,
    ) -> None:
        if width > LARGEST:
            raise ValueError(f"a scene has at most {LARGEST} columns, got {width}")
        self.width = width
        self.y = 0
        self.noded = noded
        self.settled = 0
        self.class_id = class_id
        self.values = region_values(skip)
        self.rows = max(1, SWEEP_PIXELS // (width + 2))
        # copies: kernels get one type, and a border around the scene
        self.labels = np.full((self.rows + 1, width + 2), kernels.OUTSIDE, np.uint32)
        self.planes = np.empty((2, self.rows, width), np.uint8)
        self.uncertain = False
        self.state = kernels.empty_state(width)
        self.buffer = kernels.empty_buffer(BATCH_CORNERS)

    def add(self, labels: Labels, confidence: NDArray[np.uint8] | None) -> Iterator[PolygonBatch]:
        """Sweep a strip."""
        height, width = labels.shape
        if width != self.width:
            raise ValueError(f"a strip must be {self.width} columns wide as the first, got {width}")
        if self.y + height > LARGEST:
            raise ValueError(f"a scene has at most {LARGEST} rows, got {self.y + height}")
        for row in range(0, height, self.rows):
            part = slice(row, row + self.rows)
            self._sweep(labels[part], None if confidence is None else confidence[part])
            yield from self._collect()

    def end(self) -> Iterator[PolygonBatch]:
        """Sweep the border below the scene."""
        self._sweep(np.full((1, self.width), kernels.OUTSIDE, np.uint32), None)
        yield from self._collect(last=True)
        if self.buffer.counts[kernels.N_POLYGONS]:
            yield self._read_buffer(self.y)

    def _sweep(self, labels: Labels, confidence: NDArray[np.uint8] | None) -> None:
        height = len(labels)
        if self.noded:  # `settled` is only needed with noded outlines
            self.settled = oldest_row(self.state, self.labels[0], self.y)
        self.labels[1 : height + 1, 1:-1] = (
            labels if labels.dtype == np.uint32 else self.values[labels]
        )
        confidence, uncertainty = self._copy_planes(confidence)
        row = 1
        while True:
            done = sweep(
                self.state, self.labels[: height + 1], confidence, uncertainty, row, self.y, self.noded
            )  # fmt: skip
            self.y += done - row
            row = done
            if row > height:
                break
            self.state = kernels.grow_state(self.state)
        self.labels[0] = self.labels[height]

    def _copy_planes(
        self, confidence: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return confidence and uncertainty of `self.rows` rows, without columns if there is none."""
        planes = self.planes
        if confidence is None:
            return planes[0, :, :0], planes[1, :, :0]
        if confidence.ndim == 2:
            planes[0, : len(confidence)] = confidence
            return planes[0], planes[1, :, :0]
        self.uncertain = True
        planes[:, : len(confidence)] = np.moveaxis(confidence, -1, 0)
        return planes[0], planes[1]

    def _collect(self, *, last: bool = False) -> Iterator[PolygonBatch]:
        corners = int(self.state.counters[kernels.DONE_NODES])
        rings = self.buffer.counts[kernels.N_RINGS]
        if self.buffer.ring_offsets[rings] + kernels.max_points(corners) > len(self.buffer.xy):
            if rings:
                yield self._read_buffer(self.settled)
            self.buffer = kernels.empty_buffer(max(corners, BATCH_CORNERS))
        collect_polygons(
            self.state, self.buffer, kernels.empty_loop_buffer(corners), self.width, last
        )

    def _read_buffer(self, settled: int) -> PolygonBatch:
        buffer = self.buffer
        polygons, rings = buffer.counts
        attributes = buffer.attributes[:polygons]
        count = attributes[:, kernels.ATTR_COUNT]
        known = np.where(count > 0, np.float32(CONFIDENCE_SCALE), np.nan)
        uncertainty = None
        if self.uncertain:
            number = attributes[:, kernels.ATTR_UNCERTAINTY_COUNT] * np.float64(CONFIDENCE_SCALE)
            number[number == 0] = np.nan
            uncertainty = attributes[:, kernels.ATTR_UNCERTAINTY_SUM] / number
        value, ids = attributes[:, kernels.ATTR_VALUE], None
        if self.class_id is None:
            class_id = (value - 1).astype(np.uint8)
        else:
            class_id, ids = self.class_id[value], value.copy()
        return PolygonBatch(
            class_id=class_id,
            pixels=attributes[:, kernels.ATTR_PIXELS].copy(),
            confidence_mean=(attributes[:, kernels.ATTR_SUM] / (known * count)).astype(np.float32),
            confidence_min=(attributes[:, kernels.ATTR_LOWEST] / known).astype(np.float32),
            touches_edge=attributes[:, kernels.ATTR_EDGE].astype(bool),
            perimeter_xy=attributes[:, [kernels.ATTR_HORIZONTAL, kernels.ATTR_VERTICAL]],
            coordinates=buffer.xy[: buffer.ring_offsets[rings]],
            ring_offsets=buffer.ring_offsets[: rings + 1],
            polygon_offsets=buffer.polygon_offsets[: polygons + 1],
            settled=settled,
            id=ids,
            uncertainty_mean=None if uncertainty is None else uncertainty.astype(np.float32),
        )
