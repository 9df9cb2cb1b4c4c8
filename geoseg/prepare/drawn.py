"""Objects as somebody drew them: with a class name, before a legend gives ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.annotations import Annotations
from geoseg.legend import BACKGROUND, DOTA_V2, Legend, colours_for


@dataclass(frozen=True, slots=True)
class Drawn:
    """The objects of one scene."""

    geometry: NDArray[np.object_]
    """(n,) valid shapely polygons or multipolygons in pixels of the scene: x right, y down"""

    name: NDArray[np.object_]
    """(n,) class names"""

    difficult: NDArray[np.bool_]
    """(n,)"""

    def __len__(self) -> int:
        return len(self.name)

    def annotations(self, legend: Legend) -> Annotations:
        """The same with class ids. Raises ValueError for a name that is not in the legend."""
        ids = {name: legend.id_of(name) for name in set(self.name)}
        return Annotations(
            self.geometry, np.array([ids[n] for n in self.name], np.uint8), self.difficult
        )


def legend_of(drawn: Iterable[Drawn]) -> Legend:
    """Every class name there is, in alphabetical order, in the colours of `geoseg.legend`."""
    names = sorted({str(name) for part in drawn for name in part.name} - {_NO_OBJECT})
    return Legend.of(colours_for(names))


_NO_OBJECT = DOTA_V2[BACKGROUND].name
