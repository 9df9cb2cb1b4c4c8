"""Polygons as a GeoDataFrame in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa
import shapely

from geoseg.polygons.cleaning import AS_THEY_ARE, Cleaning
from geoseg.polygons.table import GEOMETRY, SCHEMA, Segments, Table, rows

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


def to_frame(
    batches: Iterable[Segments], table: Table, cleaning: Cleaning = AS_THEY_ARE
) -> GeoDataFrame:
    """All polygons, with the columns of the files."""
    import geopandas

    found = pa.Table.from_batches(rows(batches, table, cleaning), SCHEMA)
    geometry = shapely.from_wkb(found[GEOMETRY].to_numpy())
    attributes = found.drop_columns([GEOMETRY]).to_pandas()
    crs = None if table.crs is None else table.crs.to_wkt()
    return geopandas.GeoDataFrame(attributes, geometry=geometry, crs=crs)
