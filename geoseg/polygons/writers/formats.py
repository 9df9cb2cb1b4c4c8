"""The format of polygons, by the suffix of the file they go into."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from geoseg.errors import ConfigError, SceneError
from geoseg.files import replacing
from geoseg.options import PolygonOptions
from geoseg.polygons.styles import layer_style_qml
from geoseg.polygons.table import Segments, Table, rows
from geoseg.polygons.writers.gpkg import LAYER, Layers, write_polygons
from geoseg.polygons.writers.parquet import write_parquet
from geoseg.polygons.writers.stream import Stream, faults, write_layer

SUFFIXES = {
    ".gpkg": "GeoPackage",
    ".parquet": "GeoParquet",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
}
"""Formats by suffix."""

log = logging.getLogger(__name__)

_POLYGONS = b"<renderer-v2"
_DECIMALS = 8  # of a degree: a millimetre

Writer = Callable[[Path, Iterable[Segments], Table, PolygonOptions, Layers], int]


def check_format(output: Path) -> str:
    """The suffix of `output`, or ConfigError when it stands for no format."""
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items())
        raise ConfigError(
            f"{output}: {suffix or 'no suffix'} is no format for polygons. give it a name in {known}"
        )
    return suffix


def writer(suffix: str) -> Writer:
    """The function that writes polygons to a new file of this format -> their number."""
    return {
        ".gpkg": _geopackage,
        ".parquet": _parquet,
        ".fgb": _flatgeobuf,
        ".geojson": _geojson,
    }[suffix]


def write_style(output: Path, table: Table) -> None:
    """Put the QGIS style of polygons beside a file of a format that cannot hold it.

    The style of a raster of the same name stays, and QGIS shows the polygons in one colour.
    """
    if output.suffix.lower() == ".gpkg":
        return
    style = output.with_suffix(".qml")
    if style.exists() and _POLYGONS not in style.read_bytes():
        log.warning("%s: is the style of another file. rename %s to get its own", style, output)
        return
    with replacing(style, overwrite=True) as scratch:
        scratch.write_text(layer_style_qml(table.legend), encoding="utf-8")


def _geopackage(
    path: Path, batches: Iterable[Segments], table: Table, cleaning: PolygonOptions, layers: Layers
) -> int:
    return write_polygons(path, batches, table, cleaning=cleaning, layers=layers)


def _parquet(
    path: Path, batches: Iterable[Segments], table: Table, cleaning: PolygonOptions, layers: Layers
) -> int:
    return write_parquet(path, batches, table, cleaning=cleaning, provenance=layers.provenance)


def _flatgeobuf(
    path: Path, batches: Iterable[Segments], table: Table, cleaning: PolygonOptions, layers: Layers
) -> int:
    record = {**layers.provenance, "scene": table.scene, "legend": table.legend.to_json()}
    options = {
        "TITLE": f"{table.scene}: {LAYER}",
        "DESCRIPTION": f"geoseg: {json.dumps(record, ensure_ascii=False)}",
        "TEMPORARY_DIR": str(path.parent),
    }
    stream = Stream(rows(batches, table, cleaning))
    with faults(path, stream, table.scene):
        write_layer(
            path, stream, driver="FlatGeobuf", layer=LAYER, crs=table.crs, layer_options=options
        )
    return stream.rows


def _geojson(
    path: Path, batches: Iterable[Segments], table: Table, cleaning: PolygonOptions, layers: Layers
) -> int:
    if table.crs is None:
        raise SceneError(
            f"{table.scene}: has no coordinate reference system, and GeoJSON knows longitude and "
            "latitude only. write a .gpkg, or give it one: gdal_edit.py -a_srs"
        )
    record = {**layers.provenance, "scene": table.scene, "legend": table.legend.to_json()}
    options = {
        "RFC7946": "YES",  # GDAL then projects to WGS 84 itself, polygon by polygon
        "COORDINATE_PRECISION": str(_DECIMALS),
        "DESCRIPTION": f"geoseg: {json.dumps(record, ensure_ascii=False)}",
    }
    stream = Stream(rows(batches, table, cleaning))
    with faults(path, stream, table.scene):
        write_layer(
            path, stream, driver="GeoJSON", layer=LAYER, crs=table.crs, layer_options=options
        )
    return stream.rows
