"""Labels → polygons along pixel edges: GDAL's polygons of the whole raster, from strips of it.

One sweep over the rows builds all outlines at once (`sweep.py`). Between two rows it remembers a
row of labels and the outlines that are still open, so there are no seams to mend: the polygons are
the same, in the same order, whatever the heights of the strips. The other way, to label connected
components and then walk around each (0.41 s against 0.53 s on 25 million pixels), needs the whole
raster in memory, or a mended seam at every strip. GDAL sweeps too, but is slower, and rasterio
makes Python objects of every corner: `benchmarks/vectorize.py` compares.

The sweep is compiled by numba, as it has no vectorised form; a Rust crate that does the same
(contourrs) is half as quick and holds everything in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.polygons import kernels as tables
from geoseg.polygons.kernels import collect, map_rings, oldest, polygons_to_wkb, sweep

Labels = NDArray[np.uint8] | NDArray[np.uint16]

CONFIDENCE_SCALE = 200
"""The value of the confidence raster that means 1."""

LARGEST = 2**31 - 1
"""Rows and columns of a scene, at most: corners are int32."""

SWEEP_PIXELS = 1 << 17
"""Pixels swept at a time. What is finished is then collected, so the tables stay in the cache."""

BATCH_CORNERS = 1 << 17
"""Corners that make a batch (2 MiB as WKB)."""


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A batch of n finished polygons with r rings and m points."""

    class_id: NDArray[np.uint8]
    """(n,)"""

    pixels: NDArray[np.int64]
    """(n,) number of pixels."""

    confidence_mean: NDArray[np.float32]
    """(n,) mean confidence, 0 to 1, of the pixels that have one; nan if none has."""

    confidence_min: NDArray[np.float32]
    """(n,) the lowest of them; nan likewise."""

    touches_edge: NDArray[np.bool_]
    """(n,) True where the polygon lies at the border of the scene and may go on beyond."""

    perimeter_xy: NDArray[np.int64]
    """(n, 2) number of horizontal and of vertical pixel edges, those of holes included."""

    coordinates: NDArray[np.int32] | NDArray[np.float64]
    """(m, 2) x (right) and y (down) in pixels of the scene; rings are closed. As traced they are
    corners of pixels, int32.

    On the screen, shells run counter-clockwise and holes clockwise."""

    ring_offsets: NDArray[np.int64]
    """(r + 1,) ring i is coordinates[ring_offsets[i]:ring_offsets[i + 1]]."""

    polygon_offsets: NDArray[np.int64]
    """(n + 1,) likewise the rings of a polygon, shell first."""

    settled: int = 0
    """All polygons of later batches lie below this row line."""

    def __len__(self) -> int:
        return len(self.class_id)

    def wkb(self, transform: Affine) -> pa.LargeBinaryArray:
        """(n,) polygons in the units of `transform` as WKB, shells counter-clockwise."""
        return polygons_to_wkb(self._mapped(transform), self.ring_offsets, self.polygon_offsets)

    def geometry(self, transform: Affine) -> NDArray[np.object_]:
        """(n,) shapely polygons in the units of `transform`, shells counter-clockwise."""
        polygons: NDArray[np.object_] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            self._mapped(transform),
            (self.ring_offsets, self.polygon_offsets),
        )
        return polygons

    def _mapped(self, transform: Affine) -> NDArray[np.float64]:
        mapped = np.empty(self.coordinates.shape, np.float64)
        map_rings(mapped, self.coordinates, self.ring_offsets, tuple(map(float, transform[:6])))
        return mapped


def trace(
    strips: Iterable[tuple[Labels, NDArray[np.uint8] | None]],
    *,
    skip: tuple[int, ...] = (0, 255),
    noded: bool = False,
) -> Iterator[Traced]:
    """Polygons of the 4-connected regions of equal label, in batches as they are finished.

    strips: labels (rows, columns) and confidence (the same shape; 0 to 200 = 0 to 1, 255 = none)
    from top to bottom, all as wide as the scene and of any height. skip: labels that get no
    polygon; they still bound the others. The holes of a polygon may touch each other and its shell
    in corners, as the standard allows. `noded`: an outline that goes straight past the end of another
    has a point there too, so that the polygons are a coverage in the sense of
    `shapely.coverage_is_valid`. Labels may be uint16: then their low byte is the class, and
    regions of a class whose labels differ are told apart. Polygons come in the order in which they end, and the same
    ones whatever the strips.

    Memory holds the polygons that reach the current row, and a batch. Raises ValueError, when the
    strip is read, for arrays of another dtype or shape and beyond 2**31 - 1 rows or columns.
    """
    if not set(skip) <= set(range(256)):
        raise ValueError(f"skip must hold labels, 0 to 255, got {skip}")
    sweeper: _Sweeper | None = None
    for labels, confidence in strips:
        _check(labels, confidence)
        sweeper = sweeper or _Sweeper(labels.shape[1], skip, noded=noded)
        yield from sweeper.add(labels, confidence)
    if sweeper:
        yield from sweeper.end()


def _check(labels: Labels, confidence: NDArray[np.uint8] | None) -> None:
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"labels must be (rows, columns) uint8, got {labels.shape} {labels.dtype}")
    if confidence is None:
        return
    if confidence.shape != labels.shape or confidence.dtype != np.uint8:
        raise ValueError(
            f"confidence must be {labels.shape} uint8 as the labels, "
            f"got {confidence.shape} {confidence.dtype}"
        )


class _Sweeper:
    """The state between two rows."""

    def __init__(self, width: int, skip: tuple[int, ...], *, noded: bool) -> None:
        if width > LARGEST:
            raise ValueError(f"a scene has at most {LARGEST} columns, got {width}")
        self.width = width
        self.y = 0
        self.noded = noded
        self.settled = 0
        self.live = np.ones(tables.LABELS, bool)
        self.live[[*skip, tables.OUTSIDE]] = False
        self.rows = max(1, SWEEP_PIXELS // (width + 2))
        # copies, so that the kernels always see the same types and need no test for the border
        self.labels = np.full((self.rows + 1, width + 2), tables.OUTSIDE, np.uint16)
        self.confidence = np.empty((self.rows, width), np.uint8)
        self.pool = tables.empty_pool(width)
        self.batch = tables.empty_batch(BATCH_CORNERS)

    def add(self, labels: Labels, confidence: NDArray[np.uint8] | None) -> Iterator[Traced]:
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

    def end(self) -> Iterator[Traced]:
        """Sweep the border below the scene."""
        self._sweep(np.full((1, self.width), tables.OUTSIDE, np.uint16), None)
        yield from self._collect(last=True)
        if self.batch.filled[tables.POLYGONS]:
            yield _traced(self.batch, self.y)

    def _sweep(self, labels: Labels, confidence: NDArray[np.uint8] | None) -> None:
        height = len(labels)
        if self.noded:  # only who asks for that asks what is settled
            self.settled = oldest(self.pool, self.labels[0], self.live, self.y)
        self.labels[1 : height + 1, 1:-1] = labels
        if confidence is not None:
            self.confidence[:height] = confidence
        values = self.confidence[:, : 0 if confidence is None else self.width]
        row = 1
        while True:
            done = sweep(
                self.pool, self.labels[: height + 1], values, self.live, row, self.y, self.noded
            )
            self.y += done - row
            row = done
            if row > height:
                break
            self.pool = tables.grown_pool(self.pool)
        self.labels[0] = self.labels[height]

    def _collect(self, *, last: bool = False) -> Iterator[Traced]:
        corners = int(self.pool.counters[tables.DONE_NODES])
        rings = self.batch.filled[tables.POLYGON_RINGS]
        if self.batch.ring_offsets[rings] + tables.points_of(corners) > len(self.batch.xy):
            if rings:
                yield _traced(self.batch, self.settled)
            self.batch = tables.empty_batch(max(corners, BATCH_CORNERS))
        collect(self.pool, self.batch, tables.scratch(corners), self.width, last)


def _traced(batch: tables.Batch, settled: int) -> Traced:
    polygons, rings = batch.filled
    facts = batch.facts[:polygons]
    count = facts[:, tables.F_COUNT]
    known = np.where(count > 0, np.float32(CONFIDENCE_SCALE), np.nan)
    return Traced(
        class_id=facts[:, tables.F_LABEL].astype(np.uint8),
        pixels=facts[:, tables.F_PIXELS].copy(),
        confidence_mean=(facts[:, tables.F_SUM] / (known * count)).astype(np.float32),
        confidence_min=(facts[:, tables.F_LOWEST] / known).astype(np.float32),
        touches_edge=facts[:, tables.F_EDGE].astype(bool),
        perimeter_xy=facts[:, [tables.F_HORIZONTAL, tables.F_VERTICAL]],
        coordinates=batch.xy[: batch.ring_offsets[rings]],
        ring_offsets=batch.ring_offsets[: rings + 1],
        polygon_offsets=batch.polygon_offsets[: polygons + 1],
        settled=settled,
    )
