"""What GDAL has no words for, told to a closed GeoPackage by SQL: style, provenance, titles."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from geoseg.legend import Legend
from geoseg.polygons.sld import layer_style_sld
from geoseg.polygons.style import layer_style_qml
from geoseg.polygons.table import GEOMETRY

PROVENANCE_URI = "urn:geoseg:provenance"
"""``md_standard_uri`` of the JSON in ``gpkg_metadata`` that says how a layer was made."""

NO_CRS = -1
"""``srs_id`` of "undefined Cartesian", which QGIS shows as a layer without CRS."""

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


def add_layer_style(
    path: Path, legend: Legend, *, layer: str, geometry_column: str = GEOMETRY
) -> None:
    """Give a layer of a closed GeoPackage the colours of `legend`; QGIS applies them on opening.

    The layer has a column ``class_id``. Statements are those of QGIS; an empty schema, not NULL,
    is what it looks for. The same colours stand beside as SLD, for GeoServer.
    """
    with closing(sqlite3.connect(path)) as database, database:
        for statement in _STYLE_TABLE:
            database.execute(statement)
        database.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (layer,))
        database.execute(
            "INSERT INTO layer_styles(f_table_catalog,f_table_schema,f_table_name,"
            "f_geometry_column,styleName,styleQML,styleSLD,useAsDefault,description,owner)"
            " VALUES('','',?,?,'classes',?,?,1,'','')",
            (layer, geometry_column, layer_style_qml(legend), layer_style_sld(legend)),
        )


def add_provenance(path: Path, provenance: Mapping[str, Any], *, layer: str) -> None:
    """Record how polygons of a layer of a closed GeoPackage were made: one JSON more in the
    standard's metadata tables."""
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


def provenances(path: Path, *, layer: str) -> list[dict[str, Any]]:
    """What `add_provenance` recorded of a layer, oldest first; sqlite3.Error if there is none."""
    with closing(_reading(path)) as database:
        found = database.execute(
            "SELECT metadata FROM gpkg_metadata JOIN gpkg_metadata_reference ON id = md_file_id"
            " WHERE md_standard_uri = ? AND table_name = ? ORDER BY id",
            (PROVENANCE_URI, layer),
        ).fetchall()
    return [json.loads(text) for (text,) in found]


def describe(path: Path, *, layer: str, title: str, abstract: str) -> None:
    """Replace title and abstract of a layer."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "UPDATE gpkg_contents SET identifier = ?, description = ? WHERE table_name = ?",
            (title, abstract, layer),
        )


def last_fid(path: Path, layer: str) -> int:
    """The largest row number of a layer, 0 when it is empty."""
    with closing(_reading(path)) as database:
        ((last,),) = database.execute(f"SELECT coalesce(max(fid), 0) FROM {_quoted(layer)}")
    return int(last)


def columns(path: Path, layer: str) -> list[str]:
    """Names of a layer's columns, none when there is no such layer."""
    with closing(_reading(path)) as database:
        found = database.execute(f"PRAGMA table_info({_quoted(layer)})").fetchall()
    return [row[1] for row in found]


def srs_id(path: Path, layer: str) -> int:
    """The CRS of a layer by its number in this file."""
    with closing(_reading(path)) as database:
        ((number,),) = database.execute(
            "SELECT srs_id FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        )
    return int(number)


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
