"""Draw merged regions beside objects, over annotated outlines and without imagery.

    python -m benchmarks.objects.drawings DATASET MERGED OBJECTS PNG

MERGED and OBJECTS are vector files of `geoseg segment` with all scenes (columns ``scene`` and ``class``), or folders of
`geoseg evaluate --keep`; these are vectorized with ``--merged`` and by the interior of objects. The windows are
chosen by their annotations.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas
import numpy as np
import shapely
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

import geoseg
from geoseg.annotations.burn import Annotations, transform_geometry
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.legend import Legend
from geoseg.options import PolygonOptions

THEMES: Mapping[str, tuple[tuple[str, ...], int]] = {
    "cars": (("small-vehicle",), 200),
    "lorries": (("large-vehicle",), 260),
    "marina": (("ship", "harbor"), 260),
    "airport": (("plane",), 400),
    "tanks": (("storage-tank",), 300),
    "courts": (("tennis-court", "basketball-court"), 400),
    "bridge": (("bridge", "small-vehicle"), 400),
    "pools": (("swimming-pool",), 300),
}
"""Classes that a window contains, and its side in pixels."""

MOST = 60
"""Objects of the first class in a window beyond which more are not better."""

ANNOTATED = "#b5b5b5"

Geometry = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class View:
    """A window of a scene."""

    scene: DatasetScene
    box: shapely.Polygon
    """Window in pixels of the scene."""


def count_inside(annotations: Annotations, legend: Legend, name: str, box: shapely.Polygon) -> int:
    """Count the annotations of a class whose centroids are in a box."""
    mine = annotations.geometry[annotations.class_id == legend.names.index(name)]
    return int(shapely.contains(box, shapely.centroid(mine)).sum())


def choose_views(dataset: Dataset, annotations: Mapping[str, Annotations]) -> dict[str, View]:
    """Choose the window of each theme with the most objects, in scenes that no other theme has."""
    legend = dataset.legend
    views: dict[str, View] = {}
    for theme, (names, side) in THEMES.items():
        if not set(names) <= set(legend.names):
            continue
        used = {view.scene.name for view in views.values()}
        best: tuple[int, View] | None = None
        for scene in dataset.split("val"):
            if scene.name in used or min(scene.width, scene.height) < side:
                continue
            of_scene = annotations[scene.name]
            mine = of_scene.geometry[of_scene.class_id == legend.names.index(names[0])]
            for x, y in shapely.get_coordinates(shapely.centroid(mine[:: max(1, len(mine) // 20)])):
                left = int(np.clip(x - side / 2, 0, scene.width - side))
                top = int(np.clip(y - side / 2, 0, scene.height - side))
                box = shapely.box(left, top, left + side, top + side)
                counts = [count_inside(of_scene, legend, name, box) for name in names]
                if min(counts) and (best is None or min(counts[0], MOST) > best[0]):
                    best = min(counts[0], MOST), View(scene, box)
        if best is not None:
            views[theme] = best[1]
    return views


def read_polygons(
    source: Path, scene: DatasetScene, split: Literal["none", "interior"]
) -> tuple[Geometry, list[str]]:
    """Return the polygons of a scene in pixels, and the names of their classes."""
    if source.is_dir():
        interior = source / f"{scene.name}.interior.tif"
        table = geoseg.vectorize(
            source / f"{scene.name}.tif",
            interior=interior if split == "interior" else None,
            polygons=PolygonOptions(split=split, simplify=1),
        )
    else:
        table = geopandas.read_file(source)
        table = table[table["scene"].map(lambda name: Path(name).stem) == scene.name]
    to_pixels = ~Affine(*scene.transform)
    geometry = transform_geometry(table.geometry.to_numpy(), to_pixels)
    return geometry, table["class"].tolist()


def draw(axes: Axes, geometry: Geometry, box: shapely.Polygon, **style: Any) -> None:
    """Draw the polygons that meet a box."""
    paths = [
        Outline.make_compound_path(
            *(Outline(ring.coords, closed=True) for ring in (part.exterior, *part.interiors))
        )
        for part in shapely.get_parts(geometry[shapely.intersects(geometry, box)])
        if isinstance(part, shapely.Polygon)
    ]
    axes.add_collection(PathCollection(paths, **style))


def draw_panel(
    axes: Axes,
    view: View,
    annotations: Annotations,
    polygons: tuple[Geometry, list[str]],
    legend: Legend,
) -> set[str]:
    """Draw annotations and polygons of a window; return the classes in it."""
    draw(axes, annotations.geometry, view.box, facecolor=ANNOTATED, edgecolor="none")
    geometry, names = polygons
    inside = shapely.intersects(geometry, view.box)
    of_class = np.array(names, object)
    for c in legend.objects:
        mine = geometry[inside & (of_class == c.name)]
        draw(axes, mine, view.box, facecolor=f"{c.colour}40", edgecolor=c.colour, linewidth=0.9)
    left, top, right, bottom = view.box.bounds
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    return set(of_class[inside])


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("merged", type=Path)
    parser.add_argument("objects", type=Path)
    parser.add_argument("png", type=Path)
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    annotations = dataset.annotations(scenes=dataset.split("val"))
    views = choose_views(dataset, annotations)
    if not views:
        parser.error(f"{args.dataset}: has no window with the classes of a theme")
    columns = 4
    rows = -(-len(views) * 2 // columns)
    figure = Figure(figsize=(11, 2.75 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    names: set[str] = set()
    for n, (theme, view) in enumerate(views.items()):
        print(f"{theme:10} {view.scene.name} {view.box.bounds}")
        of_scene = annotations[view.scene.name]
        sources: tuple[tuple[Path, Literal["none", "interior"], str], ...] = (
            (args.merged, "none", "merged regions"),
            (args.objects, "interior", "objects"),
        )
        for k, (source, split, title) in enumerate(sources):
            axes = panels[2 * n + k]
            polygons = read_polygons(source, view.scene, split)
            names |= draw_panel(axes, view, of_scene, polygons, dataset.legend)
            axes.set_title(f"{theme}: {title}", fontsize=9)
    for axes in panels[2 * len(views) :]:
        axes.set_axis_off()
    handles = [Patch(facecolor=ANNOTATED, label="annotated")]
    handles += [
        Patch(facecolor=f"{c.colour}40", edgecolor=c.colour, label=c.name)
        for c in dataset.legend.objects
        if c.name in names
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, frameon=False, fontsize=8)
    figure.savefig(args.png, dpi=100)


if __name__ == "__main__":
    main()
