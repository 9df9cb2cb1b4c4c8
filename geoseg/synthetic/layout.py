"""Layout of a scene: land uses, lots, and strips of lots with streets between them.

A layout is composed upright, then rotated as a whole by a small angle. The core is the square that stays visible
completely; outside it, the strips continue with filler lots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from geoseg.synthetic import clutter, land, vehicles
from geoseg.synthetic.land import ASPHALT, PAVING, Generator
from geoseg.synthetic.shapes import Element, Points, Texture, ground, line, rotate, vary

MAX_TURN = np.radians(12.0)
"""Largest rotation of a layout in radians."""

LAYOUT_RATIO = float(np.cos(MAX_TURN) + np.sin(MAX_TURN))
"""Ratio of the side of the scene to that of the core, and of the layout to that of the scene."""

STREET = 12.0
"""Metres between two lots: carriageway and pavements."""

CARRIAGEWAY = 7.4

GREEN = 0.45
"""Share of adjacent lots with a greenway between them instead of a street."""

REACH = 40.0
"""Elements are kept up to this many metres outside the scene; ground is always kept."""

Draw = Callable[[Generator, float, float, int], list[Element]]


@dataclass(frozen=True, slots=True)
class LandUse:
    """Function that draws a land use, and its smallest size."""

    draw: Draw
    width: float = 0.0
    """Smallest width in metres for each object of the lot."""

    height: float = 0.0
    """Smallest height in metres."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Land use, and number of its objects."""

    kind: str
    count: int = 1

    @property
    def width(self) -> float:
        """Smallest width in metres."""
        columns = -(-self.count // 2) if self.kind in TWO_ROWS else self.count
        return LAND_USES[self.kind].width * columns


@dataclass(frozen=True, slots=True)
class Theme:
    """Strips of lots of a scene, from top to bottom."""

    name: str
    strips: tuple[tuple[Lot, ...], ...]
    fillers: tuple[str, ...]
    """Land uses of the remaining lots."""


LAND_USES = {
    "houses": LandUse(land.houses),
    "villas": LandUse(land.villas, 25.0, 46.0),
    "parking": LandUse(land.parking, 60.0, 38.0),
    "tennis": LandUse(land.tennis, 17.5, 37.0),
    "basketball": LandUse(land.basketball, 20.0, 34.0),
    "soccer": LandUse(land.soccer, 106.0, 70.0),
    "track": LandUse(land.track, 164.0, 90.0),
    "baseball": LandUse(land.baseball, 62.0, 62.0),
    "circus": LandUse(land.circus, 58.0, 56.0),
    "meadow": LandUse(land.meadow),
    "forest": LandUse(land.forest),
    "crops": LandUse(land.crops),
    "glasshouses": LandUse(land.glasshouses),
    "sheds": LandUse(land.sheds),
    "depot": LandUse(land.depot, 70.0, 58.0),
    "tanks": LandUse(land.tanks, land.TANK_PITCH, 60.0),
    "containers": LandUse(land.containers, 80.0, 46.0),
    "apron": LandUse(land.apron, land.STAND, 64.0),
    "flying club": LandUse(land.flying_club, land.LIGHT_STAND, 46.0),
    "heliport": LandUse(land.heliport, land.HELIPAD, 40.0),
    "runway": LandUse(land.runway, 0.0, 64.0),
    "river": LandUse(land.river, 0.0, 62.0),
    "coast": LandUse(land.coast, 0.0, 104.0),
}
TWO_ROWS = ("tanks", "flying club", "heliport")
THROUGH = ("runway", "river", "coast")
"""Land uses that cross the whole layout."""


def compose(theme: Theme, side: float, rng: Generator) -> list[Element]:
    """Compose the elements of a square scene of `side` metres, in metres from its top left corner."""
    core, margin = side / LAYOUT_RATIO, side * (LAYOUT_RATIO - 1 / LAYOUT_RATIO) / 2
    rows = stack_strips(theme, core, margin, rng)
    lots: list[Element] = []
    streets: list[tuple[Points, Points]] = []
    for top, bottom, strip in rows:
        left, right = -margin, core + margin
        streets.append((np.array([left, top - STREET / 2]), np.array([right, top - STREET / 2])))
        for x0, x1, lot in spread_lots(strip, core, margin, theme.fillers, rng):
            draw = LAND_USES[lot.kind].draw
            lots += [t.place((x0, top)) for t in draw(rng, x1 - x0, bottom - top, lot.count)]
            x = x1 + STREET / 2
            if x1 < right and rng.random() < GREEN:
                lots += [t.place((x, top)) for t in draw_greenway(rng, bottom - top)]
            elif x1 < right:
                streets.append(
                    (np.array([x, top - STREET / 2]), np.array([x, bottom + STREET / 2]))
                )
    base = ground(layout_square(core, margin), (118, 128, 80), Texture.MEADOW)
    elements = [base, *lots, *draw_streets(streets, rng)]
    return list(rotate_into_scene(elements, side, core, rng))


def stack_strips(
    theme: Theme, core: float, margin: float, rng: Generator
) -> list[tuple[float, float, tuple[Lot, ...]]]:
    """Return top, bottom and lots of every strip: those of the theme in the core, fillers above and below."""
    strips = list(theme.strips)
    heights = [max(LAND_USES[lot.kind].height for lot in strip) for strip in strips]
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
    """True if a strip is a coast, which continues to the lower edge."""
    return any(lot.kind == "coast" for lot in strip)


def spread_lots(
    strip: tuple[Lot, ...], core: float, margin: float, fillers: tuple[str, ...], rng: Generator
) -> Iterator[tuple[float, float, Lot]]:
    """Yield left, right and land use of every lot of a strip: named lots in the core, fillers around."""
    if strip and strip[0].kind in THROUGH:
        yield -margin, core + margin, strip[0]
        return
    lots = [(lot.width, lot) for lot in strip]
    spare = core - sum(width + STREET for width, _ in lots)
    while spare > 40:
        width = spare - STREET if spare < 110 else float(rng.uniform(48, 92))
        lots.append((width, pick_filler(fillers, rng)))
        spare -= width + STREET
    rng.shuffle(lots)
    stretch = max(spare, 0.0) / len(lots)
    yield -margin, -STREET, pick_filler(fillers, rng)
    x = 0.0
    for width, lot in lots:
        yield x, x + width + stretch, lot
        x += width + stretch + STREET
    yield x, core + margin, pick_filler(fillers, rng)


def pick_filler(fillers: tuple[str, ...], rng: Generator) -> Lot:
    """Pick a filler at random."""
    return Lot(fillers[int(rng.integers(len(fillers)))])


def draw_streets(streets: list[tuple[Points, Points]], rng: Generator) -> Iterator[Element]:
    """Yield pavements, then carriageways, then paint and traffic, so that crossings stay open."""
    asphalt = vary(rng, ASPHALT, 0.08)
    for width, colour, texture in (
        (STREET, PAVING, Texture.CONCRETE),
        (CARRIAGEWAY, asphalt, Texture.ASPHALT),
    ):
        for start, end in streets:
            yield ground(line(start, end, width).corners, colour, texture)
    for start, end in streets:
        yield from draw_traffic(start, end, rng)


def draw_greenway(rng: Generator, length: float) -> list[Element]:
    """Draw a path between two rows of trees, downwards from the origin."""
    path = line((0, -2), (0, length + 2), 2.0).corners
    elements = [ground(path, vary(rng, (168, 156, 134)), Texture.SOIL)]
    for y in np.arange(3, length - 2, 6.5):
        for side in (-1, 1):
            if rng.random() < 0.6:
                at = (side * rng.uniform(2.6, 3.8), y + rng.normal(0, 1))
                elements.append(clutter.tree(rng, rng.uniform(3.0, 5.0)).place(at))
    return elements


def draw_traffic(start: Points, end: Points, rng: Generator) -> Iterator[Element]:
    """Yield lane markings, cars that drive on the right or park at the kerb, and trees on the pavement."""
    length = float(np.hypot(*(end - start)))
    heading = float(np.arctan2(*(end - start)[::-1]))
    local: list[Element] = []
    dashes = [line((x, 0), (x + 3, 0), 0.25) for x in np.arange(9, length - 9, 8.0)]
    if dashes:
        local.append(Element(tuple(dashes)))
    for side in (-1, 1):
        way = 0.0 if side > 0 else np.pi
        x = rng.uniform(8, 20)
        while x < length - 8:
            vehicle = vehicles.truck(rng) if rng.random() < 0.05 else vehicles.car(rng)
            lane = 1.9 if rng.random() < 0.5 else 3.0
            local.append(vehicle.place((x, side * lane), way + rng.normal(0, 0.02)))
            x += rng.uniform(9, 42)
        for spot in np.arange(rng.uniform(6, 20), length - 6, 13.0):
            if rng.random() < 0.3:
                local.append(clutter.tree(rng, rng.uniform(3, 5)).place((spot, side * 5.2)))
    for element in local:
        yield element.place(start, heading)


def rotate_into_scene(
    elements: list[Element], side: float, core: float, rng: Generator
) -> Iterator[Element]:
    """Rotate elements about the centre of the core by up to `MAX_TURN` plus a multiple of 90°, and centre the scene."""
    angle = float(rng.uniform(-MAX_TURN, MAX_TURN) + int(rng.integers(4)) * np.pi / 2)
    middle = rotate(np.array([core / 2, core / 2]), angle)
    shift = np.array([side / 2, side / 2]) - middle
    for element in elements:
        placed = element.place(shift, angle)
        near = min(placed.x, placed.y) > -REACH and max(placed.x, placed.y) < side + REACH
        if near or element.level == 0:
            yield placed


def layout_square(core: float, margin: float) -> Points:
    """Return the corners of a square that covers the layout."""
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (core / 2 + 2 * margin) + core / 2
