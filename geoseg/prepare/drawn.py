"""Objects as somebody drew them: with a class name, before a legend gives ids."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.annotations import Annotations
from geoseg.legend import BACKGROUND, DOTA_V2, IGNORED, Legend


@dataclass(frozen=True, slots=True)
class Drawn:
    """The objects of one scene."""

    geometry: NDArray[np.object_]
    """(n,) valid shapely polygons or multipolygons in pixels of the scene: x right, y down"""

    name: NDArray[np.object_]
    """(n,) class names, or IGNORED"""

    difficult: NDArray[np.bool_]
    """(n,)"""

    def __len__(self) -> int:
        return len(self.name)

    def annotations(self, legend: Legend) -> Annotations:
        """The same with class ids. Raises ValueError for a name that is not in the legend."""
        ids = {name: legend.label_of(name) for name in set(self.name)}
        return Annotations(
            self.geometry, np.array([ids[n] for n in self.name], np.uint8), self.difficult
        )


def legend_of(drawn: Iterable[Drawn]) -> Legend:
    """Every class name there is, in alphabetical order. Names that DOTA knows keep its colours; the others
    get what is left of these, which are as far from one another as eyes can tell, then hues between.
    """
    names = sorted({str(name) for part in drawn for name in part.name} - {_NO_OBJECT, IGNORED})
    known = {c.name: c.colour for c in DOTA_V2.objects}
    free = [c.colour for c in DOTA_V2.objects if c.name not in names]
    spare = (hue(number) for number in range(len(names)))
    return Legend.of({n: known.get(n) or (free.pop(0) if free else next(spare)) for n in names})


_NO_OBJECT = DOTA_V2[BACKGROUND].name
_GOLDEN = 0.618033988749895


def hue(number: int) -> str:
    """A colour for each number, neighbours far apart."""
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.9, (0.55, 0.95)[number % 2])
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
