"""Rows on their way through a writer: counted, and with the fault that stopped them."""

from __future__ import annotations

import errno
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyogrio
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError
from rasterio.crs import CRS

from geoseg.errors import SceneError
from geoseg.polygons.table import GEOMETRY, SCHEMA

_NOT_STORED = (DataSourceError, DataLayerError, FeatureError, sqlite3.OperationalError)
"""What a disk that takes no more looks like: GDAL tells of whatever statement failed by then."""


class Stream:
    """Batches of rows; keeps an exception of which Arrow's C stream loses all but text."""

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


def write_layer(
    path: Path,
    stream: Stream,
    *,
    driver: str,
    layer: str,
    crs: CRS | None,
    append: bool = False,
    dataset_options: Mapping[str, str] | None = None,
    layer_options: Mapping[str, str] | None = None,
) -> None:
    """Write rows as they come, by one call of GDAL's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.raw.write_arrow(
            pa.RecordBatchReader.from_batches(SCHEMA, iter(stream)),
            path,
            layer=layer,
            driver=driver,
            append=append,
            geometry_name=GEOMETRY,
            geometry_type="Polygon",
            crs=None if crs is None else crs.to_wkt(),
            dataset_options=dict(dataset_options or {}),
            layer_options=dict(layer_options or {}),
        )


@contextmanager
def faults(path: Path, stream: Stream, scene: str) -> Iterator[None]:
    """What goes wrong while `stream` is written to `path`, in our words.

    A fault of the stream's own comes out as it was raised, a full disk as OSError (ENOSPC).
    """
    try:
        yield
    except (RuntimeError, sqlite3.OperationalError, pa.ArrowException) as error:
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
