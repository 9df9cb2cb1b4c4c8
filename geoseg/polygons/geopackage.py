"""Polygons into a GeoPackage that opens in the right colours and says where it comes from.

Batches go as one Arrow stream through one GDAL write call (one file, one spatial index, memory of
one batch); then SQLite adds what GDAL has no words for (`gpkg_tables.py`): the style (table
``layer_styles``, as QGIS itself would make it) and the provenance.
"""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyogrio
from rasterio.crs import CRS

from geoseg.errors import OutputError
from geoseg.legend import Legend
from geoseg.polygons.cleaning import AS_THEY_ARE, Cleaning
from geoseg.polygons.gpkg_tables import (
    NO_CRS,
    add_layer_style,
    add_provenance,
    columns,
    describe,
    last_fid,
    provenances,
    srs_id,
)
from geoseg.polygons.spool import Spool
from geoseg.polygons.stream import Stream, faults, write_layer
from geoseg.polygons.table import GEOMETRY, SCHEMA, Segments, Table, rows

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
    cleaning: Cleaning = AS_THEY_ARE,
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
    cleaning: Cleaning = AS_THEY_ARE,
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
    cleaning: Cleaning,
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
