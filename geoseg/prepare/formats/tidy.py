"""Objects as a file gives them, put in order; what was wrong with them is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.prepare.drawn import Drawn
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.scene import SceneInfo

_SMALLEST_AREA = 1e-6  # square pixels: what rounding leaves of a line


@dataclass(slots=True)
class Raw:
    """Objects of one scene while they are read."""

    geometry: list[shapely.Geometry] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)

    def add(self, geometry: shapely.Geometry, name: str, *, difficult: bool = False) -> None:
        """Take one more; `geometry` need not be valid."""
        self.geometry.append(geometry)
        self.name.append(name)
        self.difficult.append(difficult)

    def tidied(
        self, file: Path, scene: SceneInfo, findings: Findings, *, quads: bool = False
    ) -> Drawn:
        """Those that have an area, valid: outlines that cross themselves by what they enclose, `quads` by
        their convex hull, which puts the corners in order.
        """
        geometry = _objects(self.geometry)
        crossed = ~shapely.is_valid(geometry)
        geometry[crossed] = (
            shapely.convex_hull(geometry[crossed])
            if quads
            else shapely.make_valid(geometry[crossed], method="structure", keep_collapsed=False)
        )
        good = shapely.area(geometry) > _SMALLEST_AREA
        for kind, done, found in (
            (Kind.INVALID_RING, Done.REPAIRED, crossed & good),
            (Kind.NO_AREA, Done.LEFT_OUT, ~good),
        ):
            findings.add(kind, file, done, scene=Path(scene.path).stem, count=int(found.sum()))
        names = _objects(self.name)
        return Drawn(geometry[good], names[good], np.array(self.difficult, bool)[good])


def _objects(items: list[str] | list[shapely.Geometry]) -> NDArray[np.object_]:
    array = np.empty(len(items), object)
    array[:] = items
    return array
