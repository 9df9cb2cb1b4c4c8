"""The uses of land that a scene is composed of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geoseg.synthetic import land
from geoseg.synthetic.land import Generator
from geoseg.synthetic.shapes import Thing

Draw = Callable[[Generator, float, float, int], list[Thing]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One use of land."""

    draw: Draw
    width: float = 0.0
    """Least width in metres for each of the lot's count."""

    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Lot:
    """A use of land, and how many of its objects."""

    kind: str
    count: int = 1

    @property
    def width(self) -> float:
        columns = -(-self.count // 2) if self.kind in TWO_ROWS else self.count
        return KINDS[self.kind].width * columns


@dataclass(frozen=True, slots=True)
class Theme:
    """What a scene shows, from top to bottom; one strip per row."""

    name: str
    strips: tuple[tuple[Lot, ...], ...]
    fillers: tuple[str, ...]
    """Uses of land that fill what is left."""


KINDS = {
    "houses": Kind(land.houses),
    "villas": Kind(land.villas, 25.0, 46.0),
    "parking": Kind(land.parking, 60.0, 38.0),
    "tennis": Kind(land.tennis, 17.5, 37.0),
    "basketball": Kind(land.basketball, 20.0, 34.0),
    "soccer": Kind(land.soccer, 106.0, 70.0),
    "track": Kind(land.track, 164.0, 90.0),
    "baseball": Kind(land.baseball, 62.0, 62.0),
    "circus": Kind(land.circus, 58.0, 56.0),
    "meadow": Kind(land.meadow),
    "forest": Kind(land.forest),
    "crops": Kind(land.crops),
    "glasshouses": Kind(land.glasshouses),
    "sheds": Kind(land.sheds),
    "depot": Kind(land.depot, 70.0, 58.0),
    "tanks": Kind(land.tanks, land.TANK_PITCH, 60.0),
    "containers": Kind(land.containers, 80.0, 46.0),
    "apron": Kind(land.apron, land.STAND, 64.0),
    "flying club": Kind(land.flying_club, land.LIGHT_STAND, 46.0),
    "heliport": Kind(land.heliport, land.HELIPAD, 40.0),
    "runway": Kind(land.runway, 0.0, 64.0),
    "river": Kind(land.river, 0.0, 62.0),
    "coast": Kind(land.coast, 0.0, 104.0),
}
TWO_ROWS = ("tanks", "flying club", "heliport")
THROUGH = ("runway", "river", "coast")
"""Kinds that run through the whole layout."""
