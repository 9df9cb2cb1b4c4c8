"""Land uses: each fills a rectangular lot with ground, objects and clutter.

Every function takes the random generator, width and height of the lot in metres, and the number of objects that
it is named after. It returns elements in metres from the top left corner of the lot.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from geoseg.synthetic import clutter, structures, vehicles
from geoseg.synthetic.shapes import (
    Colour,
    Element,
    Points,
    Shape,
    Texture,
    blob,
    box,
    ground,
    line,
    pick,
    rectangle,
    shade,
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
BAY_MARK = Element((line((-2.5, -1.3), (2.5, -1.3), 0.14, BAY_LINE),))
PARCEL = 15.0
UP, DOWN = -np.pi / 2, np.pi / 2

Generator = np.random.Generator

CONCRETE: Colour = (168, 166, 160)
GRAVEL: Colour = (156, 146, 130)

STAND = 41.0
LIGHT_STAND = 16.5
HELIPAD = 20.0
TANK_PITCH = 28.0

RIVER: Colour = (74, 90, 84)
SEA: Colour = (54, 82, 98)

QUAY = 14.0
RIVER_BANK = 8.0


# --- town: homes, parking, parks, farmland


def houses(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """Rows of gable roofs, drives with cars, gardens with trees and sheds."""
    elements = [ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW)]
    rows = max(int(height / 24), 1)
    columns = max(int(width / PARCEL), 1)
    for row in range(rows):
        for column in range(columns):
            at = ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
            elements += parcel(rng, at, width / columns, height / rows, flip=row % 2 == 1)
    return elements


def parcel(
    rng: Generator, at: tuple[float, float], width: float, depth: float, *, flip: bool
) -> list[Element]:
    """One home: the street is on the upper side, or on the lower one when flipped."""
    lawn = ground(rectangle(width - 0.8, depth), vary(rng, LAWN, 0.1), Texture.LAWN)
    front = -depth / 2
    home = clutter.house(rng, rng.uniform(9, 12.5), rng.uniform(7.5, 10))
    turn = rng.choice((0.0, np.pi / 2)) if width > 13 else np.pi / 2
    drive = box(-width / 2 + 0.8, front, -width / 2 + 3.8, front + 8)
    elements = [
        lawn,
        ground(drive, vary(rng, PAVING), Texture.CONCRETE),
        home.place((rng.uniform(0.5, 1.5), front + rng.uniform(9.5, 11)), turn),
    ]
    if rng.random() < 0.45:
        elements.append(vehicles.car(rng).place((-width / 2 + 2.3, front + 3.2), UP))
    for _ in range(int(rng.integers(0, 4))):
        spot = (rng.uniform(-0.45, 0.45) * width, rng.uniform(0.2, 0.46) * depth)
        elements.append(clutter.tree(rng, rng.uniform(3, 6.5)).place(spot))
    if rng.random() < 0.12:
        elements.append(clutter.tarpaulin(rng).place((2, depth * 0.34), rng.uniform(0, 3)))
    return [element.place(at, np.pi if flip else 0.0) for element in elements]


def villas(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """`count` large homes, each with a pool on its terrace."""
    elements = [ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW)]
    side = width / count
    for i in range(count):
        x = (i + 0.5) * side
        home = clutter.house(rng, rng.uniform(14, 17), rng.uniform(9, 11))
        pool = structures.pool(rng)
        y = height - rng.uniform(9, 12)
        terrace = rectangle(13.5, 9.5, (x, y))
        elements += [
            ground(
                rectangle(side - 1, height - 1, (x, height / 2)), vary(rng, LAWN, 0.1), Texture.LAWN
            ),
            ground(terrace, vary(rng, PAVING), Texture.CONCRETE),
            home.place((x, 14), rng.normal(0, 0.05)),
            pool.place((x, y), rng.choice((0.0, 0.1, -0.2))),
        ]
        for corner in (-1, 1):
            spot = (x + corner * side * 0.4, height * rng.uniform(0.45, 0.6))
            elements.append(clutter.tree(rng, 5.5).place(spot))
            if rng.random() < 0.6:
                elements.append(vehicles.car(rng).place((x + corner * 5.0, 4.5), DOWN))
    return elements


def parking(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """Rows of bays, mostly taken; some are painted as large as cars."""
    tarmac = vary(rng, ASPHALT, 0.1)
    elements = [ground(box(0, 0, width, height), tarmac, Texture.ASPHALT)]
    taken = rng.uniform(0.45, 0.85)
    module = 2 * BAY_LENGTH + AISLE
    for row in range(int((height - 2) / module)):
        top = 1 + row * module
        for x in np.arange(4, width - 4, BAY_WIDTH):
            for y, way in ((top + BAY_LENGTH / 2, UP), (top + 1.5 * BAY_LENGTH + AISLE, DOWN)):
                elements += bay(rng, (x, y), way, taken)
        if rng.random() < 0.5:
            middle = top + module
            for x in np.arange(8, width - 6, 14.0):
                elements.append(clutter.tree(rng, rng.uniform(3, 5)).place((x, middle)))
    return elements


def bay(rng: Generator, at: tuple[float, float], way: float, taken: float) -> list[Element]:
    elements = [BAY_MARK.place(at, way)]
    if rng.random() < taken:
        turn = way + (np.pi if rng.random() < 0.3 else 0) + rng.normal(0, 0.03)
        elements.append(vehicles.car(rng).place(np.array(at) + rng.normal(0, 0.15, 2), turn))
    elif rng.random() < 0.06:
        elements.append(clutter.painted_bay(rng).place(at, way))
    return elements


def park(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """A meadow with paths, and `count` trees."""
    elements = [ground(box(0, 0, width, height), vary(rng, MEADOW), Texture.MEADOW)]
    for _ in range(count):
        at = rng.uniform(0.03, 0.97, 2) * (width, height)
        elements.append(clutter.tree(rng).place(at))
    return elements


def meadow(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """Rough grass with bare patches, bushes and a pond here and there."""
    elements = park(rng, width, height, int(width * height / 700))
    bare, pond = (BARE, Texture.SOIL), (POND, Texture.WATER)
    for _ in range(int(width * height / 1500)):
        at = rng.uniform(0.1, 0.9, 2) * (width, height)
        form = blob(rng, rng.uniform(6, 22), rng.uniform(5, 14)) + at
        colour, texture = bare if rng.random() < 0.8 else pond
        elements.append(ground(clip_points(form, width, height), vary(rng, colour), texture))
        elements.append(clutter.bush(rng).place(rng.uniform(0, 1, 2) * (width, height)))
    return elements


def forest(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """Crowns close together."""
    elements = [ground(box(0, 0, width, height), vary(rng, FOREST_FLOOR), Texture.MEADOW)]
    step = 5.6
    for x in np.arange(step / 2, width, step):
        for y in np.arange(step / 2, height, step):
            at = np.array([x, y]) + rng.normal(0, 1.3, 2)
            if rng.random() < 0.93:
                elements.append(clutter.tree(rng, rng.uniform(5, 9)).place(at))
    return elements


def crops(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """A field with furrows along one side."""
    colour = pick(rng, CROPS)
    texture = Texture.SOIL if rng.random() < 0.5 else Texture.MEADOW
    step, dark = rng.uniform(2.2, 5.0), shade(colour, 0.93)
    if rng.random() < 0.5:
        ends = [((x, 1.0), (x, height - 1)) for x in np.arange(2, width - 1, step)]
    else:
        ends = [((1.0, y), (width - 1, y)) for y in np.arange(2, height - 1, step)]
    furrows = Element(tuple(line(start, end, step * 0.35, dark) for start, end in ends))
    field = ground(box(0, 0, width, height), colour, texture)
    return [field, furrows, *edge_trees(rng, width, height)]


def glasshouses(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    elements = [ground(box(0, 0, width, height), vary(rng, (150, 140, 116)), Texture.SOIL)]
    for x in np.arange(12, width - 10, 22.0):
        glass = clutter.greenhouse(rng, height - rng.uniform(6, 14), rng.uniform(12, 19))
        elements.append(glass.place((x, height / 2), UP))
    return elements


def edge_trees(
    rng: Generator, width: float, height: float, clear: Points | None = None
) -> list[Element]:
    """A loose row of trees along the lot's border."""
    elements = []
    for _ in range(int((width + height) / 14)):
        along = rng.uniform(0.04, 0.96) * width, rng.choice((2.0, height - 2.0))
        across = rng.choice((2.0, width - 2.0)), rng.uniform(0.04, 0.96) * height
        at = along if rng.random() < width / (width + height) else across
        if clear is None or min(abs(np.array(at) - clear)) > 8:
            elements.append(clutter.tree(rng, rng.uniform(3, 6)).place(at))
    return elements


def clip_points(form: Points, width: float, height: float) -> Points:
    return np.clip(form, 0, (width, height))


# --- sport


def tennis(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """`count` courts side by side on a fenced hard floor."""
    surround, court = pick(rng, structures.COURT_COLOURS), pick(rng, structures.COURT_COLOURS)
    elements = [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.LAWN),
        ground(box(1, 1, width - 1, height - 1), shade(surround, 0.85), Texture.PLAIN),
    ]
    for i in range(count):
        at = ((i + 0.5) * width / count, height / 2)
        elements.append(structures.tennis_court(rng, court).place(at, UP))
    return elements


def basketball(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    elements = [ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.15), Texture.CONCRETE)]
    for i in range(count):
        at = ((i + 0.5) * width / count, height / 2)
        elements.append(structures.basketball_court(rng).place(at, UP))
    return elements


def soccer(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    field = structures.soccer_field(rng, rng.uniform(0.9, 1.0)).place((width / 2, height / 2))
    return [*park(rng, width, height, 0), field]


def track(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """A running track with a soccer field inside."""
    scale = rng.uniform(0.85, 1.0)
    middle = (width / 2, height / 2)
    return [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW),
        structures.track_field(rng, scale).place(middle),
        structures.soccer_field(rng, 0.84 * scale).place(middle),
        *edge_trees(rng, width, height),
    ]


def baseball(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    turn = int(rng.integers(4)) * np.pi / 2
    field = structures.baseball_diamond(rng).place((width / 2, height / 2), turn)
    return [*park(rng, width, height, 0), field]


def circus(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """Four streets meet in a roundabout; the corners between them are a small park."""
    middle = np.array([width / 2, height / 2])
    lane = vary(rng, ASPHALT)
    elements = park(rng, width, height, 0)
    for arm in (rectangle(width + 6, 8, middle), rectangle(8, height + 6, middle)):
        elements.append(ground(arm, lane, Texture.ASPHALT))
    elements.append(structures.roundabout(rng).place(middle))
    for turn in rng.uniform(0, 2 * np.pi) + np.array([0.0, 1.9, 3.7]):
        at = middle + np.array([np.cos(turn), np.sin(turn)]) * 12.0
        elements.append(vehicles.car(rng).place(at, turn - np.pi / 2))
    return [*elements, *edge_trees(rng, width, height, clear=middle)]


# --- industry and airports


def depot(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """A shed with loading docks; trucks stand in rows, some bays are empty."""
    yard = ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.12), Texture.CONCRETE)
    deep = min(height * 0.4, 30.0)
    elements = [yard, clutter.shed(rng, width - 8, deep).place((width / 2, deep / 2 + 2))]
    rows = [(deep + 11.5, UP)] + [(y, DOWN) for y in np.arange(deep + 33, height - 10, 21.0)]
    for y, way in rows:
        for x in np.arange(7, width - 5, 4.3):
            if rng.random() < 0.55:
                elements.append(vehicles.truck(rng).place((x, y + rng.normal(0, 0.5)), way))
            else:
                bay = Element((line((-7, 2.1), (7, 2.1), 0.2),))
                elements.append(bay.place((x, y), way))
    return elements


def tanks(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """`count` storage tanks in bunds, two rows of them, and a basin that is none."""
    elements = [ground(box(0, 0, width, height), vary(rng, GRAVEL), Texture.SOIL)]
    columns = -(-count // 2)
    for i in range(count):
        at = np.array([(i // 2 + 0.5) * width / columns, (i % 2 + 0.5) * height / 2])
        diameter = rng.uniform(*structures.TANK_DIAMETER)
        bund = Element((line((-13, 0), (13, 0), 0.8, (132, 124, 110)),))
        pipe = line((0, 0), (0, height * 0.25), 0.6, (190, 188, 184))
        elements += [
            ground(rectangle(25, height / 2 - 3) + at, vary(rng, GRAVEL), Texture.SOIL),
            bund.place(at + np.array([0, height * 0.23])),
            Element((Shape(pipe.corners, pipe.colour, height=0.6),), level=0.4).place(at, 0),
            structures.tank(rng, diameter).place(at + rng.normal(0, 0.5, 2), rng.uniform(0, 6)),
        ]
    return elements


def containers(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """Stacks in blocks with lanes between, lorries in the lanes, basins at the side."""
    elements = [ground(box(0, 0, width, height), vary(rng, CONCRETE), Texture.CONCRETE)]
    for top in np.arange(4, height - 12, 19.0):
        for x in np.arange(8, width - 14, 13.0):
            for y in np.arange(top, top + 8, 2.6):
                if rng.random() < 0.75:
                    elements.append(clutter.container(rng).place((x + 4, y)))
        for x in np.arange(12, width - 12, 30.0):
            if rng.random() < 0.6:
                at = (x + rng.uniform(-6, 6), top + 12.5)
                elements.append(vehicles.truck(rng).place(at, rng.choice((0.0, np.pi))))
    return elements


def sheds(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
    """Flat roofs with cars in front; sometimes a clarifier's round basin."""
    elements = [ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.15), Texture.CONCRETE)]
    x = 4.0
    while x < width - 18:
        long = min(rng.uniform(22, 48), width - x - 4)
        deep = height * rng.uniform(0.5, 0.7)
        elements.append(clutter.shed(rng, long, deep).place((x + long / 2, deep / 2 + 3)))
        for spot in np.arange(x + 2, x + long - 2, 2.8):
            if rng.random() < 0.5 and height - deep > 12:
                elements.append(vehicles.car(rng).place((spot, height - 4), UP))
        x += long + rng.uniform(5, 9)
        if x < width - 18 and rng.random() < 0.4:
            elements.append(clutter.well(rng).place((x + 7, height * 0.4), rng.uniform(0, 3)))
            x += 18
    return elements


def apron(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """`count` airliners nose to the terminal, lead-in lines, carts and fuel lorries."""
    elements = [ground(box(0, 0, width, height), vary(rng, CONCRETE), Texture.CONCRETE)]
    terminal = clutter.shed(rng, width - 6, 14.0).place((width / 2, height - 8))
    elements.append(terminal)
    yellow = (206, 176, 70)
    for i in range(count):
        x = (i + 0.5) * width / count
        lead = line((x, 1), (x, height - 20), 0.4, yellow)
        aircraft = vehicles.plane(rng).place(
            (x, height * 0.40 + rng.normal(0, 1)), DOWN + rng.normal(0, 0.04)
        )
        elements += [Element((lead,)), aircraft]
        for side in (-1, 1):
            at = (x + side * width / count * 0.47, height * rng.uniform(0.3, 0.7))
            if rng.random() < 0.5:
                vehicle = vehicles.truck(rng) if rng.random() < 0.25 else vehicles.car(rng)
                elements.append(vehicle.place(at, DOWN))
    return elements


def flying_club(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """`count` light planes in two rows before their hangars."""
    elements = [ground(box(0, 0, width, height), vary(rng, (150, 150, 146)), Texture.CONCRETE)]
    for x in np.arange(13, width - 10, 25.0):
        elements.append(clutter.shed(rng, 22, 12).place((x, height - 7)))
    columns = -(-count // 2)
    for i in range(count):
        at = ((i // 2 + 0.5) * width / columns, 9 + (i % 2) * LIGHT_STAND)
        turn = (UP if i % 2 else DOWN) + rng.normal(0, 0.12)
        elements.append(vehicles.plane(rng, light=True).place(at, turn))
    return elements


def heliport(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """`count` helicopters on painted pads, in two rows; an H is left of each pad."""
    elements = [ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.15), Texture.ASPHALT)]
    columns = -(-count // 2)
    for i in range(count):
        at = ((i // 2 + 0.5) * width / columns, (i % 2 + 0.5) * height / 2)
        pad = ground(rectangle(16, 16), vary(rng, CONCRETE), Texture.CONCRETE)
        elements += [pad.place(at), vehicles.helicopter(rng).place(at, rng.uniform(0, 2 * np.pi))]
    return elements


# --- runway, river, coast: lots that cross the whole scene


def runway(rng: Generator, width: float, height: float, _count: int) -> list[Element]:
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
        Element((*dashes, *keys)),
        Element((line((0, taxi), (width, taxi), 0.4, (206, 176, 70)),)),
        Element(tuple(line((0, lane + y), (width, lane + y), 0.6) for y in (-14, 14))),
    ]


def river(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """Water between green banks, `count` bridges, a few barges under way."""
    bank, middle = RIVER_BANK, height / 2
    upper = shore(rng, width, bank, wander=1.5)
    lower = shore(rng, width, height - bank, wander=1.5)
    water = np.vstack([upper, lower[::-1]])
    elements = [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW),
        ground(water, vary(rng, RIVER), Texture.WATER),
    ]
    spans = bridge_places(width, count)
    for x in spans:
        road = rng.uniform(9.0, 14.0)
        lane = ground(rectangle(height, road - 3, (0, 0)), vary(rng, ASPHALT), Texture.ASPHALT)
        deck = structures.bridge(rng, height - 2 * bank + 7, road)
        elements += [lane.place((x, middle), UP), deck.place((x, middle), UP)]
        for y in rng.uniform(-0.4, 0.4, 3) * height:
            side = rng.choice((-1, 1))
            elements.append(vehicles.car(rng).place((x + side * 2.0, middle + y), UP * side))
    for start, end in pairwise(spans):
        if end - start > 66 and rng.random() < 0.75:
            elements += under_way(rng, ((start + end) / 2, middle + rng.uniform(-7, 7)), slow=True)
    return elements


def bridge_places(width: float, count: int) -> list[float]:
    """Bridges spread over the inner part of a river, which every scene shows whole."""
    inner = 0.62 * width
    return [(width - inner) / 2 + (i + 0.5) * inner / count for i in range(count)]


def under_way(rng: Generator, at: tuple[float, float], *, slow: bool) -> list[Element]:
    """A ship with its wake, along the x axis one way or the other."""
    ship = vehicles.barge(rng) if slow else vehicles.boat(rng)
    length = float(np.ptp(ship.shapes[0].corners[:, 0]))
    trail = clutter.wake(rng, length * (0.5 if slow else 1.0)).place((-length / 2, 0))
    turn = rng.choice((0.0, np.pi)) + rng.normal(0, 0.06 if slow else 0.8)
    return [trail.place(at, turn), ship.place(at, turn)]


def coast(rng: Generator, width: float, height: float, count: int) -> list[Element]:
    """A quay, then the sea: `count` piers with boats, cargo ships alongside, others under way."""
    sea = np.vstack([shore(rng, width, QUAY, wander=0.2), [(width, height), (0, height)]])
    elements = [
        ground(box(0, 0, width, height), vary(rng, CONCRETE), Texture.CONCRETE),
        ground(sea, vary(rng, SEA), Texture.WATER),
    ]
    inner = (0.16 * width, 0.84 * width)
    pitch = (inner[1] - inner[0]) / count
    for i in range(count):
        x, length = inner[0] + (i + 0.5) * pitch, rng.uniform(44, 70)
        elements += moored(rng, x, length, room=pitch - structures.PIER_WIDTH)
    for x in (inner[0] * 0.3, width - inner[0] * 0.3):
        elements.append(vehicles.barge(rng).place((x, QUAY + 8), rng.choice((0.0, np.pi))))
    for lane, y in enumerate(np.arange(QUAY + 90, height - 8, 26.0)):
        slow = lane % 2 == 1
        for x in np.arange(0, width, 110.0 if slow else 36.0):
            if rng.random() < 0.6:
                at = (x + rng.uniform(-9, 9), y + rng.uniform(-5, 5))
                elements += under_way(rng, at, slow=slow)
    return elements


def moored(rng: Generator, x: float, length: float, *, room: float) -> list[Element]:
    """A pier out from the quay with boats on both sides, bows to the pier."""
    elements = [structures.pier(rng, length).place((x, QUAY + length / 2 - 1), DOWN)]
    reach = structures.PIER_WIDTH / 2 + 0.8
    for side in (-1, 1):
        for y in np.arange(QUAY + 7, QUAY + length - 2, 4.4):
            boat = vehicles.boat(rng)
            long = float(np.ptp(boat.shapes[0].corners[:, 0]))
            if long < room / 2 and rng.random() < 0.85:
                turn = (np.pi if side > 0 else 0.0) + rng.normal(0, 0.03)
                elements.append(boat.place((x + side * (reach + long / 2), y), turn))
    return elements


def shore(rng: Generator, width: float, y: float, *, wander: float) -> Points:
    """A wandering line from left to right."""
    x = np.linspace(0, width, max(int(width / 8), 4))
    steps = np.convolve(rng.normal(0, wander, len(x) + 4), np.ones(5) / 5, mode="valid")
    return np.column_stack([x, y + steps])
