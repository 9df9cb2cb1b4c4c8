"""Unlabelled objects that resemble labelled ones: roofs, containers, trees, greenhouses, wakes."""

from __future__ import annotations

import functools

import numpy as np

from geoseg.synthetic.shapes import (
    Colour,
    Element,
    Points,
    Shape,
    blob,
    ellipse,
    line,
    lines,
    pick,
    rectangle,
    shade,
    vary,
)

CROWN_DIAMETER = (3.0, 10.0)
GROVE = 120
CONTAINER_LENGTH, CONTAINER_WIDTH = (6.1, 12.2), 2.44

ROOF_COLOURS: tuple[Colour, ...] = (
    (150, 84, 66), (132, 74, 62), (96, 92, 92), (120, 108, 98), (84, 86, 94), (166, 110, 84),
)  # fmt: skip
SHED_COLOURS: tuple[Colour, ...] = (
    (196, 196, 192), (170, 172, 174), (214, 210, 200), (146, 156, 166), (178, 168, 152),
)  # fmt: skip
CONTAINER_COLOURS: tuple[Colour, ...] = (
    (170, 74, 50), (52, 92, 140), (186, 124, 52), (84, 120, 92), (190, 190, 186), (120, 48, 46),
)  # fmt: skip
CROWN_COLOURS: tuple[Colour, ...] = ((58, 84, 44), (70, 94, 50), (50, 74, 44), (86, 102, 56))


def house(rng: np.random.Generator, length: float, width: float) -> Element:
    """A gable roof, often with a dormer, a chimney or an extension."""
    tiles = pick(rng, ROOF_COLOURS)
    shapes = list(gable(length, width, tiles, height=rng.uniform(5.0, 8.0)))
    if rng.random() < 0.6:
        wing = Element(gable(width * 1.1, width * 0.6, tiles, height=4.5))
        at = (rng.uniform(-0.25, 0.25) * length, rng.choice((-0.35, 0.35)) * width)
        shapes = [*wing.place(at, np.pi / 2).placed_shapes(), *shapes]
    chimney = (rng.uniform(-0.4, 0.4) * length, rng.uniform(-0.2, 0.2) * width)
    shapes.append(Shape(rectangle(0.9, 0.9, chimney), (112, 84, 74), height=1.5))
    return Element(tuple(shapes), level=5.0)


def gable(length: float, width: float, tiles: Colour, *, height: float) -> tuple[Shape, ...]:
    """Two roof halves leaning away from the ridge along x."""

    def half(side: int) -> Points:
        return rectangle(length, width / 2, (0, side * width / 4))

    return (
        Shape(rectangle(length, width), tiles, height=height),
        *(Shape(half(side), tiles, slope=side * np.pi / 2) for side in (-1, 1)),
        line((-length / 2, 0), (length / 2, 0), 0.4, shade(tiles, 1.15)),
    )


def shed(rng: np.random.Generator, length: float, width: float) -> Element:
    """A flat industrial roof with seams, skylights and ventilators."""
    metal = pick(rng, SHED_COLOURS)
    shapes = [Shape(rectangle(length, width), metal, height=9.0)]
    inside = rectangle(length - 1.2, width - 1.2)
    shapes += lines(inside, 0.5, shade(metal, 0.82))
    for x in np.arange(-length / 2 + 6, length / 2 - 3, 6.0):
        shapes.append(line((x, -width / 2 + 1), (x, width / 2 - 1), 0.25, shade(metal, 0.9)))
    for _ in range(int(length * width / 150)):
        at = rng.uniform(-0.42, 0.42, 2) * (length, width)
        if rng.random() < 0.5:
            shapes.append(Shape(rectangle(4.5, 1.6, at), (150, 170, 180)))
        else:
            shapes.append(Shape(ellipse(1.8, 1.8, at), shade(metal, 0.7), height=1.2))
    return Element(tuple(shapes), level=5.0)


def container(rng: np.random.Generator) -> Element:
    """A stack of shipping containers, the size of a truck without a cab."""
    length = CONTAINER_LENGTH[int(rng.random() < 0.7)]
    paint = pick(rng, CONTAINER_COLOURS)
    ribs = [
        line((x, -1.1), (x, 1.1), 0.25, shade(paint, 0.88))
        for x in np.arange(-length / 2 + 0.9, length / 2 - 0.5, 1.5)
    ]
    body = Shape(rectangle(length, CONTAINER_WIDTH), paint, height=2.6 * int(rng.integers(1, 4)))
    return Element((body, *ribs), level=3.0)


def tree(rng: np.random.Generator, diameter: float | None = None) -> Element:
    """Return a tree of about `diameter` metres at a random heading."""
    low, high = CROWN_DIAMETER
    size = diameter or rng.uniform(4.0, high)
    rank = (size - low) / (high - low) * GROVE + rng.integers(-5, 6)
    return grove()[int(min(max(rank, 0), GROVE - 1))].place(heading=rng.uniform(0, 2 * np.pi))


@functools.cache
def grove() -> tuple[Element, ...]:
    """Return trees by size; all scenes share them, since each scene has thousands."""
    rng = np.random.default_rng(0)
    return tuple(crown(rng, size) for size in np.linspace(*CROWN_DIAMETER, GROVE))


def crown(rng: np.random.Generator, size: float) -> Element:
    """A tree crown of lobes that lean outwards, so that one side is lit."""
    leaf = pick(rng, CROWN_COLOURS, 0.12)
    shapes = [Shape(blob(rng, size, size), shade(leaf, 0.82), height=size * 0.8)]
    for angle in rng.uniform(0, 2 * np.pi) + np.arange(5) * 2 * np.pi / 5:
        at = np.array([np.cos(angle), np.sin(angle)]) * size * 0.23
        lobe = ellipse(size * 0.44, size * 0.40, at, sides=9)
        shapes.append(Shape(lobe, vary(rng, leaf, 0.08), slope=float(angle)))
    return Element(tuple(shapes), level=7.0, covers=True)


def bush(rng: np.random.Generator) -> Element:
    """A bush of 1 to 3 metres."""
    size = rng.uniform(1.2, 3.0)
    leaf = pick(rng, CROWN_COLOURS, 0.12)
    return Element((Shape(blob(rng, size, size), leaf, height=1.0),), level=1.0)


def greenhouse(rng: np.random.Generator, length: float, width: float) -> Element:
    """Glass spans side by side."""
    glass = pick(rng, ((196, 208, 206), (178, 196, 200), (208, 212, 206)))
    shapes = [Shape(rectangle(length, width), glass, height=4.5)]
    spans = max(int(width / 4), 1)
    for i in range(spans):
        y = (i + 0.5) / spans * width - width / 2
        half = width / spans / 2
        for side in (-1, 1):
            strip = rectangle(length, half, (0, y + side * half / 2))
            shapes.append(Shape(strip, glass, slope=side * np.pi / 2, opacity=0.8))
        shapes.append(line((-length / 2, y - half), (length / 2, y - half), 0.3, (112, 122, 118)))
    return Element(tuple(shapes), level=4.0)


def painted_bay(rng: np.random.Generator) -> Element:
    """A parking bay painted as large as a car and as bright as one."""
    paint = pick(rng, ((58, 104, 158), (196, 190, 180), (168, 70, 60), (84, 132, 92)))
    sign = Shape(ellipse(1.1, 1.1), (214, 214, 210), opacity=0.8)
    return Element((Shape(rectangle(4.6, 2.1), paint, opacity=0.75), sign))


def tarpaulin(rng: np.random.Generator) -> Element:
    """A blue tarpaulin in a garden, with the colour of a pool."""
    size = rng.uniform(2.5, 4.5)
    cloth = pick(rng, ((52, 104, 176), (70, 128, 190)))
    return Element((Shape(blob(rng, size, size * 0.7, rough=0.1), cloth, height=0.4),), level=0.3)


def wake(rng: np.random.Generator, length: float) -> Element:
    """Two foaming lines and a lighter tail behind a ship whose stern is at the origin."""
    tail = length * rng.uniform(1.5, 3.0)
    foam = (226, 232, 232)
    middle = np.array([(0, -1), (0, 1), (-tail, tail * 0.1), (-tail, -tail * 0.1)])
    shapes = [Shape(middle, foam, opacity=0.16)]
    for side in (-1, 1):
        arm = np.array([(0, side), (-tail, side * tail * 0.16), (-tail * 0.8, side * tail * 0.1)])
        shapes.append(Shape(arm, foam, opacity=0.4))
    return Element(tuple(shapes), level=0.2)


def well(rng: np.random.Generator) -> Element:
    """A round clarifier basin, which resembles a storage tank."""
    size = rng.uniform(8.0, 14.0)
    rim = Shape(ellipse(size, size), (176, 172, 162), height=0.6)
    water = Shape(ellipse(size * 0.86, size * 0.86), vary(rng, (70, 86, 78)))
    arm = line((-size * 0.43, 0), (size * 0.43, 0), 0.6, (190, 190, 186))
    return Element((rim, water, arm), level=1.0)
