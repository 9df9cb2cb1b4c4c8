"""The uses of land that a scene is composed of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geoseg.demo import sport, strips, town, works
from geoseg.demo.shapes import Thing
from geoseg.demo.town import Generator

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
    "houses": Kind(town.houses),
    "villas": Kind(town.villas, 25.0, 46.0),
    "parking": Kind(town.parking, 60.0, 38.0),
    "tennis": Kind(sport.tennis, 17.5, 37.0),
    "basketball": Kind(sport.basketball, 20.0, 34.0),
    "soccer": Kind(sport.soccer, 106.0, 70.0),
    "track": Kind(sport.track, 164.0, 90.0),
    "baseball": Kind(sport.baseball, 62.0, 62.0),
    "circus": Kind(sport.circus, 58.0, 56.0),
    "meadow": Kind(town.meadow),
    "forest": Kind(town.forest),
    "crops": Kind(town.crops),
    "glasshouses": Kind(town.glasshouses),
    "sheds": Kind(works.sheds),
    "depot": Kind(works.depot, 70.0, 58.0),
    "tanks": Kind(works.tanks, works.TANK_PITCH, 60.0),
    "containers": Kind(works.containers, 80.0, 46.0),
    "apron": Kind(works.apron, works.STAND, 64.0),
    "flying club": Kind(works.flying_club, works.LIGHT_STAND, 46.0),
    "heliport": Kind(works.heliport, works.HELIPAD, 40.0),
    "runway": Kind(strips.runway, 0.0, 64.0),
    "river": Kind(strips.river, 0.0, 62.0),
    "coast": Kind(strips.coast, 0.0, 104.0),
}
TWO_ROWS = ("tanks", "flying club", "heliport")
THROUGH = ("runway", "river", "coast")
"""Kinds that run through the whole layout."""
