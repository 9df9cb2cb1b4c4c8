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
        """Take one more."""
        self.geometry.append(geometry)
        self.name.append(name)
        self.difficult.append(difficult)

    def in_order(self) -> int:
        """Put the corners of quads that run crosswise in order, and return how many did."""
        crossed = np.flatnonzero(~shapely.is_valid(self.geometry))
        for number in crossed:
            self.geometry[number] = self.geometry[number].convex_hull
        return len(crossed)

    def tidied(self, file: Path, image: SceneInfo, findings: Findings) -> Drawn:
        """Those that have a part in the scene, each once, valid."""
        return tidied(
            Drawn(_objects(self.geometry), _objects(self.name), np.array(self.difficult, bool)),
            file,
            image,
            findings,
        )


def tidied(drawn: Drawn, file: Path, image: SceneInfo, findings: Findings) -> Drawn:
    """Objects in pixels of a scene, valid, without those that have no area, lie outside, or are there twice."""

    def left_out(kind: Kind, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        findings.add(kind, file, Done.LEFT_OUT, scene=scene, count=int(bad.sum()))
        return ~bad

    scene = Path(image.path).stem
    geometry = drawn.geometry.copy()
    crossed = ~shapely.is_valid(geometry)
    geometry[crossed] = shapely.make_valid(
        geometry[crossed], method="structure", keep_collapsed=False
    )
    area = shapely.area(geometry)
    findings.add(
        Kind.INVALID_RING,
        file,
        Done.REPAIRED,
        scene=scene,
        count=int((crossed & (area > _SMALLEST_AREA)).sum()),
    )
    drawn = _these(geometry, drawn, left_out(Kind.NO_AREA, area <= _SMALLEST_AREA))
    box = shapely.box(0, 0, image.width, image.height)
    outside = ~shapely.intersects(drawn.geometry, box) | shapely.touches(drawn.geometry, box)
    drawn = _these(drawn.geometry, drawn, left_out(Kind.OUTSIDE, outside))
    return _these(drawn.geometry, drawn, left_out(Kind.DUPLICATE_OBJECT, _again(drawn)))


def _these(geometry: NDArray[np.object_], drawn: Drawn, good: NDArray[np.bool_]) -> Drawn:
    return Drawn(geometry[good], drawn.name[good], drawn.difficult[good])


def _again(drawn: Drawn) -> NDArray[np.bool_]:
    """(n,) True for an object whose class and outline were there before."""
    outlines = shapely.to_wkb(shapely.normalize(drawn.geometry))
    seen: set[tuple[str, bytes]] = set()
    again = np.zeros(len(drawn), bool)
    for number, what in enumerate(zip(drawn.name, outlines, strict=True)):
        again[number] = what in seen
        seen.add(what)
    return again


def _objects(items: list[str] | list[shapely.Geometry]) -> NDArray[np.object_]:
    array = np.empty(len(items), object)
    array[:] = items
    return array
