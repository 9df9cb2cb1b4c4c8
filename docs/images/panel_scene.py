"""Draw the scene of panel.py with geoseg's own Python: `python panel_scene.py FOLDER`.

FOLDER gets scene.tif, and truth.gpkg with the outlines and names of its objects.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas as gpd
import rasterio
import shapely
from affine import Affine

from geoseg.synthetic.layout import Lot, Theme
from geoseg.synthetic.scenes import EAST, EPSG, NORTH, PIXEL_SIZE, SyntheticScene

THEME = Theme(
    "suburb",
    (
        (Lot("villas", 6), Lot("tennis", 4)),
        (Lot("tennis", 3), Lot("villas", 6)),
        (Lot("villas", 6), Lot("tennis", 4), Lot("basketball", 2)),
    ),
    fillers=("villas", "houses", "parking", "forest"),
)
NAMES = {"tennis-court": "court", "basketball-court": "court", "swimming-pool": "pool"}
"""Category of the synthetic scene to the class that the user draws."""

SIZE, SEED = 1280, 3


def main(folder: Path) -> None:
    """Draw the scene, and write both files."""
    scene = SyntheticScene("scene", None, THEME, SIZE, SEED, 0).compose()
    labels = [label for label in scene.labels() if label.category in NAMES]
    image = scene.image()
    grid = Affine(PIXEL_SIZE, 0, EAST, 0, -PIXEL_SIZE, NORTH)
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        folder / "scene.tif", "w", **profile, crs=f"EPSG:{EPSG}", transform=grid, tiled=True
    ) as dataset:
        dataset.write(image.transpose(2, 0, 1))
    shapes = [
        shapely.transform(label.outline, lambda xy: xy * (grid.a, grid.e) + (grid.c, grid.f))
        for label in labels
    ]
    classes = [NAMES[label.category] for label in labels]
    table = gpd.GeoDataFrame({"class": classes}, geometry=shapes, crs=f"EPSG:{EPSG}")
    table.to_file(folder / "truth.gpkg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
