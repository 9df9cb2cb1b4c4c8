"""Readers of annotation formats: their interface, and the formats by name.

A reader returns annotations with class names; class IDs follow once the legend of the dataset is known. Other
packages add formats by the entry point group ``geoseg.annotations``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError, ConfigError
from geoseg.legend import BACKGROUND, DOTA_V2, IGNORED, Legend, colours_for
from geoseg.raster.scene import SceneInfo

ENTRY_POINTS = "geoseg.annotations"

_READERS = {
    "coco": "geoseg.annotations.coco:read_coco",
    "labels": "geoseg.annotations.label_rasters:read_label_rasters",
    "vector": "geoseg.annotations.vector:read_vector",
    "yolo-obb": "geoseg.annotations.yolo:read_yolo_obb",
    "yolo-seg": "geoseg.annotations.yolo:read_yolo_seg",
}
_SMALLEST_AREA = 1e-6  # square pixels: rounding error of a degenerate polygon


@dataclass(frozen=True, slots=True)
class NamedAnnotations:
    """Annotated objects of one scene with class names."""

    geometry: NDArray[np.object_]
    """(n,) valid shapely polygons or multipolygons in pixels of the scene: x right, y down."""

    name: NDArray[np.object_]
    """(n,) class names, or `geoseg.legend.IGNORED`."""

    difficult: NDArray[np.bool_]
    """(n,) True where the object is marked as difficult."""

    status: NDArray[np.object_] | None = None
    """(n,) statuses of corrections, see `geoseg.annotations.corrections`; None: the file has no corrections."""

    area: shapely.Geometry | None = None
    """Annotated area in pixels of the scene; None: the whole scene is annotated."""

    def __len__(self) -> int:
        return len(self.name)

    def to_annotations(self, legend: Legend) -> Annotations:
        """Replace class names by class IDs. Raises ValueError for a name that is not in the legend."""
        ids = {name: legend.label_of(name) for name in set(self.name)}
        class_id = np.array([ids[n] for n in self.name], np.uint8)
        return Annotations(self.geometry, class_id, self.difficult, self.area)


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """Options of all annotation formats; a reader uses those that apply to its format."""

    class_column: str = "class"
    """Column of a vector file with the class."""

    layer: str | None = None
    """Layer of a vector file that has several."""

    legend: Legend | None = None
    """Names of class IDs, where the user named a legend."""

    colours: str | None = None
    """Colour map of label images: a name known to `geoseg.annotations.colours`, or a file."""


class Reader(Protocol):
    """Function that reads one annotation format."""

    def __call__(
        self,
        path: Path,
        scenes: Sequence[SceneInfo],
        options: ReaderOptions,
        report: ValidationReport,
        /,
    ) -> Sequence[NamedAnnotations | None]:
        """Read the annotations of `scenes`.

        Parameters
        ----------
        path
            File or folder with the annotations of all scenes.
        scenes
            Scenes of the dataset.
        options
            Options of the command line.
        report
            Collects issues. An input that cannot be used is added with `reject`.

        Returns
        -------
        sequence
            One item per scene, in order; None for a scene whose annotations were rejected.

        Raises
        ------
        AnnotationError
            If `path` is not of the format.
        """
        ...


def find_reader(format: str) -> Reader:
    """Return the reader of a format; built-in formats take precedence. Raises ConfigError if unknown."""
    if format in _READERS:
        builtin: Reader = pkgutil.resolve_name(_READERS[format])
        return builtin
    plugins = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if format not in plugins:
        known = ", ".join(sorted(_READERS.keys() | plugins.keys()))
        raise ConfigError(f"--format {format!r}: unknown format. Use one of: {known}")
    plugin: Reader = plugins[format].load()
    return plugin


def derive_legend(annotations: Iterable[NamedAnnotations]) -> Legend:
    """Build a legend of all class names, in alphabetical order, in the colours of `geoseg.legend`."""
    background = DOTA_V2[BACKGROUND].name
    names = {str(name) for part in annotations for name in part.name} - {background, IGNORED}
    return Legend.of(colours_for(sorted(names)))


def index_by_stem(scenes: Sequence[SceneInfo]) -> dict[str, SceneInfo]:
    """Map scenes by the name of their file without folder and suffix.

    Raises AnnotationError when two have the same, as annotations refer to scenes by name.
    """
    by_stem: dict[str, SceneInfo] = {}
    for scene in scenes:
        other = by_stem.setdefault(Path(scene.path).stem, scene)
        if other is not scene:
            raise AnnotationError(
                f"{scene.path}: has the same name as {other.path}. Rename one of them"
            )
    return by_stem


class AnnotatedObject(NamedTuple):
    """An object as its file stores it."""

    geometry: shapely.Geometry
    """In pixels of the scene; not necessarily valid."""

    name: str
    difficult: bool = False


def repair_objects(
    objects: Sequence[AnnotatedObject],
    file: Path,
    scene: SceneInfo,
    report: ValidationReport,
    *,
    quads: bool = False,
) -> NamedAnnotations:
    """Repair invalid outlines and remove objects without area.

    A self-intersecting outline becomes the area that it encloses; with `quads`, its convex hull, which orders
    the corners.
    """
    geometry = _to_array([o.geometry for o in objects])
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = (
        shapely.convex_hull(geometry[invalid])
        if quads
        else shapely.make_valid(geometry[invalid], method="structure", keep_collapsed=False)
    )
    good = shapely.area(geometry) > _SMALLEST_AREA
    for kind, action, affected in (
        (IssueKind.INVALID_RING, Action.REPAIRED, invalid & good),
        (IssueKind.NO_AREA, Action.LEFT_OUT, ~good),
    ):
        report.add(kind, file, action, scene=Path(scene.path).stem, count=int(affected.sum()))
    names = _to_array([o.name for o in objects])
    difficult = np.array([o.difficult for o in objects], bool)
    return NamedAnnotations(geometry[good], names[good], difficult[good])


def _to_array(items: list[str] | list[shapely.Geometry]) -> NDArray[np.object_]:
    array = np.empty(len(items), object)
    array[:] = items
    return array
