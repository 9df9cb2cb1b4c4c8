"""Write the synthetic scenes as a DOTA folder, and one scene to segment."""

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
from geoseg.synthetic.scenes import PIXEL_SIZE, SIDE, Label, SyntheticScene, plan_scenes

EPSG = 32631
"""UTM zone 31N."""

EAST, NORTH = 600_000.0, 5_680_000.0
"""Top left corner of the first scene in metres."""

GAP = 150.0
"""Metres between two scenes."""

OUTLINES = "outlines.parquet"

THREADS = 2
"""Scenes rendered at a time; each takes about 20 bytes per pixel."""


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
