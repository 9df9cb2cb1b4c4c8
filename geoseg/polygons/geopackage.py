"""Polygons into a GeoPackage that opens in the right colours and says where it comes from.

Batches go as one Arrow stream through one GDAL write call (one file, one spatial index, memory of
one batch); then SQLite adds what GDAL has no words for: the style (table ``layer_styles``, as
QGIS itself would make it) and the provenance.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyogrio
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError
from rasterio.crs import CRS

from geoseg.errors import SceneError
from geoseg.legend import Legend
from geoseg.polygons.attributes import area_m2
from geoseg.polygons.style import layer_style_qml
from geoseg.polygons.trace import Traced

GEOMETRY = "geom"
"""Name of the geometry column."""

PROVENANCE_URI = "urn:geoseg:provenance"
"""``md_standard_uri`` of the JSON in ``gpkg_metadata`` that says how a layer was made."""

_NOT_STORED = (DataSourceError, DataLayerError, FeatureError, sqlite3.OperationalError)
"""What a disk that takes no more looks like: GDAL tells of whatever statement failed by then."""

_SCHEMA = pa.schema(
    [
        ("class_id", pa.int32()),
        ("class", pa.string()),
        ("confidence", pa.float64()),
        ("confidence_min", pa.float64()),
        ("pixels", pa.int64()),
        ("area_m2", pa.float64()),
        ("scene", pa.string()),
        ("touches_edge", pa.bool_()),
        (GEOMETRY, pa.large_binary()),
    ]
)


def write_polygons(
    path: Path,
    batches: Iterable[Traced],
    *,
    legend: Legend,
    crs: CRS | None,
    transform: Affine,
    scene: str,
    layer: str = "segments",
    min_pixels: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> int:
    """Write a new GeoPackage with one layer and return the number of its polygons.

    Polygons of fewer than `min_pixels` are left out. `path` must not exist: it is the scratch
    path of `geoseg.files.replacing`. `transform` maps pixel corners to `crs`; without a CRS the
    layer has none either. Confidences are rounded to three decimals, NULL where there are none;
    `area_m2` as in `geoseg.polygons.attributes`, NULL where unknown. `provenance` becomes JSON in
    ``gpkg_metadata``. An exception of `batches` comes out as it is. Raises OSError (ENOSPC) when
    the disk is full.
    """
    table = _Table(legend, crs, transform, scene)
    stream = _Stream(_large(table.rows(batch), min_pixels) for batch in batches)
    abstract = f"Polygons of the classes {', '.join(legend.names[1:])} in {scene}, by geoseg."
    try:
        _write_stream(path, stream, layer, crs, title=f"{scene}: {layer}", abstract=abstract)
        add_layer_style(path, legend, layer=layer)
        if provenance:
            add_provenance(path, provenance, layer=layer)
        _check_count(path, layer, stream.rows)
    except (RuntimeError, sqlite3.OperationalError) as error:
        if stream.fault is not None:
            raise stream.fault from None
        if isinstance(error, CRSError):
            raise SceneError(
                f"{scene}: its coordinate reference system cannot be written ({error}). "
                "give it a known one: gdal_edit.py -a_srs"
            ) from error
        if not isinstance(error, _NOT_STORED):
            raise
        raise OSError(errno.ENOSPC, f"polygons cannot be written: {error}", str(path)) from error
    return stream.rows


def add_layer_style(
    path: Path, legend: Legend, *, layer: str, geometry_column: str = GEOMETRY
) -> None:
    """Give a layer of a closed GeoPackage the colours of `legend`; QGIS applies them on opening.

    The layer has a column ``class_id``. Statements are those of QGIS; an empty schema, not NULL,
    is what it looks for.
    """
    with closing(sqlite3.connect(path)) as database, database:
        for statement in _STYLE_TABLE:
            database.execute(statement)
        database.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (layer,))
        database.execute(
            "INSERT INTO layer_styles(f_table_catalog,f_table_schema,f_table_name,"
            "f_geometry_column,styleName,styleQML,styleSLD,useAsDefault,description,owner)"
            " VALUES('','',?,?,'classes',?,'',1,'','')",
            (layer, geometry_column, layer_style_qml(legend)),
        )


def add_provenance(path: Path, provenance: Mapping[str, Any], *, layer: str) -> None:
    """Record how a layer of a closed GeoPackage was made: JSON in the standard's metadata
    tables."""
    text = json.dumps(provenance, ensure_ascii=False)
    with closing(sqlite3.connect(path)) as database, database:
        for statement in _METADATA_TABLES:
            database.execute(statement)
        row = database.execute(
            "INSERT INTO gpkg_metadata(md_scope,md_standard_uri,mime_type,metadata)"
            " VALUES('dataset',?,'application/json',?)",
            (PROVENANCE_URI, text),
        )
        database.execute(
            "INSERT INTO gpkg_metadata_reference(reference_scope,table_name,md_file_id)"
            " VALUES('table',?,?)",
            (layer, row.lastrowid),
        )


_STYLE_TABLE = (
    'CREATE TABLE IF NOT EXISTS "layer_styles" ('
    ' "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "f_table_catalog" TEXT(256),'
    ' "f_table_schema" TEXT(256), "f_table_name" TEXT(256), "f_geometry_column" TEXT(256),'
    ' "styleName" TEXT(30), "styleQML" TEXT, "styleSLD" TEXT, "useAsDefault" BOOLEAN,'
    ' "description" TEXT, "owner" TEXT(30), "ui" TEXT(30),'
    " \"update_time\" DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))",
    "INSERT OR IGNORE INTO gpkg_contents"
    "(table_name,data_type,identifier,description,last_change,srs_id)"
    " VALUES('layer_styles','attributes','layer_styles','',"
    "strftime('%Y-%m-%dT%H:%M:%fZ','now'),0)",
)

_METADATA_TABLES = (
    "CREATE TABLE IF NOT EXISTS gpkg_metadata (id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL,"
    " md_scope TEXT NOT NULL DEFAULT 'dataset', md_standard_uri TEXT NOT NULL,"
    " mime_type TEXT NOT NULL DEFAULT 'text/xml', metadata TEXT NOT NULL DEFAULT '')",
    "CREATE TABLE IF NOT EXISTS gpkg_metadata_reference (reference_scope TEXT NOT NULL,"
    " table_name TEXT, column_name TEXT, row_id_value INTEGER,"
    " timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),"
    " md_file_id INTEGER NOT NULL, md_parent_id INTEGER,"
    " CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id),"
    " CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id))",
    *(
        "INSERT INTO gpkg_extensions(table_name,column_name,extension_name,definition,scope)"
        f" SELECT '{table}',NULL,'gpkg_metadata',"
        "'http://www.geopackage.org/spec121/#extension_metadata','read-write'"
        f" WHERE NOT EXISTS (SELECT 1 FROM gpkg_extensions WHERE table_name = '{table}')"
        for table in ("gpkg_metadata", "gpkg_metadata_reference")
    ),
)


class _Stream:
    """Counts rows on their way, and keeps an exception of which Arrow's C stream loses all but
    text."""

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


def _write_stream(
    path: Path, stream: _Stream, layer: str, crs: CRS | None, *, title: str, abstract: str
) -> None:
    options = {
        "GEOMETRY_NAME": GEOMETRY,
        "SPATIAL_INDEX": "YES",
        "IDENTIFIER": title,
        "DESCRIPTION": abstract,
    }
    if crs is None:
        options["SRID"] = "-1"  # "undefined Cartesian", which QGIS shows as a layer without CRS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.raw.write_arrow(
            pa.RecordBatchReader.from_batches(_SCHEMA, iter(stream)),
            path,
            layer=layer,
            driver="GPKG",
            geometry_name=GEOMETRY,
            geometry_type="Polygon",
            crs=None if crs is None else crs.to_wkt(),
            dataset_options={"VERSION": "1.2"},  # 1.4, today's default, makes QGIS 3.22 warn
            layer_options=options,
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """What all rows of a layer have in common."""

    legend: Legend
    crs: CRS | None
    transform: Affine
    scene: str

    def rows(self, traced: Traced) -> pa.RecordBatch:
        """One row per polygon, in the columns of the layer."""
        names = pa.array(self.legend.names, pa.string())
        columns = [
            pa.array(traced.class_id, pa.int32()),
            names.take(pa.array(traced.class_id)),
            _nullable(traced.confidence_mean.astype(np.float64).round(3)),
            _nullable(traced.confidence_min.astype(np.float64).round(3)),
            pa.array(traced.pixels),
            _nullable(area_m2(traced, self.transform, self.crs)),
            pa.repeat(pa.scalar(self.scene), len(traced)),
            pa.array(traced.touches_edge),
            traced.wkb(self.transform),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)


def _large(rows: pa.RecordBatch, min_pixels: int) -> pa.RecordBatch:
    return rows.filter(pa.compute.greater_equal(rows["pixels"], min_pixels)) if min_pixels else rows


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _check_count(path: Path, layer: str, rows: int) -> None:
    """A full disk can leave a valid GeoPackage with too few rows: count what is there."""
    quoted = '"' + layer.replace('"', '""') + '"'
    with closing(sqlite3.connect(path)) as database:
        (last,) = database.execute(f"SELECT coalesce(max(fid), 0) FROM {quoted}").fetchone()
    if last != rows:
        raise OSError(errno.ENOSPC, f"{rows} polygons were written, {last} are there", str(path))
