"""Lots that run through a whole scene: runway, river, coast; see `town` for what a lot is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from geoseg.synthetic import clutter
from geoseg.synthetic import structures as sites
from geoseg.synthetic import vehicles as craft
from geoseg.synthetic.shapes import (
    Colour,
    Points,
    Shape,
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


# Lots for work: depots, tank farms, container yards, aprons; see `town` for what a lot is.

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


# Lots for courts and fields, and the roundabout: see `town` for what a lot is.


def tennis(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """`count` courts side by side on a fenced hard floor."""
    surround, court = pick(rng, sites.COURT_COLOURS), pick(rng, sites.COURT_COLOURS)
    things = [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.LAWN),
        ground(box(1, 1, width - 1, height - 1), shaded(surround, 0.85), Texture.PLAIN),
    ]
    for i in range(count):
        at = ((i + 0.5) * width / count, height / 2)
        things.append(sites.tennis_court(rng, court).placed(at, UP))
    return things


def basketball(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    things = [ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.15), Texture.CONCRETE)]
    for i in range(count):
        at = ((i + 0.5) * width / count, height / 2)
        things.append(sites.basketball_court(rng).placed(at, UP))
    return things


def soccer(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    field = sites.soccer_field(rng, rng.uniform(0.9, 1.0)).placed((width / 2, height / 2))
    return [*park(rng, width, height, 0), field]


def track(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """A running track with a soccer field inside."""
    scale = rng.uniform(0.85, 1.0)
    middle = (width / 2, height / 2)
    return [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW),
        sites.track_field(rng, scale).placed(middle),
        sites.soccer_field(rng, 0.84 * scale).placed(middle),
        *edge_trees(rng, width, height),
    ]


def baseball(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    turn = int(rng.integers(4)) * np.pi / 2
    field = sites.baseball_diamond(rng).placed((width / 2, height / 2), turn)
    return [*park(rng, width, height, 0), field]


def circus(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Four streets meet in a roundabout; the corners between them are a small park."""
    middle = np.array([width / 2, height / 2])
    lane = vary(rng, ASPHALT)
    things = park(rng, width, height, 0)
    for arm in (rectangle(width + 6, 8, middle), rectangle(8, height + 6, middle)):
        things.append(ground(arm, lane, Texture.ASPHALT))
    things.append(sites.roundabout(rng).placed(middle))
    for turn in rng.uniform(0, 2 * np.pi) + np.array([0.0, 1.9, 3.7]):
        at = middle + np.array([np.cos(turn), np.sin(turn)]) * 12.0
        things.append(craft.car(rng).placed(at, turn - np.pi / 2))
    return [*things, *edge_trees(rng, width, height, clear=middle)]


# Lots of a town: homes, gardens, parking, sport, parks and farmland.
#
# A lot is a rectangle of land with one use. Its function takes the generator, the lot's width and height
# in metres and a count of what it is named after, and returns things in metres from its top left corner.

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
