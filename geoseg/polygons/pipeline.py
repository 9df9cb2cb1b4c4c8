"""Labels, strip by strip → polygons, cleaned and drawn as asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.cleaning import AS_THEY_ARE, Cleaning
from geoseg.polygons.table import Segments
from geoseg.polygons.trace import trace

Strip = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


def segments(strips: Iterable[Strip], cleaning: Cleaning = AS_THEY_ARE) -> Iterator[Segments]:
    """Polygons of all strips, in batches."""
    for batch in trace(strips):
        yield Segments(batch, batch)
