"""Vector formats by suffix, and the QGIS style next to files that cannot store it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.files import write_text
from geoseg.options import PolygonOptions
from geoseg.polygons.styles import layer_style_qml
from geoseg.polygons.table import AttributeTable, Polygons
from geoseg.polygons.writers.gpkg import write_geopackage
from geoseg.polygons.writers.ogr import LayerLayout, write_flatgeobuf, write_geojson
from geoseg.polygons.writers.parquet import write_parquet

SUFFIXES = {
    ".gpkg": "GeoPackage",
    ".parquet": "GeoParquet",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
}
"""Formats by suffix."""

log = logging.getLogger(__name__)

_VECTOR_STYLE = b"<renderer-v2"

Writer = Callable[[Path, Iterable[Polygons], AttributeTable, PolygonOptions, LayerLayout], int]


def check_format(output: Path) -> str:
    """Return the suffix of `output` in lower case. Raises ConfigError if it is not in `SUFFIXES`."""
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items())
        raise ConfigError(
            f"{output}: {suffix or 'no suffix'} is not a vector format. Name it with one of {known}"
        )
    return suffix


def find_writer(suffix: str) -> Writer:
    """Return the function that writes polygons to a new file of this format and returns their number."""
    return {
        ".gpkg": write_geopackage,
        ".parquet": write_parquet,
        ".fgb": write_flatgeobuf,
        ".geojson": write_geojson,
    }[suffix]


def write_style_sidecar(output: Path, table: AttributeTable) -> None:
    """Write ``NAME.qml`` next to a file whose format cannot store a style.

    The style of a raster with the same name is kept; QGIS then shows the polygons in one colour.
    """
    if output.suffix.lower() == ".gpkg":
        return
    style = output.with_suffix(".qml")
    if style.exists() and _VECTOR_STYLE not in style.read_bytes():
        log.warning("%s: is the style of another file. Rename %s to get its own", style, output)
        return
    write_text(style, layer_style_qml(table.legend), overwrite=True)
