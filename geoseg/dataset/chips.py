"""Chips: windows of the scenes of a dataset, and the objects and labels in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn, transform_geometry
from geoseg.dataset.folder import DIGITS, DatasetScene
from geoseg.legend import IGNORE
from geoseg.options import ChipOptions

_SLIVER = 0.01  # square pixels: smaller parts of a cut object are discarded


def cut_windows(options: ChipOptions, width: int, height: int) -> list[Window]:
    """Return windows that cover a scene of `width` x `height` pixels, row by row.

    They have the full size, also where they extend beyond the right and lower edges of the scene: with ``pad``, and
    with ``shift`` those of a smaller scene. With ``crop`` they end at the edge.
    """
    if options.size is None:
        return [Window(0, 0, width, height)]
    return [
        Window(left, top, across, down)
        for top, down in _cut_spans(options, height, options.size)
        for left, across in _cut_spans(options, width, options.size)
    ]


def _cut_spans(options: ChipOptions, length: int, size: int) -> list[tuple[int, int]]:
    """Return start and length of every window along one side."""
    step = size - options.minimum_overlap
    starts = [step * n for n in range(ceil(max(0, length - size) / step) + 1)]
    if options.edge == "shift" and length > size:
        starts[-1] = length - size
    return [(s, min(size, length - s) if options.edge == "crop" else size) for s in starts]


def format_chip_name(options: ChipOptions, scene: str, window: Window) -> str:
    """Return ``SCENE__SIZE__COLUMN___ROW``, as mmrotate does, or for a whole scene its name."""
    if options.size is None:
        return scene
    return f"{scene}__{options.size}__{window.col_off}___{window.row_off}"


def clip_window(window: Window, width: int, height: int) -> Window:
    """Return the part of a window that lies in a scene of `width` x `height` pixels."""
    left, top = window.col_off, window.row_off
    return Window(left, top, min(window.width, width - left), min(window.height, height - top))


@dataclass(frozen=True, slots=True)
class ChipObjects:
    """Objects of a chip, in its pixels."""

    whole: Annotations
    """As annotated, also beyond the edge of the chip."""

    visible: NDArray[np.object_]
    """(n,) visible part of each object: polygons and multipolygons."""

    hidden: int
    """Number of objects left out because too little of them is visible."""

    unknown: int
    """Number of ignored areas, which are not objects."""

    def __len__(self) -> int:
        return len(self.whole)


def select_objects(index: AnnotationIndex, window: Window, options: ChipOptions) -> ChipObjects:
    """Select the objects of a scene that are visible in a window of it.

    Objects inside the window keep their coordinates, rounded to 1e-6 of a pixel.
    """
    objects = index.query_window(window)
    if options.difficult == "drop":
        objects = objects[~objects.difficult]
    visible = _clip_geometry(objects.geometry, window)
    area = shapely.area(visible)
    some = area > 0
    objects, visible, area = objects[some], visible[some], area[some]
    known = objects.class_id != IGNORE
    unknown = int((~known).sum())
    objects, visible, area = objects[known], visible[known], area[known]
    hardly = _is_hardly_visible(objects, area, options)
    hidden = 0
    if options.hardly_visible == "difficult":
        objects = replace(objects, difficult=objects.difficult | hardly)
    else:
        hidden = int(hardly.sum())
        objects, visible = objects[~hardly], visible[~hardly]
    to_chip = Affine.translation(-window.col_off, -window.row_off)
    whole, visible = (
        _round_coordinates(transform_geometry(g, to_chip)) for g in (objects.geometry, visible)
    )
    annotations = Annotations(whole, objects.class_id, objects.difficult)
    return ChipObjects(annotations, visible, hidden, unknown)


def burn_chip(
    index: AnnotationIndex, window: Window, valid: NDArray[np.bool_], options: ChipOptions
) -> NDArray[np.uint8]:
    """Burn the labels of a window, equal to those of the whole scene there.

    Returns
    -------
    (h, w) array of uint8
        Class IDs; IGNORE where `valid` is False, at difficult objects if the options ignore them, and at objects of
        which too little is visible: background would be wrong there.
    """
    objects = index.query_window(window)
    if options.difficult == "drop":
        objects = objects[~objects.difficult]
    ignored = objects.difficult & (options.difficult == "ignore")
    if options.min_visible:
        area = shapely.area(_clip_geometry(objects.geometry, window))
        ignored |= _is_hardly_visible(objects, area, options)
    labels = burn(
        replace(objects, difficult=ignored),
        *valid.shape,
        transform=Affine.translation(-window.col_off, -window.row_off),
        difficult="ignore",
    )
    labels[~valid] = IGNORE
    return labels


def _is_hardly_visible(
    objects: Annotations, area: NDArray[np.float64], options: ChipOptions
) -> NDArray[np.bool_]:
    """Return (n,) True where `area`, the visible one, is too small a share of the object."""
    hardly: NDArray[np.bool_] = area < options.min_visible * shapely.area(objects.geometry)
    return hardly


def to_box(window: Window) -> shapely.Polygon:
    """Convert a window to a polygon."""
    left, top = window.col_off, window.row_off
    return shapely.box(left, top, left + window.width, top + window.height)


def _clip_geometry(geometry: NDArray[np.object_], window: Window) -> NDArray[np.object_]:
    box = to_box(window)
    shapely.prepare(box)
    clipped = geometry.copy()
    cut = ~shapely.covers(box, geometry)
    parts = shapely.intersection(_make_valid(geometry[cut]), box)
    clipped[cut] = [_keep_polygons(part) for part in parts]
    return clipped


def _make_valid(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(geometry[invalid], method="structure")
    return geometry


def _keep_polygons(geometry: shapely.Geometry) -> shapely.Geometry:
    """Remove the lines, points and slivers that clipping leaves where only a side touches."""
    parts = shapely.get_parts(geometry).tolist()
    parts = [p for p in parts if p.geom_type == "Polygon" and p.area > _SLIVER]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _round_coordinates(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    rounded: NDArray[np.object_] = shapely.transform(geometry, lambda xy: xy.round(DIGITS))
    return rounded


@dataclass(frozen=True, slots=True)
class Chip:
    """Image of a window, its objects and labels."""

    name: str
    """Name of its files, without suffix."""

    scene: DatasetScene

    crs: str | None
    """WKT."""

    window: Window
    """In pixels of the scene; it may extend beyond the right and lower edges."""

    pixels: NDArray[Any]
    """(bands, h, w); 0 where not valid."""

    valid: NDArray[np.bool_]
    """(h, w) True where the scene has data."""

    objects: ChipObjects

    burn_labels: Callable[[], NDArray[np.uint8]]
    """Returns the (h, w) class IDs, IGNORE where not valid; only label formats call it."""

    notes: Counter[str]
    """What a format cannot represent, with the number of objects; formats add to it."""

    band_names: tuple[str, ...] = ()
    """Names of the bands of `pixels`; empty if unknown."""

    @property
    def transform(self) -> Affine:
        """Transform from pixels of the chip to map coordinates."""
        shift = Affine.translation(self.window.col_off, self.window.row_off)
        return Affine(*self.scene.transform) @ shift
