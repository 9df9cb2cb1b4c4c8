"""Rows laid aside by class, on disk: a layer is written in one go, but classes come mixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute

from geoseg.polygons.table import SCHEMA


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
