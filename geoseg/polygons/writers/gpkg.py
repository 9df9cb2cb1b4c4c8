"""Rows laid aside by class, on disk: a layer is written in one go, but classes come mixed."""

from __future__ import annotations

import errno
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
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
from geoseg.polygons.table import GEOMETRY, SCHEMA, Segments, Table, rows
from geoseg.polygons.writers.stream import Stream, faults, write_layer


class Spool:
    """Arrow files in a folder, one for each class that occurs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes: dict[str, Path] = {}

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Lay all rows aside."""
        with ExitStack() as stack:
            writers: dict[str, pa.RecordBatchFileWriter] = {}
            for batch in batches:
                for name in batch["class"].unique().to_pylist():
                    if name not in writers:
                        self.classes[name] = self.folder / f"{len(writers)}.arrow"
                        writers[name] = stack.enter_context(
                            pa.ipc.new_stream(self.classes[name], SCHEMA)
                        )
                    of_class = pa.compute.equal(batch["class"], name)
                    writers[name].write_batch(batch.filter(of_class))

    def rows(self, name: str) -> Iterator[pa.RecordBatch]:
        """The rows of a class, in the order in which they came."""
        with pa.ipc.open_stream(self.classes[name]) as reader:
            yield from reader


# What GDAL has no words for, told to a closed GeoPackage by SQL: style, provenance, titles.

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


# Polygons into a GeoPackage that opens in the right colours and says where it comes from.
#
# Batches go as one Arrow stream through one GDAL write call (one file, one spatial index, memory of
# one batch); then SQLite adds what GDAL has no words for (`gpkg_tables.py`): the style (table
# ``layer_styles``, as QGIS itself would make it) and the provenance.

LAYER = "segments"
"""Name of the layer that holds all classes."""

_RESERVED = re.compile(r"(gpkg|sqlite|rtree)_|layer_styles$|segments$", re.IGNORECASE)
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Layers:
    """How polygons are laid out in a GeoPackage."""

    by_class: bool = False
    """True: a layer for each class that occurs, with the name of the class; False: one."""

    name: str = LAYER
    """Name of that one, and of the empty one that there is when no class occurs."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Becomes JSON in ``gpkg_metadata``, beside scene and legend."""


def write_polygons(
    path: Path,
    batches: Iterable[Segments],
    table: Table,
    *,
    cleaning: PolygonOptions = PolygonOptions(),
    layers: Layers = Layers(),
) -> int:
    """Write a new GeoPackage and return the number of its polygons.

    `path` must not exist: it is the scratch path of `geoseg.files.replacing`. Without a CRS its
    layers have none either. An exception of `batches` comes out as it is. Raises OSError (ENOSPC)
    when the disk is full.
    """
    return _write(path, batches, table, cleaning, layers, existing=())


def append_polygons(
    path: Path,
    batches: Iterable[Segments],
    table: Table,
    *,
    cleaning: PolygonOptions = PolygonOptions(),
    layers: Layers = Layers(),
) -> int:
    """Add the polygons of a further scene to a GeoPackage that `write_polygons` made, in place.

    Titles and abstracts then speak of all its scenes. `check_appendable` says whether it can be.
    """
    existing = tuple(name for name, _ in pyogrio.list_layers(path) if name != "layer_styles")
    return _write(path, batches, table, cleaning, layers, existing=existing)


def check_appendable(path: Path, table: Table, layers: Layers) -> None:
    """Raise OutputError if `append_polygons` could not or should not add to this file."""
    try:
        found = dict(pyogrio.list_layers(path).tolist())
        found.pop("layer_styles", None)
        names = list(found)
        known = [record for name in names for record in provenances(path, layer=name)]
        alike = all(columns(path, name) == ["fid", GEOMETRY, *SCHEMA.names[:-1]] for name in names)
    except (pyogrio.errors.DataSourceError, sqlite3.Error, ValueError) as error:
        raise OutputError(
            f"{path}: is not a GeoPackage of geoseg's ({error}). name another output"
        ) from error
    if path.with_name(path.name + "-wal").exists():
        raise OutputError(f"{path}: is open in another program. close it there first")
    if not alike or not all("legend" in record for record in known) or not known:
        raise OutputError(
            f"{path}: holds other layers than those of this geoseg. name another output"
        )
    if layers.by_class != (layers.name not in names):
        raise OutputError(
            f"{path}: has {'one layer' if layers.by_class else 'a layer for each class'}. "
            f"append {'without' if layers.by_class else 'with'} --layer-per-class"
        )
    if any(record.get("scene") == table.scene for record in known):
        raise OutputError(
            f"{path}: holds the polygons of {table.scene} already. append another scene"
        )
    if any(Legend.from_json(record.get("legend", [])) != table.legend for record in known[-1:]):
        raise OutputError(f"{path}: has other classes or colours. append to another file")
    for name in names:
        if not _same_crs(path, name, table.crs):
            raise OutputError(
                f"{path}: has another coordinate reference system. append to another file"
            )


def layer_names(legend: Legend) -> dict[str, str]:
    """A layer name for each class, by class name: the same, as far as SQLite lets it be."""
    given: dict[str, str] = {}
    for item in legend.objects:
        name = f"class_{item.name}" if _RESERVED.match(item.name) else item.name
        if name.lower() in (other.lower() for other in given.values()):  # SQLite sees no case
            name = f"{name}_{item.id}"
        given[item.name] = name
    return given


def _write(
    path: Path,
    batches: Iterable[Segments],
    table: Table,
    cleaning: PolygonOptions,
    layers: Layers,
    *,
    existing: Sequence[str],
) -> int:
    stream = Stream(rows(batches, table, cleaning))
    with faults(path, stream, table.scene):
        if not layers.by_class:
            return _write_layer(path, stream, layers.name, table, layers, existing)
        with TemporaryDirectory(prefix=".geoseg-", dir=path.parent) as folder:
            spool = Spool(Path(folder))
            spool.add(stream)
            written = 0
            for name, layer in layer_names(table.legend).items():
                if name in spool.classes:
                    part = Stream(spool.rows(name))
                    with faults(path, part, table.scene):
                        written += _write_layer(path, part, layer, table, layers, existing)
            if not written and not existing:
                _write_layer(path, Stream(iter(())), layers.name, table, layers, existing)
            return written


def _write_layer(
    path: Path,
    stream: Stream,
    layer: str,
    table: Table,
    layers: Layers,
    existing: Sequence[str],
) -> int:
    there = layer in existing
    before = last_fid(path, layer) if there else 0
    title, abstract = _words(layer, table, [table.scene])
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
        append=path.exists(),
        # 1.4, today's default, makes QGIS 3.22 warn
        dataset_options=None if path.exists() else {"VERSION": "1.2"},
        layer_options=None if there else options,
    )
    add_layer_style(path, table.legend, layer=layer)
    record = {**layers.provenance, "scene": table.scene, "legend": table.legend.to_json()}
    add_provenance(path, record, layer=layer)
    if there:
        scenes = [record.get("scene", "") for record in provenances(path, layer=layer)]
        title, abstract = _words(layer, table, scenes)
        describe(path, layer=layer, title=title, abstract=abstract)
    # a full disk can leave a valid GeoPackage with too few rows: count what is there
    added = last_fid(path, layer) - before
    if added != stream.rows:
        told = f"{stream.rows} polygons were written, {added} are there"
        raise OSError(errno.ENOSPC, told, str(path))
    return stream.rows


def _words(layer: str, table: Table, scenes: list[str]) -> tuple[str, str]:
    """Title and abstract of a layer with the polygons of these scenes."""
    known = list(dict.fromkeys(scenes))
    told = ", ".join(known[:_TOLD]) + (f" and {len(known) - _TOLD} more" * (len(known) > _TOLD))
    one = len(known) == 1
    classes = ", ".join(table.legend.names[1:])
    title = f"{known[0]}: {layer}" if one else f"{layer} in {len(known)} scenes"
    return title, f"Polygons of the classes {classes} in {told}, by geoseg."


def _same_crs(path: Path, layer: str, crs: CRS | None) -> bool:
    if crs is None or srs_id(path, layer) == NO_CRS:
        return crs is None and srs_id(path, layer) == NO_CRS
    return bool(CRS.from_string(pyogrio.read_info(path, layer=layer)["crs"]) == crs)
