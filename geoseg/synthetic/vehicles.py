"""Vehicles with a label: cars, trucks, planes, helicopters, ships. Sizes in metres."""

from __future__ import annotations

import numpy as np

from geoseg.synthetic.shapes import (
    GLASS,
    WHITE,
    Colour,
    Element,
    Points,
    Shape,
    ellipse,
    line,
    make_labelled,
    pick,
    rectangle,
    shade,
    vary,
)

CAR_LENGTH, CAR_WIDTH = (3.7, 5.0), (1.75, 2.05)
TRUCK_LENGTH, TRUCK_WIDTH = (7.5, 17.0), 2.6
AIRLINER_LENGTH, LIGHT_PLANE_LENGTH = (27.0, 38.0), (8.0, 12.0)
HELICOPTER_LENGTH = (11.0, 15.0)
BOAT_LENGTH, BARGE_LENGTH = (6.0, 13.0), (32.0, 62.0)

CAR_COLOURS: tuple[Colour, ...] = (
    (225, 225, 222), (205, 207, 210), (150, 153, 158), (92, 95, 100), (40, 42, 46), (36, 40, 58),
    (150, 36, 34), (52, 78, 128), (235, 235, 235), (120, 112, 96), (62, 84, 70), (200, 170, 60),
)  # fmt: skip
TRAILER_COLOURS: tuple[Colour, ...] = (
    (228, 228, 226), (214, 216, 220), (190, 192, 196), (70, 100, 150), (172, 60, 50), (226, 190, 80),
)  # fmt: skip
PLANE_COLOURS: tuple[Colour, ...] = ((236, 237, 238), (222, 224, 226), (198, 202, 208))
TAIL_COLOURS: tuple[Colour, ...] = ((40, 70, 140), (170, 40, 44), (40, 110, 90), (210, 160, 40))
HELICOPTER_COLOURS: tuple[Colour, ...] = ((70, 78, 60), (180, 50, 44), (226, 200, 60), (60, 66, 84))
HULL_COLOURS: tuple[Colour, ...] = ((236, 236, 234), (222, 222, 218), (60, 70, 92), (150, 60, 52))
DECK_COLOURS: tuple[Colour, ...] = ((198, 176, 140), (214, 214, 210), (176, 150, 116))


def car(rng: np.random.Generator) -> Element:
    """Body, windscreens and roof."""
    length, width = rng.uniform(*CAR_LENGTH), rng.uniform(*CAR_WIDTH)
    paint = pick(rng, CAR_COLOURS)
    shapes = (
        Shape(rounded(length, width, 0.5), paint, height=1.3),
        Shape(rectangle(length * 0.52, width * 0.84, (-length * 0.05, 0)), GLASS),
        Shape(rectangle(length * 0.30, width * 0.80, (-length * 0.07, 0)), shade(paint, 1.08)),
    )
    return make_labelled("small-vehicle", shapes, length, width, level=1.4)


def truck(rng: np.random.Generator) -> Element:
    """A cab and a box, from a delivery lorry to a trailer truck, or a coach."""
    length = rng.uniform(*TRUCK_LENGTH)
    front = length / 2
    body, cab = pick(rng, TRAILER_COLOURS), pick(rng, CAR_COLOURS)
    box_length = length - 2.9
    trailer = rectangle(box_length, TRUCK_WIDTH, (-front + box_length / 2, 0))
    roof = [
        line((x, -1.1), (x, 1.1), 0.35, shade(body, 0.9))
        for x in np.arange(-front + 1.2, -front + box_length, 2.4)
    ]
    shapes = (
        Shape(rectangle(length - 1.2, 1.6, (-0.4, 0)), (50, 50, 50)),
        Shape(rectangle(2.3, 2.4, (front - 1.15, 0)), cab, height=2.8),
        Shape(rectangle(0.6, 2.1, (front - 0.45, 0)), GLASS),
        Shape(trailer, body, height=3.4),
        *roof,
    )
    return make_labelled("large-vehicle", shapes, length, TRUCK_WIDTH, level=3.4)


def plane(rng: np.random.Generator, *, light: bool = False) -> Element:
    """Fuselage, swept wings, tailplane, engines, fin."""
    length = rng.uniform(*(LIGHT_PLANE_LENGTH if light else AIRLINER_LENGTH))
    span = length * (rng.uniform(1.1, 1.3) if light else rng.uniform(0.88, 1.0))
    skin, livery = pick(rng, PLANE_COLOURS, 0.03), pick(rng, TAIL_COLOURS)
    sweep = 0.02 if light else 0.17
    front, high = length / 2, length * 0.09
    body = np.array([(1.0, 0.0), (0.93, 0.6), (0.8, 1.0), (-0.45, 1.0), (-1.0, 0.25)])
    body = np.vstack([body, body[::-1] * (1, -1)]) * (front, length * 0.056)
    shapes = [
        Shape(wings(span, length * 0.2, sweep * length, 0.12 * length), shade(skin, 0.92), high),
        Shape(wings(span * 0.38, length * 0.11, sweep * length * 0.5, -front * 0.72), skin, high),
        Shape(body, skin, height=high),
        Shape(rectangle(length * 0.16, length * 0.02, (-front * 0.83, 0)), livery, height=high),
        Shape(rectangle(length * 0.025, length * 0.06, (front * 0.86, 0)), GLASS),
    ]
    if not light:
        engines = [(0.1 * length, y * span) for y in (-0.2, 0.2)]
        shapes += [Shape(ellipse(0.1 * length, 0.05 * length, e), (120, 124, 130)) for e in engines]
    return make_labelled("plane", shapes, length, span, level=high + 1)


def helicopter(rng: np.random.Generator) -> Element:
    """Cabin, tail boom and the blades of a standing rotor."""
    length = rng.uniform(*HELICOPTER_LENGTH)
    rotor = length * 0.75
    hub = np.array([length * 0.12, 0.0])
    paint = pick(rng, HELICOPTER_COLOURS)
    turn = rng.uniform(0, np.pi / 2)
    tips = [np.array([np.cos(turn + a), np.sin(turn + a)]) * rotor / 2 for a in (0, np.pi / 2)]
    blades = [line(hub - tip, hub + tip, 0.42, (58, 58, 60)) for tip in tips]
    tail = -length * 0.46
    shapes = (
        Shape(ellipse(rotor, rotor, hub), (150, 150, 150), height=3.0, opacity=0.10),
        Shape(ellipse(length * 0.46, length * 0.2, hub), paint, height=3.0),
        Shape(ellipse(length * 0.1, length * 0.15, (length * 0.27, 0)), GLASS),
        Shape(rectangle(length * 0.5, 0.75, (-length * 0.24, 0)), shade(paint, 0.85), height=2.5),
        Shape(rectangle(length * 0.05, length * 0.17, (tail, 0)), shade(paint, 1.2), height=2.5),
        *[Shape(blade.corners, blade.colour, height=1.2) for blade in blades],
        Shape(ellipse(0.9, 0.9, hub), (40, 40, 42)),
    )
    return make_labelled("helicopter", shapes, length, rotor, level=3.6)


def boat(rng: np.random.Generator) -> Element:
    """A yacht or motor boat: pointed hull, deck, cabin."""
    length = rng.uniform(*BOAT_LENGTH)
    width = length * rng.uniform(0.27, 0.34)
    paint, deck = vary(rng, HULL_COLOURS[int(rng.random() < 0.35)], 0.03), pick(rng, DECK_COLOURS)
    shapes = (
        Shape(hull(length, width), paint, height=1.2),
        Shape(hull(length * 0.84, width * 0.7), deck),
        Shape(rectangle(length * 0.32, width * 0.56, (-length * 0.05, 0)), WHITE, height=1.5),
        Shape(rectangle(length * 0.08, width * 0.52, (length * 0.1, 0)), GLASS),
    )
    return make_labelled("ship", shapes, length, width, level=2.0)


def barge(rng: np.random.Generator) -> Element:
    """A cargo ship: dark hull, hatches, bridge house aft."""
    length = rng.uniform(*BARGE_LENGTH)
    width = length * rng.uniform(0.14, 0.19)
    paint = vary(rng, HULL_COLOURS[2 + int(rng.random() < 0.5)])
    hatch = pick(rng, ((168, 172, 164), (120, 84, 66), (96, 120, 116), (190, 160, 110)))
    aft = -length / 2
    hatches = [
        Shape(rectangle(length * 0.14, width * 0.66, (x * length, 0)), vary(rng, hatch), height=0.8)
        for x in (-0.2, -0.03, 0.14, 0.3)
    ]
    shapes = (
        Shape(hull(length, width), paint, height=3.5),
        Shape(hull(length * 0.97, width * 0.86), shade(paint, 1.35)),
        *hatches,
        Shape(rectangle(length * 0.11, width * 0.8, (aft + length * 0.1, 0)), WHITE, height=7.0),
        Shape(rectangle(length * 0.03, width * 0.5, (aft + length * 0.14, 0)), GLASS),
    )
    return make_labelled("ship", shapes, length, width, level=3.0)


def hull(length: float, width: float) -> Points:
    """A ship from above: square stern, pointed bow."""
    half = np.array([(-1.0, 0.82), (0.35, 1.0), (0.68, 0.75), (0.88, 0.35), (1.0, 0.0)])
    half *= (length / 2, width / 2)
    return np.vstack([half, half[-2::-1] * (1, -1)])


def wings(span: float, chord: float, sweep: float, root: float) -> Points:
    """Both wings: leading edge at x = `root` on the axis, tips `sweep` metres behind it."""
    tip, half = root - sweep, span / 2
    left = [(root, 0.0), (tip, half), (tip - chord * 0.4, half), (root - chord, 0.0)]
    return np.array([*left, (tip - chord * 0.4, -half), (tip, -half)])


def rounded(length: float, width: float, cut: float) -> Points:
    """A rectangle with its corners cut."""
    x, y = length / 2, width / 2
    corner = [(x, y - cut), (x - cut, y), (cut - x, y), (-x, y - cut)]
    return np.array([*corner, *[(-a, -b) for a, b in corner]])
