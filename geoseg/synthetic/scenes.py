"""Scenes of the demo: themes and labels, written as a DOTA folder and one scene to segment."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS

from geoseg.annotations.burn import Annotations
from geoseg.annotations.dota import write_dota
from geoseg.legend import DOTA_V1
from geoseg.progress import Track, silent
from geoseg.synthetic.layout import Lot, Theme, compose
from geoseg.synthetic.render import Image, Sun, render
from geoseg.synthetic.shapes import Element, Points

PIXEL_SIZE = 0.3
"""GSD in metres."""

SIDE, LARGE_SIDE = 1536, 4096
"""Side in pixels of a labelled scene, and of the scene to segment."""

SUN_ELEVATION = (28.0, 48.0)
"""Range of the sun elevation in degrees."""

DROP_BELOW, DIFFICULT_BELOW = 0.3, 0.75
"""Visible share of an object below which it gets no label, or a label marked as difficult."""

AIRPORT = Theme(
    "airport",
    (
        (Lot("runway"),),
        (Lot("apron", 8),),
        (Lot("flying club", 20), Lot("heliport", 9)),
        (Lot("track"), Lot("parking")),
    ),
    fillers=("meadow", "crops", "crops", "parking", "sheds", "forest"),
)
HARBOUR = Theme(
    "harbour",
    (
        (Lot("tanks", 14), Lot("depot", 2)),
        (Lot("containers", 2), Lot("tanks", 12)),
        (Lot("coast", 14),),
    ),
    fillers=("sheds", "containers", "houses", "parking", "depot"),
)
RIVER_TOWN = Theme(
    "river",
    (
        (Lot("villas", 4), Lot("circus"), Lot("tennis", 3)),
        (Lot("track"), Lot("tanks", 12)),
        (Lot("river", 5),),
        (Lot("villas", 4), Lot("depot"), Lot("parking")),
    ),
    fillers=("houses", "houses", "houses", "glasshouses", "forest", "sheds", "parking"),
)
SUBURB = Theme(
    "suburb",
    (
        (Lot("track"), Lot("track")),
        (Lot("soccer"), Lot("baseball"), Lot("soccer"), Lot("baseball")),
        (Lot("villas", 4), Lot("tennis", 4), Lot("basketball", 3)),
        (Lot("depot"),),
    ),
    fillers=("houses", "houses", "forest", "parking", "meadow"),
)
REGION = Theme(
    "unseen",
    (
        (Lot("runway"),),
        (Lot("apron", 14), Lot("parking"), Lot("forest")),
        (Lot("flying club", 20), Lot("heliport", 12), Lot("track"), Lot("crops")),
        (Lot("soccer"), Lot("soccer"), Lot("baseball"), Lot("track"), Lot("forest")),
        (Lot("villas", 7), Lot("tennis", 5), Lot("basketball", 3), Lot("circus"), Lot("tennis", 2)),
        (Lot("river", 8),),
        (Lot("villas", 8), Lot("baseball"), Lot("depot", 3), Lot("circus")),
        (Lot("soccer"), Lot("parking", 2), Lot("forest"), Lot("tennis", 4), Lot("meadow")),
        (Lot("tanks", 24), Lot("containers", 2), Lot("depot", 2), Lot("tanks", 10)),
        (Lot("coast", 24),),
    ),
    fillers=("houses", "houses", "houses", "forest", "meadow", "crops", "parking", "sheds", "glasshouses"),
)  # fmt: skip
THEMES = (AIRPORT, HARBOUR, RIVER_TOWN, SUBURB)
ROUNDS = {"train": 2, "val": 1}
"""Scenes per theme in each split."""

EPSG = 32631
"""UTM zone 31N."""

EAST, NORTH = 600_000.0, 5_680_000.0
"""Top left corner of the first scene in metres."""

GAP = 150.0
"""Metres between two scenes."""

OUTLINES = "outlines.parquet"

THREADS = 2
"""Scenes rendered at a time; each takes about 20 bytes per pixel."""


@dataclass(frozen=True, slots=True)
class SyntheticScene:
    """Theme, size and seed of a scene."""

    name: str
    split: str | None
    """Split of the dataset; None: scene without labels."""

    theme: Theme
    size: int
    """Side in pixels."""

    seed: int
    number: int
    """Index of the scene in the demo."""

    def compose(self) -> ComposedScene:
        """Compose the elements of the scene."""
        rng = np.random.default_rng((self.seed, self.number))
        elements = compose(self.theme, self.size * PIXEL_SIZE, rng)
        sun = Sun(rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*SUN_ELEVATION)))
        return ComposedScene(tuple(elements), self.size, sun, rng)


@dataclass(frozen=True, slots=True)
class ComposedScene:
    """Elements and illumination of a scene before it is rendered."""

    elements: tuple[Element, ...]
    """Elements in metres from the top left corner."""

    size: int
    sun: Sun
    rng: np.random.Generator

    def image(self) -> Image:
        """Render (size, size, 3) uint8 RGB. Call it once: the noise advances `rng`."""
        return render(self.elements, self.size, pixel_size=PIXEL_SIZE, sun=self.sun, rng=self.rng)

    def labels(self) -> list[Label]:
        """Return the labels of the visible objects."""
        return list(label_elements(self.elements, self.size))


@dataclass(frozen=True, slots=True)
class Label:
    """Annotation in pixels of its scene."""

    quad: Points
    """(4, 2) corners, clockwise in the image."""

    outline: shapely.Geometry
    """Outline of the object inside the scene; Polygon or MultiPolygon."""

    category: str
    difficult: bool


def plan_scenes(seed: int) -> list[SyntheticScene]:
    """Plan all scenes of the demo; the scene to segment comes last."""
    wanted = [
        (split, turn, theme)
        for split, rounds in ROUNDS.items()
        for turn in range(1, rounds + 1)
        for theme in THEMES
    ]
    labelled = [
        SyntheticScene(f"{theme.name}_{split}_{turn}", split, theme, SIDE, seed, number)
        for number, (split, turn, theme) in enumerate(wanted)
    ]
    return [*labelled, SyntheticScene(REGION.name, None, REGION, LARGE_SIDE, seed, len(labelled))]


def label_elements(elements: tuple[Element, ...], size: int) -> Iterator[Label]:
    """Yield labels of the objects that are visible: inside the scene and not under a tree crown."""
    scene = shapely.box(0, 0, size, size)
    rims = [t.to_scene(t.shapes[0].corners) / PIXEL_SIZE for t in elements if t.covers]
    crowns = shapely.STRtree([shapely.Polygon(rim) for rim in rims])
    for element in elements:
        if element.category is None or element.quad is None:
            continue
        quad = element.to_scene(element.quad) / PIXEL_SIZE
        if quad.max(axis=0).min() <= 0 or quad.min(axis=0).max() >= size:
            continue
        outline = element.outline(PIXEL_SIZE)
        inside = outline.intersection(scene)
        share = clip_to_visible(inside, crowns).area / outline.area
        if share >= DROP_BELOW:
            yield Label(quad, inside, element.category, bool(share < DIFFICULT_BELOW))


def clip_to_visible(outline: shapely.Geometry, crowns: shapely.STRtree) -> shapely.Geometry:
    """Return the part of an outline that no crown covers."""
    over = crowns.query(outline, predicate="intersects")
    return outline.difference(shapely.union_all(crowns.geometries[over])) if len(over) else outline


def write_scenes(folder: Path, unseen: Path, *, seed: int = 0, track: Track = silent) -> Path:
    """Draw the scenes of the demo; the same seed writes the same bytes.

    Parameters
    ----------
    folder
        DOTA folder with train/ and val/, each with images/*.tif and labelTxt/*.txt, and with `OUTLINES`, the
        outlines of all objects in pixels of their scenes.
    unseen
        GeoTIFF of the scene without labels.
    seed
        Seed of the scenes.
    track
        Progress of the scenes.

    Returns
    -------
    Path
        `folder`.
    """
    plans = plan_scenes(seed)
    for split in {plan.split for plan in plans if plan.split}:
        for kind in ("images", "labelTxt"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
    labels_by_scene: dict[str, list[Label]] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        rendered = pool.map(lambda plan: write_scene(plan, folder, unseen), plans)
        pairs = zip(plans, rendered, strict=True)
        for plan, labels in track(pairs, "draw", total=len(plans)):
            if plan.split:
                labels_by_scene[plan.name] = labels
    write_outlines(folder / OUTLINES, labels_by_scene)
    return folder


def write_scene(plan: SyntheticScene, folder: Path, unseen: Path) -> list[Label]:
    """Write a scene, and its labels if it has a split."""
    scene = plan.compose()
    labels = scene.labels()
    if plan.split:
        home = folder / plan.split
        write_image(home / "images" / f"{plan.name}.tif", scene.image(), scene_origin(plan.number))
        write_labels(home / "labelTxt" / f"{plan.name}.txt", labels)
    else:
        write_image(unseen, scene.image(), scene_origin(plan.number))
    return labels


def scene_origin(number: int) -> tuple[float, float]:
    """Return easting and northing of the top left corner of a scene; scenes lie in rows of four."""
    pitch = SIDE * PIXEL_SIZE + GAP
    return EAST + number % 4 * pitch, NORTH - number // 4 * pitch


def write_image(path: Path, image: Image, origin: tuple[float, float]) -> None:
    """Write a tiled, compressed GeoTIFF."""
    height, width, bands = image.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=bands,
        dtype="uint8",
        crs=CRS.from_epsg(EPSG),
        transform=Affine(PIXEL_SIZE, 0, origin[0], 0, -PIXEL_SIZE, origin[1]),
        photometric="RGB",
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        zlevel=1,
    ) as file:
        file.write(image.transpose(2, 0, 1))


def write_labels(path: Path, labels: list[Label]) -> None:
    """Write DOTA text, rounded to a tenth of a pixel."""
    quads = Annotations(
        np.array([shapely.Polygon(label.quad.round(1)) for label in labels], object),
        np.array([DOTA_V1.id_of(label.category) for label in labels], np.uint8),
        np.array([label.difficult for label in labels], np.bool_),
    )
    write_dota(path, quads, DOTA_V1, gsd=PIXEL_SIZE, image_source="geoseg demo", overwrite=True)


def write_outlines(path: Path, labels_by_scene: dict[str, list[Label]]) -> None:
    """Write outlines as GeoParquet in pixel coordinates, with image, category and difficult."""
    rows = [(name, label) for name, labels in labels_by_scene.items() for label in labels]
    table = gpd.GeoDataFrame(
        {
            "image": [name for name, _ in rows],
            "category": [label.category for _, label in rows],
            "difficult": [label.difficult for _, label in rows],
        },
        geometry=[label.outline for _, label in rows],
    )
    table.to_parquet(path)
