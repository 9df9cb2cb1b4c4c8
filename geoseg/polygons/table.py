"""Polygons as rows of an attribute table, in Arrow batches or as a GeoDataFrame."""

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

from geoseg.errors import ConfigError
from geoseg.legend import Legend
from geoseg.options import PolygonOptions
from geoseg.polygons.attributes import RowArea, area_m2, perimeter_m, row_areas
from geoseg.polygons.boxes import measure_boxes
from geoseg.polygons.trace import PolygonBatch, Strip, trace

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


GEOMETRY = "geom"
"""Name of the geometry column."""

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("class_id", pa.int32()),
        ("class", pa.string()),
        ("confidence", pa.float64()),
        ("confidence_min", pa.float64()),
        ("pixels", pa.int64()),
        ("area_m2", pa.float64()),
        ("perimeter_m", pa.float64()),
        ("box_length_m", pa.float64()),
        ("box_width_m", pa.float64()),
        ("box_angle", pa.float64()),
        ("scene", pa.string()),
        ("touches_edge", pa.bool_()),
        (GEOMETRY, pa.large_binary()),
    ]
)


UNCERTAINTY = pa.field("uncertainty", pa.float64())
"""Column after the confidences of a table with uncertainty."""

_AFTER_CONFIDENCE = SCHEMA.get_field_index("confidence_min") + 1


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """A batch of polygons: regions of pixels, and the outlines that are written."""

    regions: PolygonBatch
    """Outlines along pixel edges."""

    outlines: PolygonBatch
    """The same polygons in the same order, simplified or replaced as the options ask for."""


@dataclass(frozen=True, slots=True)
class AttributeTable:
    """What all rows have in common."""

    legend: Legend

    crs: CRS | None
    """None: position and size of the polygons are unknown."""

    transform: Affine
    """Pixel-to-map transform."""

    scene: str
    """Name of the scene, repeated in every row."""

    uncertainty: bool = False
    """True for a column with the mean uncertainty."""

    unit_m: float | None = None
    """Metres of a unit of the map where the CRS is None; None: unknown."""

    @property
    def _ground(self) -> tuple[Affine, CRS | None, float | None]:
        return self.transform, self.crs, self.unit_m

    def row_areas(self, width: int) -> RowArea:
        """Return a function that computes the area of a pixel in each row of a raster of this width."""
        return row_areas(self.transform, self.crs, width, self.unit_m)

    @property
    def schema(self) -> pa.Schema:
        """`SCHEMA`, with the column of the uncertainty if there is one."""
        return SCHEMA.insert(_AFTER_CONFIDENCE, UNCERTAINTY) if self.uncertainty else SCHEMA

    def to_record_batch(self, polygons: Polygons, ids: NDArray[np.int64]) -> pa.RecordBatch:
        """Return one row per polygon, with `schema`.

        Confidences are rounded to three decimals, NULL without confidence; so is the uncertainty. `pixels`, `area_m2`
        and the oriented box are those of the region, `perimeter_m` is that of the outline; metres are NULL if they are
        unknown.
        """
        regions = polygons.regions
        class_id = regions.class_id.astype(np.int32)
        length, width, angle = measure_boxes(regions, *self._ground).T
        columns = [
            _column(ids),
            _column(class_id),
            _strings(self.legend.names).take(_column(class_id)),
            _column(regions.confidence_mean.astype(np.float64).round(3)),
            _column(regions.confidence_min.astype(np.float64).round(3)),
            _column(regions.pixels),
            _column(area_m2(regions, *self._ground)),
            _column(perimeter_m(polygons.outlines, *self._ground)),
            _column(length.round(3)),
            _column(width.round(3)),
            _column(angle.round(2) % 180),
            _strings([self.scene]).take(_column(np.zeros_like(class_id))),
            _column(regions.touches_edge),
            polygons.outlines.wkb(self.transform),
        ]
        if self.uncertainty:
            mean = regions.uncertainty_mean
            mean = np.full(len(regions), np.nan, np.float32) if mean is None else mean
            columns.insert(_AFTER_CONFIDENCE, _column(mean.astype(np.float64).round(3)))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def is_kept(self, regions: PolygonBatch, options: PolygonOptions) -> NDArray[np.bool_]:
        """Return (n,) False for polygons that are too small, too uncertain or of other classes.

        Unknown areas and confidences are no reason. Objects with IDs have been selected by area when they were
        decoded.
        """
        kept = regions.pixels >= options.min_pixels
        if options.min_area_m2 and regions.id is None:
            kept &= ~(area_m2(regions, *self._ground) < options.min_area_m2)
        if options.min_confidence:
            kept &= ~(regions.confidence_mean < options.min_confidence)
        if options.classes:
            kept &= np.isin(regions.class_id, find_class_ids(self.legend, options.classes))
        return kept


def find_class_ids(legend: Legend, names: Iterable[str]) -> list[int]:
    """Return the IDs of classes. Raises ConfigError if one is not in the legend."""
    try:
        return [legend.id_of(name) for name in names]
    except ValueError as error:
        raise ConfigError(f"--classes: {error}. Name classes of the model or raster") from error


def to_record_batches(
    batches: Iterable[Polygons], table: AttributeTable, options: PolygonOptions = PolygonOptions()
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all polygons that `options` keep. Regions are numbered from 1 in this order."""
    used = 0
    for polygons in batches:
        kept = table.is_kept(polygons.regions, options)
        numbers = used + kept.cumsum()
        used += int(kept.sum())
        ids = polygons.regions.id
        rows = table.to_record_batch(polygons, numbers if ids is None else ids)
        yield rows if kept.all() else rows.filter(_column(kept))


def to_geodataframe(
    batches: Iterable[Polygons], table: AttributeTable, options: PolygonOptions = PolygonOptions()
) -> GeoDataFrame:
    """Return all polygons that `options` keep, with the columns of the files."""
    import geopandas

    rows = pa.Table.from_batches(to_record_batches(batches, table, options), table.schema)
    geometry = shapely.from_wkb(rows[GEOMETRY].to_numpy())
    attributes = rows.drop_columns([GEOMETRY]).to_pandas()
    crs = None if table.crs is None else table.crs.to_wkt()
    return geopandas.GeoDataFrame(attributes, geometry=geometry, crs=crs)


def extract_polygons(
    strips: Iterable[Strip],
    options: PolygonOptions = PolygonOptions(),
    row_area: RowArea | None = None,
    *,
    class_id: NDArray[np.uint8] | None = None,
    countable: Sequence[bool] = (),
) -> Iterator[Polygons]:
    """Trace, clean and simplify polygons, in batches.

    Parameters
    ----------
    strips
        Labels and confidence, as for `geoseg.polygons.trace.trace`.
    options
        Cleaning and outlines. Polygons below the smallest size may remain: `AttributeTable.is_kept` finds them.
    row_area
        Area of a pixel by row, needed for `min_area_m2`.
    class_id
        Class of each object by its ID, for strips of IDs as of
        `geoseg.polygons.object_raster.ObjectRaster.read_strips`. Only the outlines of objects are changed here.
    countable
        By class ID: True for classes whose outlines `regularize` may replace.
    """
    if class_id is None and (options.changes_labels or options.changes_outlines):
        strips = _filter_strips(strips, options, row_area)
    if options.regularize:
        from geoseg.polygons.regularize import regularize_outlines

        pairs = ((b.regions, b.outlines) for b in _simplify(strips, options, class_id))
        yield from (Polygons(*pair) for pair in regularize_outlines(pairs, countable))
    elif options.changes_outlines:
        yield from _simplify(strips, options, class_id)
    elif options.oriented_boxes:
        from geoseg.polygons.boxes import fit_oriented_boxes

        yield from (
            Polygons(batch, fit_oriented_boxes(batch)) for batch in trace(strips, class_id=class_id)
        )
    else:
        yield from (Polygons(batch, batch) for batch in trace(strips, class_id=class_id))


def _filter_strips(
    strips: Iterable[Strip], options: PolygonOptions, row_area: RowArea | None
) -> Iterable[Strip]:
    from geoseg.polygons.clean import HoleFilter, SmallRegionFilter, filter_rows

    if options.min_pixels or options.min_area_m2:
        small = SmallRegionFilter(
            options.min_pixels, options.min_area_m2, row_area or _unknown_area
        )
        strips = filter_rows(strips, small)
    if options.fill_holes:
        strips = filter_rows(strips, HoleFilter(options.fill_holes))
    if options.split == "necks":
        from geoseg.polygons.necks import split_objects

        wide = ((labels.astype(np.uint16), confidence) for labels, confidence in strips)
        strips = filter_rows(wide, split_objects)
    return strips


def _simplify(
    strips: Iterable[Strip], options: PolygonOptions, class_id: NDArray[np.uint8] | None
) -> Iterator[Polygons]:
    from geoseg.polygons.simplify import CornerIndex, simplify_outlines

    index = CornerIndex()
    for regions in trace(index.index_strips(strips), noded=True, class_id=class_id):
        outlines = simplify_outlines(
            regions, index, simplify=options.simplify, smooth=options.smooth
        )
        yield Polygons(regions, outlines)
        index.drop_above(regions.settled)


def _unknown_area(_first: int, rows: int) -> NDArray[np.float64]:
    return np.full(rows, np.nan)


# Arrow arrays from buffers: pyarrow.array would import pandas to check whether it got a Series


def _column(values: NDArray[Any]) -> pa.Array:
    """Return numbers or booleans as an Arrow array, null where they are NaN."""
    valid = None
    if values.dtype.kind == "f" and np.isnan(values).any():
        valid = pa.py_buffer(np.packbits(~np.isnan(values), bitorder="little"))
    data = np.packbits(values, bitorder="little") if values.dtype == bool else values
    kind = pa.bool_() if values.dtype == bool else pa.from_numpy_dtype(values.dtype)
    buffer = pa.py_buffer(np.ascontiguousarray(data))
    return pa.Array.from_buffers(kind, len(values), [valid, buffer])


def _strings(strings: Sequence[str]) -> pa.StringArray:
    data = [string.encode() for string in strings]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(data))]
    return pa.Array.from_buffers(pa.string(), len(strings), buffers)
