"""Lots for work: depots, tank farms, container yards, aprons; see `town` for what a lot is."""

from __future__ import annotations

import numpy as np

from geoseg.demo import clutter, craft, sites
from geoseg.demo.shapes import (
    Colour,
    Shape,
    Texture,
    Thing,
    box,
    ground,
    line,
    rectangle,
    vary,
)
from geoseg.demo.town import ASPHALT, DOWN, UP, Generator

CONCRETE: Colour = (168, 166, 160)
GRAVEL: Colour = (156, 146, 130)

STAND = 41.0
LIGHT_STAND = 16.5
HELIPAD = 20.0
TANK_PITCH = 28.0


def depot(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """A shed with loading docks; trucks stand in rows, some bays are empty."""
    yard = ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.12), Texture.CONCRETE)
    deep = min(height * 0.4, 30.0)
    things = [yard, clutter.shed(rng, width - 8, deep).placed((width / 2, deep / 2 + 2))]
    rows = [(deep + 11.5, UP)] + [(y, DOWN) for y in np.arange(deep + 33, height - 10, 21.0)]
    for y, way in rows:
        for x in np.arange(7, width - 5, 4.3):
            if rng.random() < 0.55:
                things.append(craft.truck(rng).placed((x, y + rng.normal(0, 0.5)), way))
            else:
                bay = Thing((line((-7, 2.1), (7, 2.1), 0.2),))
                things.append(bay.placed((x, y), way))
    return things


def tanks(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """`count` storage tanks in bunds, two rows of them, and a basin that is none."""
    things = [ground(box(0, 0, width, height), vary(rng, GRAVEL), Texture.SOIL)]
    columns = -(-count // 2)
    for i in range(count):
        at = np.array([(i // 2 + 0.5) * width / columns, (i % 2 + 0.5) * height / 2])
        diameter = rng.uniform(*sites.TANK_DIAMETER)
        bund = Thing((line((-13, 0), (13, 0), 0.8, (132, 124, 110)),))
        pipe = line((0, 0), (0, height * 0.25), 0.6, (190, 188, 184))
        things += [
            ground(rectangle(25, height / 2 - 3) + at, vary(rng, GRAVEL), Texture.SOIL),
            bund.placed(at + np.array([0, height * 0.23])),
            Thing((Shape(pipe.corners, pipe.colour, height=0.6),), level=0.4).placed(at, 0),
            sites.tank(rng, diameter).placed(at + rng.normal(0, 0.5, 2), rng.uniform(0, 6)),
        ]
    return things


def containers(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Stacks in blocks with lanes between, lorries in the lanes, basins at the side."""
    things = [ground(box(0, 0, width, height), vary(rng, CONCRETE), Texture.CONCRETE)]
    for top in np.arange(4, height - 12, 19.0):
        for x in np.arange(8, width - 14, 13.0):
            for y in np.arange(top, top + 8, 2.6):
                if rng.random() < 0.75:
                    things.append(clutter.container(rng).placed((x + 4, y)))
        for x in np.arange(12, width - 12, 30.0):
            if rng.random() < 0.6:
                at = (x + rng.uniform(-6, 6), top + 12.5)
                things.append(craft.truck(rng).placed(at, rng.choice((0.0, np.pi))))
    return things


def sheds(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Flat roofs with cars in front; sometimes a clarifier's round basin."""
    things = [ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.15), Texture.CONCRETE)]
    x = 4.0
    while x < width - 18:
        long = min(rng.uniform(22, 48), width - x - 4)
        deep = height * rng.uniform(0.5, 0.7)
        things.append(clutter.shed(rng, long, deep).placed((x + long / 2, deep / 2 + 3)))
        for spot in np.arange(x + 2, x + long - 2, 2.8):
            if rng.random() < 0.5 and height - deep > 12:
                things.append(craft.car(rng).placed((spot, height - 4), UP))
        x += long + rng.uniform(5, 9)
        if x < width - 18 and rng.random() < 0.4:
            things.append(clutter.well(rng).placed((x + 7, height * 0.4), rng.uniform(0, 3)))
            x += 18
    return things


def apron(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """`count` airliners nose to the terminal, lead-in lines, carts and fuel lorries."""
    things = [ground(box(0, 0, width, height), vary(rng, CONCRETE), Texture.CONCRETE)]
    terminal = clutter.shed(rng, width - 6, 14.0).placed((width / 2, height - 8))
    things.append(terminal)
    yellow = (206, 176, 70)
    for i in range(count):
        x = (i + 0.5) * width / count
        lead = line((x, 1), (x, height - 20), 0.4, yellow)
        aircraft = craft.plane(rng).placed(
            (x, height * 0.40 + rng.normal(0, 1)), DOWN + rng.normal(0, 0.04)
        )
        things += [Thing((lead,)), aircraft]
        for side in (-1, 1):
            at = (x + side * width / count * 0.47, height * rng.uniform(0.3, 0.7))
            if rng.random() < 0.5:
                vehicle = craft.truck(rng) if rng.random() < 0.25 else craft.car(rng)
                things.append(vehicle.placed(at, DOWN))
    return things


def flying_club(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """`count` light planes in two rows before their hangars."""
    things = [ground(box(0, 0, width, height), vary(rng, (150, 150, 146)), Texture.CONCRETE)]
    for x in np.arange(13, width - 10, 25.0):
        things.append(clutter.shed(rng, 22, 12).placed((x, height - 7)))
    columns = -(-count // 2)
    for i in range(count):
        at = ((i // 2 + 0.5) * width / columns, 9 + (i % 2) * LIGHT_STAND)
        turn = (UP if i % 2 else DOWN) + rng.normal(0, 0.12)
        things.append(craft.plane(rng, light=True).placed(at, turn))
    return things


def heliport(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """`count` helicopters on painted pads, in two rows; an H is left of each pad."""
    things = [ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.15), Texture.ASPHALT)]
    columns = -(-count // 2)
    for i in range(count):
        at = ((i // 2 + 0.5) * width / columns, (i % 2 + 0.5) * height / 2)
        pad = ground(rectangle(16, 16), vary(rng, CONCRETE), Texture.CONCRETE)
        things += [pad.placed(at), craft.helicopter(rng).placed(at, rng.uniform(0, 2 * np.pi))]
    return things
