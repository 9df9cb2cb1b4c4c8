"""Compose a scene from strips of lots with streets between them.

A layout is drawn upright and then turned as a whole by a small angle. The core is the upright square
that stays visible whole; outside it the strips run on with ordinary lots.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from geoseg.synthetic import clutter
from geoseg.synthetic import vehicles as craft
from geoseg.synthetic.land import ASPHALT, PAVING, Generator
from geoseg.synthetic.lots import KINDS, THROUGH, Lot, Theme
from geoseg.synthetic.shapes import Points, Texture, Thing, ground, line, turned, vary

TURN = np.radians(12.0)
"""The most a layout is turned."""

SPREAD = float(np.cos(TURN) + np.sin(TURN))
"""Side of the scene / side of the core; also side of the layout / side of the scene."""

STREET = 12.0
"""Metres between two lots: a carriageway and its pavements."""

CARRIAGEWAY = 7.4

GREEN = 0.45
"""Share of neighbouring lots with a green way between them instead of a street."""

REACH = 40.0
"""Metres outside the scene up to which things can reach into it; lots of ground are kept anyway."""


def compose(theme: Theme, side: float, rng: Generator) -> list[Thing]:
    """Things of a scene `side` metres wide and high, in metres from its top left corner."""
    core, margin = side / SPREAD, side * (SPREAD - 1 / SPREAD) / 2
    rows = stacked(theme, core, margin, rng)
    lots: list[Thing] = []
    streets: list[tuple[Points, Points]] = []
    for top, bottom, strip in rows:
        left, right = -margin, core + margin
        streets.append((np.array([left, top - STREET / 2]), np.array([right, top - STREET / 2])))
        for x0, x1, lot in spread(strip, core, margin, theme.fillers, rng):
            draw = KINDS[lot.kind].draw
            lots += [t.placed((x0, top)) for t in draw(rng, x1 - x0, bottom - top, lot.count)]
            x = x1 + STREET / 2
            if x1 < right and rng.random() < GREEN:
                lots += [t.placed((x, top)) for t in greenway(rng, bottom - top)]
            elif x1 < right:
                streets.append(
                    (np.array([x, top - STREET / 2]), np.array([x, bottom + STREET / 2]))
                )
    base = ground(square(core, margin), (118, 128, 80), Texture.MEADOW)
    things = [base, *lots, *street_things(streets, rng)]
    return list(turned_into_scene(things, side, core, rng))


def stacked(
    theme: Theme, core: float, margin: float, rng: Generator
) -> list[tuple[float, float, tuple[Lot, ...]]]:
    """Top, bottom and lots of every strip: the theme's fill the core, fillers lie above and below."""
    strips = list(theme.strips)
    heights = [max(KINDS[lot.kind].height for lot in strip) for strip in strips]
    spare = core - sum(heights) - STREET * len(strips)
    while spare > 45:
        height = min(spare - STREET, float(rng.uniform(52, 84)))
        place = int(rng.integers(len(strips)))
        strips.insert(place, ())
        heights.insert(place, height)
        spare -= height + STREET
    heights = [height + max(spare, 0.0) / len(strips) for height in heights]
    rows: list[tuple[float, float, tuple[Lot, ...]]] = [(-margin, -STREET, ())]
    y = 0.0
    for height, strip in zip(heights, strips, strict=True):
        rows.append((y, y + height, strip))
        y += height + STREET
    top, bottom, last = rows[-1]
    if ends_in_sea(last):
        rows[-1] = (top, core + margin, last)
    else:
        rows.append((bottom + STREET, core + margin, ()))
    return rows


def ends_in_sea(strip: tuple[Lot, ...]) -> bool:
    return any(lot.kind == "coast" for lot in strip)


def spread(
    strip: tuple[Lot, ...], core: float, margin: float, fillers: tuple[str, ...], rng: Generator
) -> Iterator[tuple[float, float, Lot]]:
    """Left, right and use of every lot of a strip: the named lots in the core, fillers around."""
    if strip and strip[0].kind in THROUGH:
        yield -margin, core + margin, strip[0]
        return
    lots = [(lot.width, lot) for lot in strip]
    spare = core - sum(width + STREET for width, _ in lots)
    while spare > 40:
        width = spare - STREET if spare < 110 else float(rng.uniform(48, 92))
        lots.append((width, filler(fillers, rng)))
        spare -= width + STREET
    rng.shuffle(lots)
    stretch = max(spare, 0.0) / len(lots)
    yield -margin, -STREET, filler(fillers, rng)
    x = 0.0
    for width, lot in lots:
        yield x, x + width + stretch, lot
        x += width + stretch + STREET
    yield x, core + margin, filler(fillers, rng)


def filler(fillers: tuple[str, ...], rng: Generator) -> Lot:
    return Lot(fillers[int(rng.integers(len(fillers)))])


def street_things(streets: list[tuple[Points, Points]], rng: Generator) -> Iterator[Thing]:
    """Pavements first, then carriageways, then paint and traffic, so that crossings stay open."""
    asphalt = vary(rng, ASPHALT, 0.08)
    for width, colour, texture in (
        (STREET, PAVING, Texture.CONCRETE),
        (CARRIAGEWAY, asphalt, Texture.ASPHALT),
    ):
        for start, end in streets:
            yield ground(line(start, end, width).corners, colour, texture)
    for start, end in streets:
        yield from traffic(start, end, rng)


def greenway(rng: Generator, length: float) -> list[Thing]:
    """A path between two rows of trees, downwards from the origin."""
    path = line((0, -2), (0, length + 2), 2.0).corners
    things = [ground(path, vary(rng, (168, 156, 134)), Texture.SOIL)]
    for y in np.arange(3, length - 2, 6.5):
        for side in (-1, 1):
            if rng.random() < 0.6:
                at = (side * rng.uniform(2.6, 3.8), y + rng.normal(0, 1))
                things.append(clutter.tree(rng, rng.uniform(3.0, 5.0)).placed(at))
    return things


def traffic(start: Points, end: Points, rng: Generator) -> Iterator[Thing]:
    """Lane dashes, cars that drive on the right or park at the kerb, trees on the pavement."""
    length = float(np.hypot(*(end - start)))
    heading = float(np.arctan2(*(end - start)[::-1]))
    local: list[Thing] = []
    dashes = [line((x, 0), (x + 3, 0), 0.25) for x in np.arange(9, length - 9, 8.0)]
    if dashes:
        local.append(Thing(tuple(dashes)))
    for side in (-1, 1):
        way = 0.0 if side > 0 else np.pi
        x = rng.uniform(8, 20)
        while x < length - 8:
            vehicle = craft.truck(rng) if rng.random() < 0.05 else craft.car(rng)
            lane = 1.9 if rng.random() < 0.5 else 3.0
            local.append(vehicle.placed((x, side * lane), way + rng.normal(0, 0.02)))
            x += rng.uniform(9, 42)
        for spot in np.arange(rng.uniform(6, 20), length - 6, 13.0):
            if rng.random() < 0.3:
                local.append(clutter.tree(rng, rng.uniform(3, 5)).placed((spot, side * 5.2)))
    for thing in local:
        yield thing.placed(start, heading)


def turned_into_scene(
    things: list[Thing], side: float, core: float, rng: Generator
) -> Iterator[Thing]:
    """Turn about the core's middle by up to TURN and a multiple of 90°, which then is the scene's."""
    angle = float(rng.uniform(-TURN, TURN) + int(rng.integers(4)) * np.pi / 2)
    middle = turned(np.array([core / 2, core / 2]), angle)
    shift = np.array([side / 2, side / 2]) - middle
    for thing in things:
        placed = thing.placed(shift, angle)
        near = min(placed.x, placed.y) > -REACH and max(placed.x, placed.y) < side + REACH
        if near or thing.level == 0:
            yield placed


def square(core: float, margin: float) -> Points:
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (core / 2 + 2 * margin) + core / 2
