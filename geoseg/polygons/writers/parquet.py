"""GeoParquet 1.1 writer, row group by row group, with pyarrow alone."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pyproj
import shapely
from pyproj.exceptions import CRSError
from rasterio.crs import CRS

from geoseg.errors import SceneError
from geoseg.options import PolygonOptions
from geoseg.polygons.table import GEOMETRY, AttributeTable, Polygons, to_record_batches
from geoseg.polygons.writers.ogr import LayerLayout, format_provenance

_BOX = ("xmin", "ymin", "xmax", "ymax")
_COLUMN = "geometry"


def write_parquet(
    path: Path,
    batches: Iterable[Polygons],
    table: AttributeTable,
    options: PolygonOptions,
    layout: LayerLayout,
) -> int:
    """Write a new GeoParquet file and return the number of its polygons.

    The column ``bbox`` holds bounding boxes, by which readers skip row groups. The metadata item ``geoseg`` holds
    provenance, scene and legend as JSON. Raises OSError (ENOSPC) if the disk is full.
    """
    schema = _extend_schema(table.schema)
    extent = np.array([np.inf, np.inf, -np.inf, -np.inf])
    count = 0
    crs = _projjson(table.crs, table.scene)
    try:
        with pa.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in to_record_batches(batches, table, options):
                if not batch.num_rows:
                    continue
                boxes = _boxes(batch)
                extent[:2] = np.minimum(extent[:2], boxes[:, :2].min(axis=0))
                extent[2:] = np.maximum(extent[2:], boxes[:, 2:].max(axis=0))
                writer.write_batch(_with_boxes(batch, boxes, schema))
                count += batch.num_rows
            box = extent.tolist() if count else None
            writer.add_key_value_metadata(
                {
                    "geo": json.dumps(_geo(crs, box)),
                    "geoseg": format_provenance(table, layout),
                }
            )
    except pa.ArrowException as error:
        raise OSError(errno.ENOSPC, f"polygons cannot be written: {error}", str(path)) from error
    return count


def _boxes(batch: pa.RecordBatch) -> np.ndarray:
    geometry = shapely.from_wkb(batch[GEOMETRY].to_numpy(zero_copy_only=False))
    return np.asarray(shapely.bounds(geometry))


def _extend_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns of the file: those of the rows, geometry and bounding box."""
    box = pa.struct([(name, pa.float64()) for name in _BOX])
    return pa.schema([*list(schema)[:-1], (_COLUMN, pa.binary()), ("bbox", box)])


def _with_boxes(batch: pa.RecordBatch, boxes: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
    box = pa.StructArray.from_arrays([pa.array(side) for side in boxes.T], names=list(_BOX))
    geometry = batch[GEOMETRY].cast(pa.binary())
    return pa.RecordBatch.from_arrays([*batch.columns[:-1], geometry, box], schema=schema)


def _geo(crs: dict[str, Any] | None, box: list[float] | None) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": crs,  # null: unknown; a missing key would mean longitude and latitude
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {name: ["bbox", name] for name in _BOX}},
    }
    if box is not None:
        column["bbox"] = box
    return {"version": "1.1.0", "primary_column": _COLUMN, "columns": {_COLUMN: column}}


def _projjson(crs: CRS | None, scene: str) -> dict[str, Any] | None:
    if crs is None:
        return None
    try:
        return pyproj.CRS.from_wkt(crs.to_wkt()).to_json_dict()
    except CRSError as error:
        raise SceneError(
            f"{scene}: its coordinate reference system cannot be written ({error}). "
            "Assign a known one: gdal_edit.py -a_srs"
        ) from error
