"""Write the drawn scenes as a DOTA folder and one scene to segment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
from geoseg.synthetic.render import Image
from geoseg.synthetic.scenes import PIXEL_SIZE, SIDE, Label, Plan, plans

EPSG = 32631
"""UTM zone 31 north."""

EAST, NORTH = 600_000.0, 5_680_000.0
"""Top left corner of the first scene."""

GAP = 150.0
"""Metres between two scenes."""

OUTLINES = "outlines.parquet"

DRAWERS = 2
"""Scenes in work at a time; each holds about twenty bytes a pixel, and the rest of the time is Python's."""


def draw(folder: Path, unseen: Path, *, seed: int = 0, track: Track = silent) -> Path:
    """Draw the demo's scenes into the DOTA folder `folder`, and the one without labels to `unseen`.

    `folder` gets train/ and val/ with images/*.tif and labelTxt/*.txt, and OUTLINES: the true outline of
    every object in pixels of its scene. The same seed gives the same bytes. Returns `folder`.
    """
    everything = plans(seed)
    for split in {plan.split for plan in everything if plan.split}:
        for kind in ("images", "labelTxt"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
    truths: dict[str, list[Label]] = {}
    with ThreadPoolExecutor(DRAWERS) as pool:
        drawn = pool.map(lambda plan: draw_scene(plan, folder, unseen), everything)
        pairs = zip(everything, drawn, strict=True)
        for plan, labels in track(pairs, "draw", total=len(everything)):
            if plan.split:
                truths[plan.name] = labels
    write_outlines(folder / OUTLINES, truths)
    return folder


def draw_scene(plan: Plan, folder: Path, unseen: Path) -> list[Label]:
    """Write one scene, and its labels where it has a split."""
    scene = plan.compose()
    labels = scene.labels()
    if plan.split:
        home = folder / plan.split
        write_image(home / "images" / f"{plan.name}.tif", scene.image(), corner(plan.number))
        write_labels(home / "labelTxt" / f"{plan.name}.txt", labels)
    else:
        write_image(unseen, scene.image(), corner(plan.number))
    return labels


def corner(number: int) -> tuple[float, float]:
    """Easting and northing of a scene's top left corner: the scenes lie side by side in rows of four."""
    pitch = SIDE * PIXEL_SIZE + GAP
    return EAST + number % 4 * pitch, NORTH - number // 4 * pitch


def write_image(path: Path, image: Image, corner: tuple[float, float]) -> None:
    """A tiled, compressed GeoTIFF."""
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
        transform=Affine(PIXEL_SIZE, 0, corner[0], 0, -PIXEL_SIZE, corner[1]),
        photometric="RGB",
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        zlevel=1,
    ) as file:
        file.write(image.transpose(2, 0, 1))


def write_labels(path: Path, labels: list[Label]) -> None:
    """DOTA text, to a tenth of a pixel."""
    quads = Annotations(
        np.array([shapely.Polygon(label.quad.round(1)) for label in labels], object),
        np.array([DOTA_V1.id_of(label.category) for label in labels], np.uint8),
        np.array([label.difficult for label in labels], np.bool_),
    )
    write_dota(path, quads, DOTA_V1, gsd=PIXEL_SIZE, image_source="geoseg demo", overwrite=True)


def write_outlines(path: Path, truths: dict[str, list[Label]]) -> None:
    """GeoParquet in pixel coordinates: image, category, difficult, geometry."""
    rows = [(name, label) for name, labels in truths.items() for label in labels]
    table = gpd.GeoDataFrame(
        {
            "image": [name for name, _ in rows],
            "category": [label.category for _, label in rows],
            "difficult": [label.difficult for _, label in rows],
        },
        geometry=[label.outline for _, label in rows],
    )
    table.to_parquet(path)
