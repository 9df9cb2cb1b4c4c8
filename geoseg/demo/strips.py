"""Lots that run through a whole scene: runway, river, coast; see `town` for what a lot is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from geoseg.demo import clutter, craft, sites
from geoseg.demo.shapes import (
    Colour,
    Points,
    Texture,
    Thing,
    box,
    ground,
    line,
    rectangle,
    vary,
)
from geoseg.demo.town import ASPHALT, DOWN, LAWN, MEADOW, UP, Generator
from geoseg.demo.works import CONCRETE

RIVER: Colour = (74, 90, 84)
SEA: Colour = (54, 82, 98)

QUAY = 14.0
RIVER_BANK = 8.0


def runway(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """A runway and a taxiway along the strip, joined by exits."""
    lane, taxi = height * 0.32, height * 0.82
    tarmac = vary(rng, (92, 92, 94))
    dashes = [line((x, lane), (x + 18, lane), 0.9) for x in np.arange(5, width, 36.0)]
    keys = [line((8, lane + y), (30, lane + y), 1.2) for y in np.arange(-11, 12, 3.0)]
    exits = [
        ground(rectangle(14, taxi - lane, (x, (lane + taxi) / 2)), tarmac, Texture.ASPHALT)
        for x in np.arange(width * 0.2, width, 150.0)
    ]
    return [
        ground(box(0, 0, width, height), vary(rng, MEADOW), Texture.MEADOW),
        *exits,
        ground(rectangle(width, 30, (width / 2, lane)), tarmac, Texture.ASPHALT),
        ground(
            rectangle(width, 13, (width / 2, taxi)), vary(rng, (120, 120, 118)), Texture.ASPHALT
        ),
        Thing((*dashes, *keys)),
        Thing((line((0, taxi), (width, taxi), 0.4, (206, 176, 70)),)),
        Thing(tuple(line((0, lane + y), (width, lane + y), 0.6) for y in (-14, 14))),
    ]


def river(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """Water between green banks, `count` bridges, a few barges under way."""
    bank, middle = RIVER_BANK, height / 2
    upper = shore(rng, width, bank, wander=1.5)
    lower = shore(rng, width, height - bank, wander=1.5)
    water = np.vstack([upper, lower[::-1]])
    things = [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW),
        ground(water, vary(rng, RIVER), Texture.WATER),
    ]
    spans = bridge_places(width, count)
    for x in spans:
        road = rng.uniform(9.0, 14.0)
        lane = ground(rectangle(height, road - 3, (0, 0)), vary(rng, ASPHALT), Texture.ASPHALT)
        deck = sites.bridge(rng, height - 2 * bank + 7, road)
        things += [lane.placed((x, middle), UP), deck.placed((x, middle), UP)]
        for y in rng.uniform(-0.4, 0.4, 3) * height:
            side = rng.choice((-1, 1))
            things.append(craft.car(rng).placed((x + side * 2.0, middle + y), UP * side))
    for start, end in pairwise(spans):
        if end - start > 66 and rng.random() < 0.75:
            things += under_way(rng, ((start + end) / 2, middle + rng.uniform(-7, 7)), slow=True)
    return things


def bridge_places(width: float, count: int) -> list[float]:
    """Bridges spread over the inner part of a river, which every scene shows whole."""
    inner = 0.62 * width
    return [(width - inner) / 2 + (i + 0.5) * inner / count for i in range(count)]


def under_way(rng: Generator, at: tuple[float, float], *, slow: bool) -> list[Thing]:
    """A ship with its wake, along the x axis one way or the other."""
    ship = craft.barge(rng) if slow else craft.boat(rng)
    length = float(np.ptp(ship.shapes[0].corners[:, 0]))
    trail = clutter.wake(rng, length * (0.5 if slow else 1.0)).placed((-length / 2, 0))
    turn = rng.choice((0.0, np.pi)) + rng.normal(0, 0.06 if slow else 0.8)
    return [trail.placed(at, turn), ship.placed(at, turn)]


def coast(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """A quay, then the sea: `count` piers with boats, cargo ships alongside, others under way."""
    sea = np.vstack([shore(rng, width, QUAY, wander=0.2), [(width, height), (0, height)]])
    things = [
        ground(box(0, 0, width, height), vary(rng, CONCRETE), Texture.CONCRETE),
        ground(sea, vary(rng, SEA), Texture.WATER),
    ]
    inner = (0.16 * width, 0.84 * width)
    pitch = (inner[1] - inner[0]) / count
    for i in range(count):
        x, length = inner[0] + (i + 0.5) * pitch, rng.uniform(44, 70)
        things += moored(rng, x, length, room=pitch - sites.PIER_WIDTH)
    for x in (inner[0] * 0.3, width - inner[0] * 0.3):
        things.append(craft.barge(rng).placed((x, QUAY + 8), rng.choice((0.0, np.pi))))
    for lane, y in enumerate(np.arange(QUAY + 90, height - 8, 26.0)):
        slow = lane % 2 == 1
        for x in np.arange(0, width, 110.0 if slow else 36.0):
            if rng.random() < 0.6:
                at = (x + rng.uniform(-9, 9), y + rng.uniform(-5, 5))
                things += under_way(rng, at, slow=slow)
    return things


def moored(rng: Generator, x: float, length: float, *, room: float) -> list[Thing]:
    """A pier out from the quay with boats on both sides, bows to the pier."""
    things = [sites.pier(rng, length).placed((x, QUAY + length / 2 - 1), DOWN)]
    reach = sites.PIER_WIDTH / 2 + 0.8
    for side in (-1, 1):
        for y in np.arange(QUAY + 7, QUAY + length - 2, 4.4):
            boat = craft.boat(rng)
            long = float(np.ptp(boat.shapes[0].corners[:, 0]))
            if long < room / 2 and rng.random() < 0.85:
                turn = (np.pi if side > 0 else 0.0) + rng.normal(0, 0.03)
                things.append(boat.placed((x + side * (reach + long / 2), y), turn))
    return things


def shore(rng: Generator, width: float, y: float, *, wander: float) -> Points:
    """A wandering line from left to right."""
    x = np.linspace(0, width, max(int(width / 8), 4))
    steps = np.convolve(rng.normal(0, wander, len(x) + 4), np.ones(5) / 5, mode="valid")
    return np.column_stack([x, y + steps])
