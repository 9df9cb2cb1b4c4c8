"""What a drawn scene is made of: coloured polygons in metres, and things composed of them.

Metres run like pixels: x to the right, y down. A thing is modelled around its own origin, facing +x,
and is then placed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Colour = tuple[float, float, float]

WHITE: Colour = (232, 232, 228)
GLASS: Colour = (38, 44, 52)

SOLID = 0.6
"""Opacity above which a shape belongs to its thing's outline and casts a shadow."""


class Texture(IntEnum):
    """How rough a ground looks; the renderer knows the amplitudes."""

    PLAIN = 0
    ASPHALT = 1
    CONCRETE = 2
    LAWN = 3
    MEADOW = 4
    SOIL = 5
    WATER = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """One polygon of one colour."""

    corners: Points
    """(n, 2) metres."""

    colour: Colour
    """Red, green, blue, 0-255."""

    height: float = 0.0
    """Metres above what lies below; casts the shadow."""

    opacity: float = 1.0

    slope: float | None = None
    """Direction in radians to which the surface leans; lit when it leans to the sun."""

    texture: Texture = Texture.PLAIN

    def placed(self, at: ArrayLike, heading: float) -> Shape:
        slope = None if self.slope is None else self.slope + heading
        corners = turned(self.corners, heading) + np.asarray(at)
        return Shape(corners, self.colour, self.height, self.opacity, slope, self.texture)


@dataclass(frozen=True, slots=True)
class Thing:
    """An object, a clutter or a piece of ground: drawn together, moved together."""

    shapes: tuple[Shape, ...]
    """Around the thing's own origin."""

    level: float = 0.0
    """Order of drawing: 0 is the textured ground, above that lower things come first."""

    category: str | None = None
    """DOTA class, or None for what carries no label."""

    quad: Points | None = None
    """(4, 2) oriented box of a labelled thing: front left corner first, then clockwise in the image."""

    covers: bool = False
    """True for tree crowns: they hide what stands under them."""

    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0
    """Where the origin lies and where +x points: moving a thing costs nothing until it is drawn."""

    def placed(self, at: ArrayLike = (0.0, 0.0), heading: float = 0.0) -> Thing:
        """The thing turned about the outer origin by `heading` radians, then moved by `at`."""
        dx, dy = np.asarray(at).tolist()
        c, s = math.cos(heading), math.sin(heading)
        x, y = c * self.x - s * self.y + dx, s * self.x + c * self.y + dy
        return replace(self, x=x, y=y, heading=self.heading + heading)

    def outside(self) -> tuple[Shape, ...]:
        """The shapes where they stand."""
        return tuple(shape.placed((self.x, self.y), self.heading) for shape in self.shapes)

    def place(self, points: Points) -> Points:
        """Points around the thing's origin → where they stand."""
        there: Points = turned(points, self.heading) + np.array([self.x, self.y])
        return there

    def outline(self, unit: float = 1.0) -> shapely.Geometry:
        """The true outline, in units of `unit` metres: the union of the solid shapes."""
        rims = [self.place(s.corners) / unit for s in self.shapes if s.opacity > SOLID]
        return shapely.union_all(shapely.make_valid([shapely.Polygon(rim) for rim in rims]))


def ground(corners: Points, colour: Colour, texture: Texture) -> Thing:
    return Thing((Shape(corners, colour, texture=texture),))


def labelled(
    category: str, shapes: Iterable[Shape], length: float, width: float, level: float = 0.0
) -> Thing:
    """A thing with a label around its origin: `length` along x, `width` along y, in metres."""
    return Thing(tuple(shapes), level, category, quad=rectangle(length, width)[[1, 2, 3, 0]])


def turned(points: Points, angle: float) -> Points:
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]), dtype=np.float64)


def rectangle(length: float, width: float, at: ArrayLike = (0.0, 0.0)) -> Points:
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length / 2, width / 2)
    return np.asarray(half + np.asarray(at), dtype=np.float64)


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def ellipse(length: float, width: float, at: ArrayLike = (0.0, 0.0), *, sides: int = 28) -> Points:
    return circle(sides) * (length / 2, width / 2) + np.asarray(at, dtype=np.float64)


@functools.cache
def circle(sides: int) -> Points:
    """Points on the unit circle."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def blob(rng: np.random.Generator, length: float, width: float, *, rough: float = 0.15) -> Points:
    """An ellipse with an irregular rim: crowns, ponds, bushes."""
    sides = 18
    wave = np.convolve(rng.normal(0, rough, sides + 2), [0.25, 0.5, 0.25], mode="valid")
    return ellipse(length, width, sides=sides) * (1 + wave)[:, None]


def line(start: ArrayLike, end: ArrayLike, width: float, colour: Colour = WHITE) -> Shape:
    """A painted line."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    side = np.array([-along[1], along[0]]) * width / 2
    return Shape(np.array([a + side, b + side, b - side, a - side]), colour)


def lines(points: Points, width: float, colour: Colour = WHITE) -> list[Shape]:
    """A painted closed line along the corners."""
    following = np.roll(points, -1, axis=0)
    return [line(a, b, width, colour) for a, b in zip(points, following, strict=True)]


def vary(rng: np.random.Generator, colour: Colour, spread: float = 0.08) -> Colour:
    """The same colour, a little lighter or darker and a little off in hue."""
    gain = 1 + rng.normal(0, spread)
    hue = rng.normal(1, spread / 4, 3).tolist()
    r, g, b = (min(max(c * gain * h, 0.0), 250.0) for c, h in zip(colour, hue, strict=True))
    return r, g, b


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 0.06) -> Colour:
    return vary(rng, colours[int(rng.integers(len(colours)))], spread)


def shaded(colour: Colour, gain: float) -> Colour:
    r, g, b = colour
    return min(r * gain, 255.0), min(g * gain, 255.0), min(b * gain, 255.0)
