"""Vector files that hold their data themselves."""

from __future__ import annotations

import os
from pathlib import Path

from geoseg.errors import AnnotationError, GeosegError
from geoseg.files import input_file

_BEGINNINGS = (b"SQLite format 3\0", b"fgb", b"PAR1", b"{", b"\0\0\x27\x0a")
"""Of GeoPackage, FlatGeobuf, GeoParquet, GeoJSON and Shapefile. GDAL opens many more by what they hold, some of
which only say where data are: in another file, or on a server."""


def vector_file(path: str | os.PathLike[str], error: type[GeosegError] = AnnotationError) -> Path:
    """The path of a GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile, or `error`."""
    file = input_file(path, error)
    with file.open("rb") as opened:
        head = opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head.startswith(_BEGINNINGS):
        raise error(
            f"{file}: is no GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile. "
            "save it as a GeoPackage: Export in QGIS"
        )
    return file


def is_parquet(file: Path) -> bool:
    """True for GeoParquet, which pyogrio does not read."""
    return file.suffix.lower() in (".parquet", ".geoparquet")
