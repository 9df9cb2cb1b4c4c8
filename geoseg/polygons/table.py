"""Polygons as rows: the columns of every format, in Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.legend import Legend
from geoseg.options import PolygonOptions
from geoseg.polygons.attributes import RowArea, area_m2, perimeter_m
from geoseg.polygons.trace import Labels, Traced, trace

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


GEOMETRY = "geom"
"""Name of the geometry column."""

SCHEMA = pa.schema(
    [
        ("class_id", pa.int32()),
        ("class", pa.string()),
        ("confidence", pa.float64()),
        ("confidence_min", pa.float64()),
        ("pixels", pa.int64()),
        ("area_m2", pa.float64()),
        ("perimeter_m", pa.float64()),
        ("scene", pa.string()),
        ("touches_edge", pa.bool_()),
        (GEOMETRY, pa.large_binary()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """A batch of polygons: what they are, and how they are drawn."""

    traced: Traced
    """Along the edges of their pixels."""

    drawn: Traced
    """The same polygons in the same order, with the outlines that are written."""


@dataclass(frozen=True, slots=True)
class Table:
    """What all rows have in common."""

    legend: Legend

    crs: CRS | None
    """None: nobody knows where the polygons are, and how large."""

    transform: Affine
    """From pixel corners to `crs`."""

    scene: str
    """Name of the scene, told in every row."""

    def rows(self, segments: Segments) -> pa.RecordBatch:
        """One row per polygon.

        Confidences are rounded to three decimals, NULL where there are none. `pixels` and
        `area_m2` are those of the region, `perimeter_m` is that of the outline as drawn, both
        NULL where nobody knows the metres.
        """
        traced = segments.traced
        class_id = traced.class_id.astype(np.int32)
        columns = [
            _column(class_id),
            _words(self.legend.names).take(_column(class_id)),
            _column(traced.confidence_mean.astype(np.float64).round(3)),
            _column(traced.confidence_min.astype(np.float64).round(3)),
            _column(traced.pixels),
            _column(area_m2(traced, self.transform, self.crs)),
            _column(perimeter_m(segments.drawn, self.transform, self.crs)),
            _words([self.scene]).take(_column(np.zeros_like(class_id))),
            _column(traced.touches_edge),
            segments.drawn.wkb(self.transform),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    def large(self, traced: Traced, cleaning: PolygonOptions) -> NDArray[np.bool_]:
        """(n,) False where a polygon is to be left out as too small; of unknown area none is."""
        large = traced.pixels >= cleaning.min_pixels
        if cleaning.min_area_m2:
            large &= ~(area_m2(traced, self.transform, self.crs) < cleaning.min_area_m2)
        return large


def rows(
    batches: Iterable[Segments], table: Table, cleaning: PolygonOptions = PolygonOptions()
) -> Iterator[pa.RecordBatch]:
    """Rows of all polygons that are large enough, batch by batch."""
    for segments in batches:
        large = table.large(segments.traced, cleaning)
        batch = table.rows(segments)
        yield batch if large.all() else batch.filter(_column(large))


# pyarrow.array would do, but it imports pandas to ask whether that is what it was given


def _column(values: NDArray[Any]) -> pa.Array:
    """Numbers or truth values, null where they are nan."""
    known = None
    if values.dtype.kind == "f" and np.isnan(values).any():
        known = pa.py_buffer(np.packbits(~np.isnan(values), bitorder="little"))
    data = np.packbits(values, bitorder="little") if values.dtype == bool else values
    kind = pa.bool_() if values.dtype == bool else pa.from_numpy_dtype(values.dtype)
    buffer = pa.py_buffer(np.ascontiguousarray(data))
    return pa.Array.from_buffers(kind, len(values), [known, buffer])


def _words(words: Sequence[str]) -> pa.StringArray:
    data = [word.encode() for word in words]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(data))]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)


# Polygons as a GeoDataFrame in memory.


def to_frame(
    batches: Iterable[Segments], table: Table, cleaning: PolygonOptions = PolygonOptions()
) -> GeoDataFrame:
    """All polygons, with the columns of the files."""
    import geopandas

    found = pa.Table.from_batches(rows(batches, table, cleaning), SCHEMA)
    geometry = shapely.from_wkb(found[GEOMETRY].to_numpy())
    attributes = found.drop_columns([GEOMETRY]).to_pandas()
    crs = None if table.crs is None else table.crs.to_wkt()
    return geopandas.GeoDataFrame(attributes, geometry=geometry, crs=crs)


# Labels, strip by strip → polygons, cleaned and drawn as asked.

Strip = tuple[Labels, NDArray[np.uint8] | None]


def segments(
    strips: Iterable[Strip],
    cleaning: PolygonOptions = PolygonOptions(),
    row_area: RowArea | None = None,
) -> Iterator[Segments]:
    """Polygons of all strips, in batches; what is too small may still be among them.

    strips: as for `geoseg.polygons.trace.trace`. `row_area` is needed for `min_area_m2`.
    """
    if cleaning.changes_labels or cleaning.changes_outlines:
        strips = _clean(strips, cleaning, row_area)
    if cleaning.changes_outlines:
        yield from _drawn(strips, cleaning)
    elif cleaning.oriented_boxes:
        from geoseg.polygons.simplify import boxes

        yield from (Segments(batch, boxes(batch)) for batch in trace(strips))
    else:
        yield from (Segments(batch, batch) for batch in trace(strips))


def _clean(
    strips: Iterable[Strip], cleaning: PolygonOptions, row_area: RowArea | None
) -> Iterable[Strip]:
    from geoseg.polygons.clean import drop_small, fill_holes, held

    if cleaning.min_pixels or cleaning.min_area_m2:
        small = drop_small(cleaning.min_pixels, cleaning.min_area_m2, row_area or _unknown)
        strips = held(strips, small)
    if cleaning.fill_holes:
        strips = held(strips, fill_holes(cleaning.fill_holes))
    if cleaning.split:
        from geoseg.polygons.split import split_objects

        wide = ((labels.astype(np.uint16), confidence) for labels, confidence in strips)
        strips = held(wide, split_objects)
    return strips


def _drawn(strips: Iterable[Strip], cleaning: PolygonOptions) -> Iterator[Segments]:
    from geoseg.polygons.simplify import Vertices, drawn

    vertices = Vertices()
    for batch in trace(vertices.watch(strips), noded=True):
        outlines = drawn(batch, vertices, simplify=cleaning.simplify, smooth=cleaning.smooth)
        yield Segments(batch, outlines)
        vertices.forget(batch.settled)


def _unknown(_first: int, rows: int) -> NDArray[np.float64]:
    return np.full(rows, np.nan)
