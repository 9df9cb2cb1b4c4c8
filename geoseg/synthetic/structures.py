"""Built objects with a label: tanks, pools, courts, fields, piers, bridges, roundabouts."""

from __future__ import annotations

import numpy as np

from geoseg.synthetic.shapes import (
    Colour,
    Element,
    Points,
    Shape,
    Texture,
    blob,
    box,
    ellipse,
    line,
    lines,
    make_labelled,
    pick,
    rectangle,
    shade,
    vary,
)

TANK_DIAMETER = (9.0, 24.0)
POOL_LENGTH = (7.0, 11.0)
TENNIS_COURT = (23.77, 10.97)
BASKETBALL_COURT = (28.0, 15.0)
SOCCER_FIELD = (98.0, 62.0)
TRACK_FIELD = (158.0, 84.0)
TRACK_WIDTH = 8.5
BASEBALL_RADIUS = 52.0
PIER_WIDTH = 4.2
ROUNDABOUT_DIAMETER = (32.0, 40.0)

TANK_COLOURS: tuple[Colour, ...] = (
    (232, 232, 228), (218, 214, 204), (196, 198, 200), (150, 156, 150), (204, 190, 160),
)  # fmt: skip
COURT_COLOURS: tuple[Colour, ...] = ((58, 98, 140), (60, 110, 88), (168, 92, 66), (72, 88, 130))
TURF: Colour = (90, 116, 68)
TARTAN: Colour = (164, 84, 66)
CLAY: Colour = (178, 132, 92)
ASPHALT: Colour = (104, 104, 106)
CONCRETE: Colour = (172, 168, 158)


def tank(rng: np.random.Generator, diameter: float) -> Element:
    """A cylinder: lit rim, and a floating roof that lies deeper or a low cone."""
    paint, high = pick(rng, TANK_COLOURS), 0.45 * diameter
    wall = Shape(ellipse(diameter, diameter, sides=48), shade(paint, 0.9), height=min(high, 9.0))
    floating = rng.random() < 0.45
    inwards = np.pi if floating else 0.0
    facets = [
        Shape(sector(diameter * 0.47, a, a + np.pi / 6), paint, slope=a + inwards)
        for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ]
    lid = Shape(ellipse(diameter * 0.82, diameter * 0.82, sides=40), shade(paint, 0.86))
    hatch = Shape(ellipse(1.4, 1.4, (diameter * 0.2, 0)), shade(paint, 0.7))
    stair = line((diameter * 0.08, 0), (diameter * 0.48, 0), 0.7, shade(paint, 0.75))
    shapes = (wall, *facets, lid, stair) if floating else (wall, *facets, hatch)
    return make_labelled("storage-tank", shapes, diameter, diameter, level=6.0)


def pool(rng: np.random.Generator) -> Element:
    """Rectangular, oval or kidney shaped; a light rim and blue water."""
    length = rng.uniform(*POOL_LENGTH)
    width = length * rng.uniform(0.45, 0.65)
    corner = np.array([length / 2, width / 2])
    kidney = np.clip(blob(rng, length, width, rough=0.2), -corner, corner)
    forms = (rectangle(length, width), ellipse(length, width), kidney)
    form = forms[int(rng.integers(3))]
    water = pick(rng, ((74, 178, 206), (92, 196, 214), (60, 158, 196)))
    inner = form * (1 - 0.9 / length, 1 - 0.9 / width)
    shapes = (
        Shape(form, (214, 206, 192)),
        Shape(inner, shade(water, 0.85)),
        Shape(inner * 0.8 + (0.25, 0.2), water),
    )
    return make_labelled("swimming-pool", shapes, length, width)


def tennis_court(rng: np.random.Generator, colour: Colour) -> Element:
    length, width = TENNIS_COURT
    service, single = 6.4, width * 0.375
    paint = [
        *lines(rectangle(length - 0.2, width - 0.2), 0.35),
        *[line((-length / 2, y), (length / 2, y), 0.28) for y in (-single, single)],
        *[line((x, -single), (x, single), 0.28) for x in (-service, service)],
        line((-service, 0), (service, 0), 0.28),
        line((0, -width / 2), (0, width / 2), 0.4, (60, 62, 64)),
    ]
    court = Shape(rectangle(length, width), vary(rng, colour, 0.04))
    return make_labelled("tennis-court", (court, *paint), length, width)


def basketball_court(rng: np.random.Generator) -> Element:
    length, width = BASKETBALL_COURT
    floor = pick(rng, ((176, 118, 74), (132, 72, 66), (120, 124, 122)), 0.05)
    key = pick(rng, ((150, 58, 52), (52, 84, 134), (188, 132, 80)), 0.05)
    paint = []
    for end in (-1, 1):
        paint.append(Shape(rectangle(5.8, 4.9, (end * (length / 2 - 2.9), 0)), key))
        arc = ellipse(13.5, 13.5, (end * (length / 2 - 1.6), 0), sides=32)
        arc = np.clip(arc, (-length / 2, -width / 2), (length / 2, width / 2))
        paint += lines(arc, 0.28)
    paint += lines(rectangle(length - 0.2, width - 0.2), 0.3)
    paint += [line((0, -width / 2), (0, width / 2), 0.3), *lines(ellipse(3.6, 3.6), 0.28)]
    court = Shape(rectangle(length, width), floor)
    return make_labelled("basketball-court", (court, *paint), length, width)


def soccer_field(rng: np.random.Generator, scale: float = 1.0) -> Element:
    """Mown stripes, white lines, two goals."""
    length, width = SOCCER_FIELD[0] * scale, SOCCER_FIELD[1] * scale
    turf = vary(rng, TURF, 0.06)
    step = length / 12
    shapes = [Shape(rectangle(length, width), turf, texture=Texture.LAWN)]
    for i in range(0, 12, 2):
        stripe = rectangle(step, width, (-length / 2 + (i + 0.5) * step, 0))
        shapes.append(Shape(stripe, shade(turf, 1.13), texture=Texture.LAWN))
    shapes += lines(rectangle(length - 0.6, width - 0.6), 0.5)
    shapes += [line((0, -width / 2), (0, width / 2), 0.45), *lines(ellipse(16, 16), 0.4)]
    for end in (-1, 1):
        for deep, wide in ((14.0, 34.0), (5.0, 15.0)):
            area = rectangle(deep, wide * scale, (end * (length - deep) / 2, 0))
            shapes += lines(area, 0.42)
    return make_labelled("soccer-ball-field", shapes, length, width)


def track_field(rng: np.random.Generator, scale: float) -> Element:
    """A running track with its lanes, around a lawn."""
    length, width = TRACK_FIELD[0] * scale, TRACK_FIELD[1] * scale
    tartan = vary(rng, TARTAN, 0.06)
    lane = TRACK_WIDTH * 2 / 7
    rings = [
        shape
        for i in range(1, 7)
        for shape in lines(stadium(length - i * lane, width - i * lane), 0.22, (214, 176, 164))
    ]
    inner = stadium(length - 2 * TRACK_WIDTH, width - 2 * TRACK_WIDTH)
    shapes = (
        Shape(stadium(length, width), tartan, texture=Texture.ASPHALT),
        *rings,
        Shape(inner, vary(rng, TURF), texture=Texture.LAWN),
    )
    return make_labelled("ground-track-field", shapes, length, width)


def baseball_diamond(rng: np.random.Generator) -> Element:
    """A quarter circle of lawn, a clay infield, home plate at the corner."""
    radius = BASEBALL_RADIUS * rng.uniform(0.85, 1.0)
    shift = np.array([-radius / 2, -radius / 2])
    turf, clay = vary(rng, TURF), vary(rng, CLAY, 0.05)
    base = 17.0
    diamond = box(2.5, 2.5, base, base)
    parts = (
        (sector(radius, 0, np.pi / 2), shade(clay, 0.96), Texture.SOIL),
        (sector(radius - 3, 0, np.pi / 2) + 1.2, turf, Texture.LAWN),
        (sector(base * 1.65, 0, np.pi / 2), clay, Texture.SOIL),
        (diamond, shade(turf, 1.05), Texture.LAWN),
        (ellipse(4.5, 4.5, (base * 0.56, base * 0.56)), clay, Texture.SOIL),
        (ellipse(6.5, 6.5, (3.3, 3.3)), clay, Texture.SOIL),
    )
    shapes = [Shape(corners + shift, colour, texture=texture) for corners, colour, texture in parts]
    shapes += [line(shift + 1.5, shift + end, 0.35) for end in ((radius, 1.0), (1.0, radius))]
    return make_labelled("baseball-diamond", shapes, radius, radius)


def pier(rng: np.random.Generator, length: float) -> Element:
    """A jetty on piles: planks and mooring posts."""
    wood = pick(rng, ((156, 134, 108), (170, 164, 152), (140, 122, 102)))
    planks = [
        line((x, -PIER_WIDTH / 2), (x, PIER_WIDTH / 2), 0.3, shade(wood, 0.88))
        for x in np.arange(-length / 2 + 1.5, length / 2, 3.0)
    ]
    deck = Shape(rectangle(length, PIER_WIDTH), wood, height=1.5)
    return make_labelled("harbor", (deck, *planks), length, PIER_WIDTH, level=0.5)


def bridge(rng: np.random.Generator, length: float, width: float) -> Element:
    """A deck over water: carriageway, kerbs, lane line; the banks lie at both ends."""
    deck = vary(rng, CONCRETE, 0.05)
    starts = np.arange(-length / 2 + 2, length / 2 - 3, 7.0)
    dashes = [line((x, 0), (x + 3, 0), 0.3) for x in starts]
    shapes = (
        Shape(rectangle(length, width), deck, height=5.0),
        Shape(rectangle(length, width - 3.0), vary(rng, ASPHALT, 0.06)),
        *dashes,
    )
    return make_labelled("bridge", shapes, length, width, level=0.6)


def roundabout(rng: np.random.Generator) -> Element:
    """A ring of asphalt around a green island."""
    diameter = rng.uniform(*ROUNDABOUT_DIAMETER)
    island = diameter - 17.0
    ring = ellipse(diameter, diameter, sides=64)
    shapes = (
        Shape(ring, vary(rng, ASPHALT, 0.04), texture=Texture.ASPHALT),
        *lines(ellipse(diameter - 1.2, diameter - 1.2, sides=64), 0.3),
        Shape(ellipse(island + 2.4, island + 2.4, sides=48), CONCRETE),
        Shape(ellipse(island, island, sides=48), vary(rng, (98, 130, 72)), texture=Texture.LAWN),
        Shape(ellipse(island * 0.4, island * 0.4), vary(rng, (164, 120, 96)), texture=Texture.SOIL),
    )
    return make_labelled("roundabout", shapes, diameter, diameter)


def stadium(length: float, width: float) -> Points:
    """Two half circles joined by straights."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 20)
    half = np.column_stack([np.cos(angle), np.sin(angle)]) * width / 2 + ((length - width) / 2, 0)
    return np.vstack([half, -half])


def sector(radius: float, start: float, end: float) -> Points:
    angle = np.linspace(start, end, 12)
    arc = np.column_stack([np.cos(angle), np.sin(angle)]) * radius
    return np.vstack([[(0.0, 0.0)], arc])
