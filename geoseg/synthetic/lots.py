"""Land uses by name, and the lots and themes that scenes are composed of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geoseg.synthetic import land
from geoseg.synthetic.land import Generator
from geoseg.synthetic.shapes import Element

Draw = Callable[[Generator, float, float, int], list[Element]]


@dataclass(frozen=True, slots=True)
class LandUse:
    """Function that draws a land use, and its smallest size."""

    draw: Draw
    width: float = 0.0
    """Smallest width in metres for each object of the lot."""

    height: float = 0.0
    """Smallest height in metres."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Land use, and number of its objects."""

    kind: str
    count: int = 1

    @property
    def width(self) -> float:
        """Smallest width in metres."""
        columns = -(-self.count // 2) if self.kind in TWO_ROWS else self.count
        return LAND_USES[self.kind].width * columns


@dataclass(frozen=True, slots=True)
class Theme:
    """Strips of lots of a scene, from top to bottom."""

    name: str
    strips: tuple[tuple[Lot, ...], ...]
    fillers: tuple[str, ...]
    """Land uses of the remaining lots."""


LAND_USES = {
    "houses": LandUse(land.houses),
    "villas": LandUse(land.villas, 25.0, 46.0),
    "parking": LandUse(land.parking, 60.0, 38.0),
    "tennis": LandUse(land.tennis, 17.5, 37.0),
    "basketball": LandUse(land.basketball, 20.0, 34.0),
    "soccer": LandUse(land.soccer, 106.0, 70.0),
    "track": LandUse(land.track, 164.0, 90.0),
    "baseball": LandUse(land.baseball, 62.0, 62.0),
    "circus": LandUse(land.circus, 58.0, 56.0),
    "meadow": LandUse(land.meadow),
    "forest": LandUse(land.forest),
    "crops": LandUse(land.crops),
    "glasshouses": LandUse(land.glasshouses),
    "sheds": LandUse(land.sheds),
    "depot": LandUse(land.depot, 70.0, 58.0),
    "tanks": LandUse(land.tanks, land.TANK_PITCH, 60.0),
    "containers": LandUse(land.containers, 80.0, 46.0),
    "apron": LandUse(land.apron, land.STAND, 64.0),
    "flying club": LandUse(land.flying_club, land.LIGHT_STAND, 46.0),
    "heliport": LandUse(land.heliport, land.HELIPAD, 40.0),
    "runway": LandUse(land.runway, 0.0, 64.0),
    "river": LandUse(land.river, 0.0, 62.0),
    "coast": LandUse(land.coast, 0.0, 104.0),
}
TWO_ROWS = ("tanks", "flying club", "heliport")
THROUGH = ("runway", "river", "coast")
"""Land uses that cross the whole layout."""
