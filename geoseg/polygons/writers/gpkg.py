"""GeoPackage writer: layers with QGIS style and provenance, new or appended to.

Batches go through GDAL in one Arrow stream (one file, one spatial index, memory of one batch). Then SQLite adds what
GDAL cannot write: the style in ``layer_styles``, as QGIS stores it, and the provenance in the metadata tables of the
standard.
"""

from __future__ import annotations

import errno
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyogrio
from rasterio.crs import CRS

from geoseg.errors import OutputError
from geoseg.legend import Legend
from geoseg.options import PolygonOptions
from geoseg.polygons.styles import layer_style_qml, layer_style_sld
from geoseg.polygons.table import (
    GEOMETRY,
    AttributeTable,
    Polygons,
    to_record_batches,
)
from geoseg.polygons.writers.ogr import (
    LayerLayout,
    RowStream,
    format_provenance,
    translate_errors,
    write_layer,
)

PROVENANCE_URI = "urn:geoseg:provenance"
"""``md_standard_uri`` of the provenance JSON in ``gpkg_metadata``."""

NO_CRS = -1
"""``srs_id`` of "undefined Cartesian"; QGIS shows such a layer without CRS."""

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

_RESERVED = re.compile(r"(gpkg|sqlite|rtree)_|layer_styles$|segments$", re.IGNORECASE)
_MAX_NAMES = 5


def write_geopackage(
    path: Path,
    batches: Iterable[Polygons],
    table: AttributeTable,
    options: PolygonOptions,
    layout: LayerLayout,
) -> int:
    """Write a new GeoPackage and return the number of its polygons.

    Parameters
    ----------
    path
        Scratch path of `geoseg.files.replacing`; it must not exist.
    batches
        Polygons; their exceptions are raised unchanged.
    table
        Columns that all rows share. Without a CRS, layers have none either.
    options
        Smallest size of polygons.
    layout
        Layers and provenance.

    Raises
    ------
    OSError
        ENOSPC if the disk is full.
    """
    return _write(path, batches, table, options, layout, existing=())


def append_polygons(
    path: Path,
    batches: Iterable[Polygons],
    table: AttributeTable,
    options: PolygonOptions,
    layout: LayerLayout,
) -> int:
    """Append the polygons of another scene to a GeoPackage of `write_geopackage`, in place.

    Titles and abstracts then name all of its scenes. Call `check_appendable` first.
    """
    existing = tuple(name for name, _ in pyogrio.list_layers(path) if name != "layer_styles")
    return _write(path, batches, table, options, layout, existing=existing)


def check_appendable(path: Path, table: AttributeTable, layout: LayerLayout) -> None:
    """Raise OutputError if `append_polygons` cannot append to this file, or has appended this scene."""
    try:
        found = dict(pyogrio.list_layers(path).tolist())
        found.pop("layer_styles", None)
        names = list(found)
        known = [record for name in names for record in read_provenance(path, layer=name)]
        columns = [read_columns(path, name) for name in names]
    except (pyogrio.errors.DataSourceError, sqlite3.Error, ValueError) as error:
        raise OutputError(
            f"{path}: is not a GeoPackage of geoseg ({error}). Name another output"
        ) from error
    if path.with_name(path.name + "-wal").exists():
        raise OutputError(f"{path}: is open in another program. Close it there first")
    alike = all(found == _list_columns(table) for found in columns)
    if not alike and all(
        f == _list_columns(replace(table, uncertainty=not table.uncertainty)) for f in columns
    ):
        has, option = ("no", "without") if table.uncertainty else ("a", "with")
        raise OutputError(f"{path}: has {has} column uncertainty. Append {option} --uncertainty")
    if not alike or not all("legend" in record for record in known) or not known:
        raise OutputError(
            f"{path}: has layers that are not of this version of geoseg. Name another output"
        )
    if layout.by_class != (layout.name not in names):
        raise OutputError(
            f"{path}: has {'one layer' if layout.by_class else 'one layer per class'}. "
            f"Append {'without' if layout.by_class else 'with'} --layer-per-class"
        )
    if any(record.get("scene") == table.scene for record in known):
        raise OutputError(
            f"{path}: has the polygons of {table.scene} already. Append another scene"
        )
    if any(Legend.from_json(record.get("legend", [])) != table.legend for record in known[-1:]):
        raise OutputError(f"{path}: has other classes or colours. Append to another file")
    for name in names:
        if not _same_crs(path, name, table.crs):
            raise OutputError(
                f"{path}: has another coordinate reference system. Append to another file"
            )


def _list_columns(table: AttributeTable) -> list[str]:
    return ["fid", GEOMETRY, *table.schema.names[:-1]]


def layer_names(legend: Legend) -> dict[str, str]:
    """Return a layer name for each class name: the same, unless SQLite or GeoPackage reserve it."""
    given: dict[str, str] = {}
    for item in legend.objects:
        name = f"class_{item.name}" if _RESERVED.match(item.name) else item.name
        if name.lower() in (other.lower() for other in given.values()):  # SQLite ignores case
            name = f"{name}_{item.id}"
        given[item.name] = name
    return given


def _write(
    path: Path,
    batches: Iterable[Polygons],
    table: AttributeTable,
    options: PolygonOptions,
    layout: LayerLayout,
    *,
    existing: Sequence[str],
) -> int:
    stream = RowStream(to_record_batches(batches, table, options))
    with translate_errors(path, stream, table.scene):
        if not layout.by_class:
            return _write_layer(path, stream, layout.name, table, layout, existing)
        with TemporaryDirectory(prefix=".geoseg-", dir=path.parent) as folder:
            spool = Spool(Path(folder))
            spool.add(stream)
            written = 0
            for name, layer in layer_names(table.legend).items():
                if name in spool.classes:
                    part = RowStream(spool.rows(name))
                    with translate_errors(path, part, table.scene):
                        written += _write_layer(path, part, layer, table, layout, existing)
            if not written and not existing:
                _write_layer(path, RowStream(iter(())), layout.name, table, layout, existing)
            return written


def _write_layer(
    path: Path,
    stream: RowStream,
    layer: str,
    table: AttributeTable,
    layout: LayerLayout,
    existing: Sequence[str],
) -> int:
    there = layer in existing
    before = read_last_fid(path, layer) if there else 0
    title, abstract = _describe(layer, table, [table.scene])
    options = {
        "GEOMETRY_NAME": GEOMETRY,
        "SPATIAL_INDEX": "YES",
        "IDENTIFIER": title,
        "DESCRIPTION": abstract,
    }
    if table.crs is None:
        options["SRID"] = str(NO_CRS)
    write_layer(
        path,
        stream,
        driver="GPKG",
        layer=layer,
        crs=table.crs,
        schema=table.schema,
        append=path.exists(),
        # QGIS 3.22 warns of 1.4, the default
        dataset_options=None if path.exists() else {"VERSION": "1.2"},
        layer_options=None if there else options,
    )
    add_layer_style(path, table.legend, layer=layer)
    add_provenance(path, format_provenance(table, layout), layer=layer)
    if there:
        scenes = [record.get("scene", "") for record in read_provenance(path, layer=layer)]
        title, abstract = _describe(layer, table, scenes)
        update_description(path, layer=layer, title=title, abstract=abstract)
    # a full disk can leave a valid GeoPackage with too few rows
    added = read_last_fid(path, layer) - before
    if added != stream.rows:
        raise OSError(errno.ENOSPC, f"{stream.rows} polygons sent, {added} stored", str(path))
    return stream.rows


def _describe(layer: str, table: AttributeTable, scenes: list[str]) -> tuple[str, str]:
    """Return title and abstract of a layer with the polygons of these scenes."""
    known = list(dict.fromkeys(scenes))
    names = ", ".join(known[:_MAX_NAMES]) + (
        f" and {len(known) - _MAX_NAMES} more" * (len(known) > _MAX_NAMES)
    )
    one = len(known) == 1
    classes = ", ".join(table.legend.names[1:])
    title = f"{known[0]}: {layer}" if one else f"{layer} in {len(known)} scenes"
    return title, f"Polygons of the classes {classes} in {names}, by geoseg."


def _same_crs(path: Path, layer: str, crs: CRS | None) -> bool:
    if crs is None or read_srs_id(path, layer) == NO_CRS:
        return crs is None and read_srs_id(path, layer) == NO_CRS
    return bool(CRS.from_string(pyogrio.read_info(path, layer=layer)["crs"]) == crs)


# Rows by class


class Spool:
    """Temporary Arrow files, one per class: a layer is written in one call, but classes come mixed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes: dict[str, Path] = {}

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Write all rows to the file of their class."""
        with ExitStack() as stack:
            writers: dict[str, pa.RecordBatchFileWriter] = {}
            for batch in batches:
                for name in batch["class"].unique().to_pylist():
                    if name not in writers:
                        self.classes[name] = self.folder / f"{len(writers)}.arrow"
                        writers[name] = stack.enter_context(
                            pa.ipc.new_stream(self.classes[name], batch.schema)
                        )
                    of_class = pa.compute.equal(batch["class"], name)
                    writers[name].write_batch(batch.filter(of_class))

    def rows(self, name: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a class, in their order."""
        with pa.ipc.open_stream(self.classes[name]) as reader:
            yield from reader


# Tables of the file, by SQL


def add_layer_style(
    path: Path, legend: Legend, *, layer: str, geometry_column: str = GEOMETRY
) -> None:
    """Add the colours of `legend`, as QML and SLD, to a layer with a column ``class_id`` of a closed GeoPackage.

    QGIS applies them on opening.
    """
    qml, sld = layer_style_qml(legend), layer_style_sld(legend)
    store_style(path, qml, sld, layer=layer, geometry_column=geometry_column)


def store_style(
    path: Path, qml: str, sld: str = "", *, layer: str, geometry_column: str = GEOMETRY
) -> None:
    """Store the default style of a layer in a closed GeoPackage, instead of earlier ones.

    Statements are those of QGIS, which searches for an empty schema, not NULL.
    """
    with closing(sqlite3.connect(path)) as database, database:
        for statement in _STYLE_TABLE:
            database.execute(statement)
        database.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (layer,))
        database.execute(
            "INSERT INTO layer_styles(f_table_catalog,f_table_schema,f_table_name,"
            "f_geometry_column,styleName,styleQML,styleSLD,useAsDefault,description,owner)"
            " VALUES('','',?,?,'classes',?,?,1,'','')",
            (layer, geometry_column, qml, sld),
        )


def add_provenance(path: Path, provenance: str, *, layer: str) -> None:
    """Add provenance as JSON of a layer to the metadata tables of a closed GeoPackage."""
    with closing(sqlite3.connect(path)) as database, database:
        for statement in _METADATA_TABLES:
            database.execute(statement)
        row = database.execute(
            "INSERT INTO gpkg_metadata(md_scope,md_standard_uri,mime_type,metadata)"
            " VALUES('dataset',?,'application/json',?)",
            (PROVENANCE_URI, provenance),
        )
        database.execute(
            "INSERT INTO gpkg_metadata_reference(reference_scope,table_name,md_file_id)"
            " VALUES('table',?,?)",
            (layer, row.lastrowid),
        )


def read_provenance(path: Path, *, layer: str) -> list[dict[str, Any]]:
    """Return the records of `add_provenance`, oldest first. Raises sqlite3.Error if there are none."""
    with closing(_open_read_only(path)) as database:
        found = database.execute(
            "SELECT metadata FROM gpkg_metadata JOIN gpkg_metadata_reference ON id = md_file_id"
            " WHERE md_standard_uri = ? AND table_name = ? ORDER BY id",
            (PROVENANCE_URI, layer),
        ).fetchall()
    return [json.loads(text) for (text,) in found]


def update_description(path: Path, *, layer: str, title: str, abstract: str) -> None:
    """Replace title and abstract of a layer."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "UPDATE gpkg_contents SET identifier = ?, description = ? WHERE table_name = ?",
            (title, abstract, layer),
        )


def read_last_fid(path: Path, layer: str) -> int:
    """Return the largest row number of a layer, 0 if it is empty."""
    with closing(_open_read_only(path)) as database:
        ((last,),) = database.execute(f"SELECT coalesce(max(fid), 0) FROM {_quote(layer)}")
    return int(last)


def read_columns(path: Path, layer: str) -> list[str]:
    """Return the names of the columns of a layer, none if there is no such layer."""
    with closing(_open_read_only(path)) as database:
        found = database.execute(f"PRAGMA table_info({_quote(layer)})").fetchall()
    return [row[1] for row in found]


def read_srs_id(path: Path, layer: str) -> int:
    """Return the ``srs_id`` of a layer."""
    with closing(_open_read_only(path)) as database:
        ((number,),) = database.execute(
            "SELECT srs_id FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        )
    return int(number)


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
