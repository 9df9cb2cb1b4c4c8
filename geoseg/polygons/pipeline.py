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
    if cleaning.draws_outlines:
        yield from _drawn(strips, cleaning)
        return
    for batch in trace(strips):
        if cleaning.oriented_boxes:
            from geoseg.polygons.shape import boxes

            yield Segments(batch, boxes(batch))
        else:
            yield Segments(batch, batch)


def _drawn(strips: Iterable[Strip], cleaning: Cleaning) -> Iterator[Segments]:
    from geoseg.polygons.shape import drawn
    from geoseg.polygons.vertices import Vertices

    vertices = Vertices()
    for batch in trace(vertices.watch(strips), noded=True):
        outlines = drawn(batch, vertices, simplify=cleaning.simplify, smooth=cleaning.smooth)
        yield Segments(batch, outlines)
        vertices.forget(batch.settled)
