"""Polygons through OGR drivers, in one Arrow stream; FlatGeobuf and GeoJSON."""

from __future__ import annotations

import errno
import json
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError
from rasterio.crs import CRS

from geoseg.errors import SceneError
from geoseg.options import PolygonOptions
from geoseg.polygons.table import (
    GEOMETRY,
    AttributeTable,
    Polygons,
    to_record_batches,
)

LAYER = "segments"
"""Name of the layer that holds all classes."""

_DECIMALS = 8  # of a degree: a millimetre

_WRITE_ERRORS = (DataSourceError, DataLayerError, FeatureError, sqlite3.OperationalError)
"""Errors of a full disk: GDAL reports whatever statement failed."""


@dataclass(frozen=True, slots=True)
class LayerLayout:
    """Layers and provenance of a vector file. Formats but GeoPackage have one layer, `LAYER`."""

    by_class: bool = False
    """True: one layer per class that occurs, with the name of the class; False: one layer."""

    name: str = LAYER
    """Name of the single layer, and of the empty one if no class occurs."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Stored as JSON in the metadata of the file, with scene and legend."""


class RowStream:
    """Batches of rows, counted; keeps an exception of which Arrow's C stream only passes on the text."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.batches = batches
        self.rows = 0
        self.fault: BaseException | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self.batches:
                self.rows += batch.num_rows
                yield batch
        except GeneratorExit:
            raise
        except BaseException as fault:
            self.fault = fault
            raise


def write_layer(
    path: Path,
    stream: RowStream,
    *,
    driver: str,
    layer: str,
    crs: CRS | None,
    schema: pa.Schema,
    append: bool = False,
    dataset_options: Mapping[str, str] | None = None,
    layer_options: Mapping[str, str] | None = None,
) -> None:
    """Write rows to a layer by one call of GDAL, with the memory of one batch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.raw.write_arrow(
            pa.RecordBatchReader.from_batches(schema, iter(stream)),
            path,
            layer=layer,
            driver=driver,
            append=append,
            geometry_name=GEOMETRY,
            geometry_type="Polygon",
            crs=None if crs is None else crs.to_wkt(),
            dataset_options=dict(dataset_options or {}),
            layer_options=dict(layer_options or {}),
        )


@contextmanager
def translate_errors(path: Path, stream: RowStream, scene: str) -> Iterator[None]:
    """Translate errors of writing `stream` to `path`.

    An error of the stream itself is raised unchanged, a CRS that GDAL does not accept is a SceneError, and a full disk
    is an OSError (ENOSPC).
    """
    try:
        yield
    except (RuntimeError, sqlite3.OperationalError, pa.ArrowException) as error:
        if stream.fault is not None:
            raise stream.fault from None
        if isinstance(error, CRSError):
            raise SceneError(
                f"{scene}: its coordinate reference system cannot be written ({error}). "
                "Assign a known one: gdal_edit.py -a_srs"
            ) from error
        if not isinstance(error, _WRITE_ERRORS):
            raise
        raise OSError(errno.ENOSPC, f"polygons cannot be written: {error}", str(path)) from error


def write_flatgeobuf(
    path: Path,
    batches: Iterable[Polygons],
    table: AttributeTable,
    options: PolygonOptions,
    layout: LayerLayout,
) -> int:
    """Write a new FlatGeobuf file, with provenance as JSON in its description; return the number of polygons."""
    layer_options = {
        "TITLE": f"{table.scene}: {LAYER}",
        "DESCRIPTION": f"geoseg: {format_provenance(table, layout)}",
        "TEMPORARY_DIR": str(path.parent),
    }
    rows = to_record_batches(batches, table, options)
    return _write_rows(path, rows, table, "FlatGeobuf", layer_options)


def write_geojson(
    path: Path,
    batches: Iterable[Polygons],
    table: AttributeTable,
    options: PolygonOptions,
    layout: LayerLayout,
) -> int:
    """Write a new GeoJSON file in WGS 84 (RFC 7946); return the number of polygons.

    Raises SceneError if the scene has no CRS.
    """
    if table.crs is None:
        raise SceneError(
            f"{table.scene}: has no coordinate reference system, GeoJSON needs longitude and latitude. "
            "Write a .gpkg, or assign one: gdal_edit.py -a_srs"
        )
    layer_options = {
        "RFC7946": "YES",  # GDAL transforms to WGS 84, polygon by polygon
        "COORDINATE_PRECISION": str(_DECIMALS),
        "DESCRIPTION": f"geoseg: {format_provenance(table, layout)}",
    }
    return _write_rows(
        path, to_record_batches(batches, table, options), table, "GeoJSON", layer_options
    )


def _write_rows(
    path: Path,
    rows: Iterator[pa.RecordBatch],
    table: AttributeTable,
    driver: str,
    layer_options: Mapping[str, str],
) -> int:
    """Write rows to the only layer of a file, and return their number."""
    stream = RowStream(rows)
    with translate_errors(path, stream, table.scene):
        write_layer(
            path,
            stream,
            driver=driver,
            layer=LAYER,
            crs=table.crs,
            schema=table.schema,
            layer_options=layer_options,
        )
    return stream.rows


def format_provenance(table: AttributeTable, layout: LayerLayout) -> str:
    """Format provenance, scene and legend as JSON."""
    record = {**layout.provenance, "scene": table.scene, "legend": table.legend.to_json()}
    return json.dumps(record, ensure_ascii=False)
