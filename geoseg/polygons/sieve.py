"""What is too small goes: regions become background, holes become what surrounds them."""

from __future__ import annotations

import numpy as np

from geoseg.legend import BACKGROUND, IGNORE
from geoseg.polygons.attributes import RowArea
from geoseg.polygons.held import Decision, Waiting
from geoseg.polygons.regions import find_holes, find_regions

_ROUNDING = 1e-9


def drop_small(min_pixels: int, min_area_m2: float, row_area: RowArea) -> Decision:
    """Regions of fewer pixels or a smaller area become background."""

    def decide(rows: Waiting) -> int:
        labels = rows.labels
        regions = find_regions(labels, row_area(rows.first, len(labels)))
        small = (regions.pixels < min_pixels) | (regions.area < min_area_m2 * (1 - _ROUNDING))
        small[0] = False
        if rows.above is not None:  # what has gone on from there was large enough
            small[regions.ids[0][labels[0] == rows.above]] = False
        go = len(labels)
        if not rows.last:
            unfinished = np.unique(regions.ids[-1])
            unfinished = unfinished[small[unfinished]]
            go = int(regions.box[unfinished, 0].min(initial=go))
            small[unfinished] = False
        labels[small[regions.ids]] = BACKGROUND
        return go

    return decide


def fill_holes(largest: int) -> Decision:
    """Holes of up to so many pixels, in one class, become that class."""

    def decide(rows: Waiting) -> int:
        labels = rows.labels
        # the row above takes part, so that what surrounds is known
        shift = 0 if rows.above is None else 1
        window = labels if rows.above is None else np.concatenate([rows.above[None], labels])
        holes = find_holes(window)
        fill = (holes.pixels <= largest) & (holes.around > 0)
        fill[0] = False
        edges = [holes.ids[:, 0], holes.ids[:, -1], holes.ids[0]]  # a hole from above was left
        for edge in edges if not rows.last else [*edges, holes.ids[-1]]:
            fill[edge] = False
        go = len(labels)
        if not rows.last:
            open_ones = np.unique(holes.ids[-1])
            may_close = (holes.pixels <= largest) & (holes.around != -2)
            for edge in edges:
                may_close[edge] = False
            may_close[0] = False
            waiting = open_ones[may_close[open_ones]]
            go = int((holes.box[waiting, 0] - shift).min(initial=go))
            fill[open_ones] = False
        filled = fill[holes.ids[shift:]]
        labels[filled] = holes.around[holes.ids[shift:][filled]]
        if rows.confidence is not None:
            rows.confidence[filled] = IGNORE  # it was that of something else
        return go

    return decide
