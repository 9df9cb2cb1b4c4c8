"""A dataset of two splits and both annotation layers, with every case of an object cut by a chip."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import shapely

from tests.calls import prepare
from tests.dota_folder import PLANE, SHIP, Thing, add

LONG = Thing((90, 100, 250, 130, 246, 150, 86, 120), "harbor")
OVER_THE_EDGE = Thing((-30, 60, 12.5, 60, 12.5, 120, -30, 120), "harbor")

RING = shapely.box(10, 10, 40, 40).difference(shapely.box(20, 20, 30, 31))
TWO = shapely.MultiPolygon([shapely.box(95, 100, 130, 125), shapely.box(150, 110, 240, 140)])


def dota(folder: Path) -> Path:
    """Write it as a DOTA folder."""
    add(folder / "train", "a", [SHIP, PLANE, LONG, OVER_THE_EDGE], width=300, height=220, gsd=0.5)
    add(folder / "train", "b", [SHIP], width=70, height=50)
    add(folder / "val", "c", [PLANE, LONG], width=260, height=180)
    return folder


def dataset(folder: Path) -> Path:
    """Prepare it, with outlines of scene ``a``."""
    rows = {
        "image": ["a", "a", "a"],
        "category": ["ship", "harbor", "plane"],
        "difficult": [0, 0, 1],
        "geometry": [RING, TWO, shapely.Polygon([(60, 8), (90, 30), (70, 55), (44, 30), (60, 25)])],
    }
    gpd.GeoDataFrame(rows, geometry="geometry").to_parquet(folder / "outlines.parquet")
    return prepare(dota(folder / "dota"), folder / "set", outlines=folder / "outlines.parquet")
