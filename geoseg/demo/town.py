"""Lots of a town: homes, gardens, parking, sport, parks and farmland.

A lot is a rectangle of land with one use. Its function takes the generator, the lot's width and height
in metres and a count of what it is named after, and returns things in metres from its top left corner.
"""

from __future__ import annotations

import numpy as np

from geoseg.demo import clutter, craft, sites
from geoseg.demo.shapes import (
    Colour,
    Points,
    Texture,
    Thing,
    blob,
    box,
    ground,
    line,
    pick,
    rectangle,
    shaded,
    vary,
)

LAWN: Colour = (106, 121, 78)
MEADOW: Colour = (124, 128, 88)
FOREST_FLOOR: Colour = (66, 80, 46)
BARE: Colour = (150, 132, 100)
POND: Colour = (66, 84, 84)
PAVING: Colour = (164, 158, 148)
ASPHALT: Colour = (96, 96, 98)
CROPS: tuple[Colour, ...] = (
    (146, 140, 84), (108, 130, 64), (178, 160, 108), (134, 108, 80), (90, 116, 58), (158, 132, 98),
)  # fmt: skip

BAY_LINE: Colour = (186, 186, 182)
BAY_WIDTH, BAY_LENGTH, AISLE = 2.6, 5.2, 6.2
BAY_MARK = Thing((line((-2.5, -1.3), (2.5, -1.3), 0.14, BAY_LINE),))
PARCEL = 15.0
UP, DOWN = -np.pi / 2, np.pi / 2

Generator = np.random.Generator


def houses(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Rows of gable roofs, drives with cars, gardens with trees and sheds."""
    things = [ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW)]
    rows = max(int(height / 24), 1)
    columns = max(int(width / PARCEL), 1)
    for row in range(rows):
        for column in range(columns):
            at = ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
            things += parcel(rng, at, width / columns, height / rows, flip=row % 2 == 1)
    return things


def parcel(
    rng: Generator, at: tuple[float, float], width: float, depth: float, *, flip: bool
) -> list[Thing]:
    """One home: the street is on the upper side, or on the lower one when flipped."""
    lawn = ground(rectangle(width - 0.8, depth), vary(rng, LAWN, 0.1), Texture.LAWN)
    front = -depth / 2
    home = clutter.house(rng, rng.uniform(9, 12.5), rng.uniform(7.5, 10))
    turn = rng.choice((0.0, np.pi / 2)) if width > 13 else np.pi / 2
    drive = box(-width / 2 + 0.8, front, -width / 2 + 3.8, front + 8)
    things = [
        lawn,
        ground(drive, vary(rng, PAVING), Texture.CONCRETE),
        home.placed((rng.uniform(0.5, 1.5), front + rng.uniform(9.5, 11)), turn),
    ]
    if rng.random() < 0.45:
        things.append(craft.car(rng).placed((-width / 2 + 2.3, front + 3.2), UP))
    for _ in range(int(rng.integers(0, 4))):
        spot = (rng.uniform(-0.45, 0.45) * width, rng.uniform(0.2, 0.46) * depth)
        things.append(clutter.tree(rng, rng.uniform(3, 6.5)).placed(spot))
    if rng.random() < 0.12:
        things.append(clutter.tarpaulin(rng).placed((2, depth * 0.34), rng.uniform(0, 3)))
    return [thing.placed(at, np.pi if flip else 0.0) for thing in things]


def villas(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """`count` large homes, each with a pool on its terrace."""
    things = [ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW)]
    side = width / count
    for i in range(count):
        x = (i + 0.5) * side
        home = clutter.house(rng, rng.uniform(14, 17), rng.uniform(9, 11))
        pool = sites.pool(rng)
        y = height - rng.uniform(9, 12)
        terrace = rectangle(13.5, 9.5, (x, y))
        things += [
            ground(
                rectangle(side - 1, height - 1, (x, height / 2)), vary(rng, LAWN, 0.1), Texture.LAWN
            ),
            ground(terrace, vary(rng, PAVING), Texture.CONCRETE),
            home.placed((x, 14), rng.normal(0, 0.05)),
            pool.placed((x, y), rng.choice((0.0, 0.1, -0.2))),
        ]
        for corner in (-1, 1):
            spot = (x + corner * side * 0.4, height * rng.uniform(0.45, 0.6))
            things.append(clutter.tree(rng, 5.5).placed(spot))
            if rng.random() < 0.6:
                things.append(craft.car(rng).placed((x + corner * 5.0, 4.5), DOWN))
    return things


def parking(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Rows of bays, mostly taken; some are painted as large as cars."""
    tarmac = vary(rng, ASPHALT, 0.1)
    things = [ground(box(0, 0, width, height), tarmac, Texture.ASPHALT)]
    taken = rng.uniform(0.45, 0.85)
    module = 2 * BAY_LENGTH + AISLE
    for row in range(int((height - 2) / module)):
        top = 1 + row * module
        for x in np.arange(4, width - 4, BAY_WIDTH):
            for y, way in ((top + BAY_LENGTH / 2, UP), (top + 1.5 * BAY_LENGTH + AISLE, DOWN)):
                things += bay(rng, (x, y), way, taken)
        if rng.random() < 0.5:
            middle = top + module
            for x in np.arange(8, width - 6, 14.0):
                things.append(clutter.tree(rng, rng.uniform(3, 5)).placed((x, middle)))
    return things


def bay(rng: Generator, at: tuple[float, float], way: float, taken: float) -> list[Thing]:
    things = [BAY_MARK.placed(at, way)]
    if rng.random() < taken:
        turn = way + (np.pi if rng.random() < 0.3 else 0) + rng.normal(0, 0.03)
        things.append(craft.car(rng).placed(np.array(at) + rng.normal(0, 0.15, 2), turn))
    elif rng.random() < 0.06:
        things.append(clutter.painted_bay(rng).placed(at, way))
    return things


def park(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """A meadow with paths, and `count` trees."""
    things = [ground(box(0, 0, width, height), vary(rng, MEADOW), Texture.MEADOW)]
    for _ in range(count):
        at = rng.uniform(0.03, 0.97, 2) * (width, height)
        things.append(clutter.tree(rng).placed(at))
    return things


def meadow(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Rough grass with bare patches, bushes and a pond here and there."""
    things = park(rng, width, height, int(width * height / 700))
    bare, pond = (BARE, Texture.SOIL), (POND, Texture.WATER)
    for _ in range(int(width * height / 1500)):
        at = rng.uniform(0.1, 0.9, 2) * (width, height)
        form = blob(rng, rng.uniform(6, 22), rng.uniform(5, 14)) + at
        colour, texture = bare if rng.random() < 0.8 else pond
        things.append(ground(clipped(form, width, height), vary(rng, colour), texture))
        things.append(clutter.bush(rng).placed(rng.uniform(0, 1, 2) * (width, height)))
    return things


def forest(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Crowns close together."""
    things = [ground(box(0, 0, width, height), vary(rng, FOREST_FLOOR), Texture.MEADOW)]
    step = 5.6
    for x in np.arange(step / 2, width, step):
        for y in np.arange(step / 2, height, step):
            at = np.array([x, y]) + rng.normal(0, 1.3, 2)
            if rng.random() < 0.93:
                things.append(clutter.tree(rng, rng.uniform(5, 9)).placed(at))
    return things


def crops(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """A field with furrows along one side."""
    colour = pick(rng, CROPS)
    texture = Texture.SOIL if rng.random() < 0.5 else Texture.MEADOW
    step, dark = rng.uniform(2.2, 5.0), shaded(colour, 0.93)
    if rng.random() < 0.5:
        ends = [((x, 1.0), (x, height - 1)) for x in np.arange(2, width - 1, step)]
    else:
        ends = [((1.0, y), (width - 1, y)) for y in np.arange(2, height - 1, step)]
    furrows = Thing(tuple(line(start, end, step * 0.35, dark) for start, end in ends))
    field = ground(box(0, 0, width, height), colour, texture)
    return [field, furrows, *edge_trees(rng, width, height)]


def glasshouses(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    things = [ground(box(0, 0, width, height), vary(rng, (150, 140, 116)), Texture.SOIL)]
    for x in np.arange(12, width - 10, 22.0):
        glass = clutter.greenhouse(rng, height - rng.uniform(6, 14), rng.uniform(12, 19))
        things.append(glass.placed((x, height / 2), UP))
    return things


def edge_trees(
    rng: Generator, width: float, height: float, clear: Points | None = None
) -> list[Thing]:
    """A loose row of trees along the lot's border."""
    things = []
    for _ in range(int((width + height) / 14)):
        along = rng.uniform(0.04, 0.96) * width, rng.choice((2.0, height - 2.0))
        across = rng.choice((2.0, width - 2.0)), rng.uniform(0.04, 0.96) * height
        at = along if rng.random() < width / (width + height) else across
        if clear is None or min(abs(np.array(at) - clear)) > 8:
            things.append(clutter.tree(rng, rng.uniform(3, 6)).placed(at))
    return things


def clipped(form: Points, width: float, height: float) -> Points:
    return np.clip(form, 0, (width, height))
