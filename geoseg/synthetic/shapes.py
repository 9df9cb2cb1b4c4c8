"""Building blocks of synthetic scenes: coloured polygons in metres, and elements composed of them.

X points to the right, y down. An element is modelled around its own origin, facing +x, and then placed.
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
"""Opacity above which a shape belongs to the outline of its element and casts a shadow."""


class Texture(IntEnum):
    """Surface texture of the ground; the renderer has the noise amplitudes."""

    PLAIN = 0
    ASPHALT = 1
    CONCRETE = 2
    LAWN = 3
    MEADOW = 4
    SOIL = 5
    WATER = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """Polygon of one colour."""

    corners: Points
    """(n, 2) metres."""

    colour: Colour
    """Red, green, blue, 0 to 255."""

    height: float = 0.0
    """Height in metres above the surface below; determines the shadow."""

    opacity: float = 1.0

    slope: float | None = None
    """Direction in radians of the surface slope, which determines its shading; None: level."""

    texture: Texture = Texture.PLAIN

    def place(self, at: ArrayLike, heading: float) -> Shape:
        """Rotate the shape by `heading` radians, then move it by `at`."""
        slope = None if self.slope is None else self.slope + heading
        corners = rotate(self.corners, heading) + np.asarray(at)
        return Shape(corners, self.colour, self.height, self.opacity, slope, self.texture)


@dataclass(frozen=True, slots=True)
class Element:
    """Object, clutter or piece of ground: shapes that are drawn and moved together."""

    shapes: tuple[Shape, ...]
    """Shapes around the origin of the element."""

    level: float = 0.0
    """Drawing order: 0 is textured ground; above, lower elements are drawn first."""

    category: str | None = None
    """DOTA class; None: unlabelled."""

    quad: Points | None = None
    """(4, 2) oriented box of a labelled element: front left corner first, then clockwise in the image."""

    covers: bool = False
    """True for tree crowns, which occlude elements below them."""

    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0
    """Position of the origin and direction of +x; shapes are only transformed when they are drawn."""

    def place(self, at: ArrayLike = (0.0, 0.0), heading: float = 0.0) -> Element:
        """Rotate the element about the scene origin by `heading` radians, then move it by `at`."""
        dx, dy = np.asarray(at).tolist()
        c, s = math.cos(heading), math.sin(heading)
        x, y = c * self.x - s * self.y + dx, s * self.x + c * self.y + dy
        return replace(self, x=x, y=y, heading=self.heading + heading)

    def placed_shapes(self) -> tuple[Shape, ...]:
        """Return the shapes in scene coordinates."""
        return tuple(shape.place((self.x, self.y), self.heading) for shape in self.shapes)

    def to_scene(self, points: Points) -> Points:
        """Transform points from element to scene coordinates."""
        placed: Points = rotate(points, self.heading) + np.array([self.x, self.y])
        return placed

    def outline(self, unit: float = 1.0) -> shapely.Geometry:
        """Return the union of the solid shapes in scene coordinates, in units of `unit` metres."""
        rims = [self.to_scene(s.corners) / unit for s in self.shapes if s.opacity > SOLID]
        return shapely.union_all(shapely.make_valid([shapely.Polygon(rim) for rim in rims]))


def ground(corners: Points, colour: Colour, texture: Texture) -> Element:
    """Create a piece of textured ground."""
    return Element((Shape(corners, colour, texture=texture),))


def make_labelled(
    category: str, shapes: Iterable[Shape], length: float, width: float, level: float = 0.0
) -> Element:
    """Create a labelled element of `length` (along x) and `width` (along y) metres around its origin."""
    return Element(tuple(shapes), level, category, quad=rectangle(length, width)[[1, 2, 3, 0]])


def rotate(points: Points, angle: float) -> Points:
    """Rotate points about the origin by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]), dtype=np.float64)


def rectangle(length: float, width: float, at: ArrayLike = (0.0, 0.0)) -> Points:
    """Return the corners of a rectangle around `at`."""
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length / 2, width / 2)
    return np.asarray(half + np.asarray(at), dtype=np.float64)


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    """Return the corners of an axis-parallel rectangle."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def ellipse(length: float, width: float, at: ArrayLike = (0.0, 0.0), *, sides: int = 28) -> Points:
    """Return points on an ellipse around `at`."""
    return circle(sides) * (length / 2, width / 2) + np.asarray(at, dtype=np.float64)


@functools.cache
def circle(sides: int) -> Points:
    """Return points on the unit circle."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def blob(rng: np.random.Generator, length: float, width: float, *, rough: float = 0.15) -> Points:
    """Return an ellipse with an irregular rim, for crowns, ponds and bushes."""
    sides = 18
    wave = np.convolve(rng.normal(0, rough, sides + 2), [0.25, 0.5, 0.25], mode="valid")
    return ellipse(length, width, sides=sides) * (1 + wave)[:, None]


def line(start: ArrayLike, end: ArrayLike, width: float, colour: Colour = WHITE) -> Shape:
    """Create a painted line."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    side = np.array([-along[1], along[0]]) * width / 2
    return Shape(np.array([a + side, b + side, b - side, a - side]), colour)


def lines(points: Points, width: float, colour: Colour = WHITE) -> list[Shape]:
    """Create a closed painted line along the corners."""
    following = np.roll(points, -1, axis=0)
    return [line(a, b, width, colour) for a, b in zip(points, following, strict=True)]


def vary(rng: np.random.Generator, colour: Colour, spread: float = 0.08) -> Colour:
    """Vary brightness and hue of a colour at random."""
    gain = 1 + rng.normal(0, spread)
    hue = rng.normal(1, spread / 4, 3).tolist()
    r, g, b = (min(max(c * gain * h, 0.0), 250.0) for c, h in zip(colour, hue, strict=True))
    return r, g, b


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 0.06) -> Colour:
    """Pick one of several colours at random, and vary it."""
    return vary(rng, colours[int(rng.integers(len(colours)))], spread)


def shade(colour: Colour, gain: float) -> Colour:
    """Multiply the brightness of a colour by `gain`."""
    r, g, b = colour
    return min(r * gain, 255.0), min(g * gain, 255.0), min(b * gain, 255.0)
