"""Objects as somebody drew them: with a class name, before a legend gives ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.annotations.report import Done, Findings, Kind
from geoseg.errors import AnnotationError
from geoseg.legend import BACKGROUND, DOTA_V2, IGNORED, Legend, colours_for
from geoseg.raster.scene import SceneInfo


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
    """Every class name there is, in alphabetical order, in the colours of `geoseg.legend`."""
    names = sorted({str(name) for part in drawn for name in part.name} - {_NO_OBJECT, IGNORED})
    return Legend.of(colours_for(names))


_NO_OBJECT = DOTA_V2[BACKGROUND].name


# What a reader of annotations is, and what it is told.


@dataclass(frozen=True, slots=True)
class Reading:
    """How annotations are to be read; a format takes from it what it has a use for."""

    class_column: str = "class"
    """Column of a table that says what a polygon shows."""

    layer: str | None = None
    """Layer of a file that has several."""

    legend: Legend | None = None
    """Names of class ids, where the user named a legend."""

    colours: str | None = None
    """What colours of a picture mean: a name that `geoseg.annotations.colours` knows, or a file."""

    findings: Findings = field(default_factory=Findings)
    """Where the reader tells of what is odd, and what it did about it."""


class Reader(Protocol):
    """Reads one format."""

    def __call__(
        self, path: Path, images: Sequence[SceneInfo], reading: Reading, /
    ) -> Sequence[Drawn | None]:
        """What was drawn on each of `images`, in their order.

        None for a scene whose annotations are of no use; why was told to `reading.findings.fault`. Raises
        AnnotationError when `path` as a whole is not what the format says.
        """
        ...


# Objects as a file gives them, put in order; what was wrong with them is told.

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


# Scenes by name.


def by_stem(scenes: Sequence[SceneInfo]) -> dict[str, SceneInfo]:
    """Scenes by the name of their file without folder and suffix.

    Raises AnnotationError when two have the same, as annotations tell them by name.
    """
    named: dict[str, SceneInfo] = {}
    for scene in scenes:
        other = named.setdefault(Path(scene.path).stem, scene)
        if other is not scene:
            raise AnnotationError(f"{scene.path}: has the name of {other.path}. rename one of them")
    return named
