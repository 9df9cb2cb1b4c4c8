"""Labels, strip by strip → polygons, cleaned and drawn as asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.attributes import RowArea
from geoseg.polygons.cleaning import AS_THEY_ARE, Cleaning
from geoseg.polygons.table import Segments
from geoseg.polygons.trace import Labels, trace

Strip = tuple[Labels, NDArray[np.uint8] | None]


def segments(
    strips: Iterable[Strip],
    cleaning: Cleaning = AS_THEY_ARE,
    row_area: RowArea | None = None,
) -> Iterator[Segments]:
    """Polygons of all strips, in batches; what is too small may still be among them.

    strips: as for `geoseg.polygons.trace.trace`. `row_area` is needed for `min_area_m2`.
    """
    if cleaning.changes_labels or cleaning.draws_outlines:
        strips = _clean(strips, cleaning, row_area)
    if cleaning.draws_outlines:
        yield from _drawn(strips, cleaning)
    elif cleaning.oriented_boxes:
        from geoseg.polygons.shape import boxes

        yield from (Segments(batch, boxes(batch)) for batch in trace(strips))
    else:
        yield from (Segments(batch, batch) for batch in trace(strips))


def _clean(
    strips: Iterable[Strip], cleaning: Cleaning, row_area: RowArea | None
) -> Iterable[Strip]:
    from geoseg.polygons.held import held
    from geoseg.polygons.sieve import drop_small, fill_holes

    if cleaning.min_pixels or cleaning.min_area_m2:
        small = drop_small(cleaning.min_pixels, cleaning.min_area_m2, row_area or _unknown)
        strips = held(strips, small)
    if cleaning.fill_holes:
        strips = held(strips, fill_holes(cleaning.fill_holes))
    if cleaning.split:
        from geoseg.polygons.split import split_objects

        wide = ((labels.astype(np.uint16), confidence) for labels, confidence in strips)
        strips = held(wide, split_objects)
    return strips


def _drawn(strips: Iterable[Strip], cleaning: Cleaning) -> Iterator[Segments]:
    from geoseg.polygons.shape import drawn
    from geoseg.polygons.vertices import Vertices

    vertices = Vertices()
    for batch in trace(vertices.watch(strips), noded=True):
        outlines = drawn(batch, vertices, simplify=cleaning.simplify, smooth=cleaning.smooth)
        yield Segments(batch, outlines)
        vertices.forget(batch.settled)


def _unknown(_first: int, rows: int) -> NDArray[np.float64]:
    return np.full(rows, np.nan)
