"""What does `geoseg prepare` cost with very many objects? Draws scenes that hold them and measures.

    python benchmarks/prepare.py [--objects 100000] [--scenes 16] [--side 3000] [--folder FOLDER]

Each run is a process of its own: a DOTA folder, the same again with nothing changed, with one label file changed,
and the same objects as one GeoPackage over the scenes. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, burn, transform_geometry
from geoseg.annotations.dota import write_dota
from geoseg.legend import DOTA_V1

_CRS = "EPSG:32633"
_METRES = 0.3
_STRIP = 512


def objects(count: int, side: int, seed: int) -> Annotations:
    """Rectangles of 6 to 40 pixels at any angle, all over a scene and a little beyond."""
    rng = np.random.default_rng(seed)
    half = rng.uniform(3, 20, (count, 2))
    angle = rng.uniform(0, np.pi, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:, None]
    ring = np.einsum("nij,nkj->nki", turn.reshape(-1, 2, 2), corners)
    geometry = shapely.polygons(ring + rng.uniform(0, side, (count, 1, 2)))
    ids = rng.integers(1, len(DOTA_V1), count).astype(np.uint8)
    return Annotations(geometry, ids, np.zeros(count, bool))


def draw(folder: Path, truth: Annotations, name: str, place: Affine, side: int) -> Path:
    """A scene in which every object has the colour of its class on noise, and its DOTA labels."""
    rng = np.random.default_rng(side)
    colours = np.array([DOTA_V1.rgb(c.id) for c in DOTA_V1], np.uint8)
    labels = burn(truth, side, side)
    path = folder / "images" / f"{name}.tif"
    profile = {"count": 3, "dtype": "uint8", "width": side, "height": side}
    with rasterio.open(path, "w", driver="GTiff", crs=_CRS, transform=place, **profile) as scene:
        for top in range(0, side, _STRIP):
            strip = np.moveaxis(colours[labels[top : top + _STRIP]], -1, 0) // 2
            strip += rng.integers(0, 40, strip.shape, np.uint8)
            window = rasterio.windows.Window(0, top, side, strip.shape[1])
            scene.write(strip, window=window)
    write_dota(folder / "labelTxt" / f"{name}.txt", truth, DOTA_V1)
    return path


def draw_all(folder: Path, count: int, scenes: int, side: int) -> tuple[Path, list[Path], Path]:
    """The DOTA folder, its images, and all objects as a GeoPackage."""
    dota = folder / "dota"
    for part in ("images", "labelTxt"):
        (dota / part).mkdir(parents=True)
    images: list[Path] = []
    shapes: list[NDArray[np.object_]] = []
    names: list[NDArray[np.object_]] = []
    for number in range(scenes):
        left = 400_000 + number * (side + 100) * _METRES
        place = Affine(_METRES, 0, left, 0, -_METRES, 5_500_000)
        truth = objects(count // scenes, side, number)
        images.append(draw(dota, truth, f"P{number:04d}", place, side))
        shapes.append(transform_geometry(truth.geometry, place))
        names.append(np.array(DOTA_V1.names, object)[truth.class_id])
    table = gpd.GeoDataFrame(
        {"class": np.concatenate(names)}, geometry=np.concatenate(shapes), crs=_CRS
    )
    table.to_file(folder / "objects.gpkg", engine="pyogrio")
    return dota, images, folder / "objects.gpkg"


def measured(arguments: Sequence[object]) -> str:
    """Wall seconds, CPU seconds and peak resident MB of `geoseg prepare`, as cells of a table."""
    command = [sys.executable, "-m", "geoseg", "prepare", *map(str, arguments)]
    begun = time.perf_counter()
    child = os.posix_spawn(command[0], [*command, "--progress", "none"], os.environ)
    _, status, used = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(command)} failed")
    wall = time.perf_counter() - begun
    return f"{wall:.1f} | {used.ru_utime + used.ru_stime:.1f} | {used.ru_maxrss / 1024:.0f}"


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--side", type=int, default=3000)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory(dir=asked.folder) as scratch:
        folder = Path(scratch)
        dota, images, vector = draw_all(folder, asked.objects, asked.scenes, asked.side)
        again = [dota, "-o", folder / "out", "--overwrite"]
        rows = {"DOTA folder": measured([dota, "-o", folder / "out"])}
        rows["again, nothing changed"] = measured(again)
        label = dota / "labelTxt" / "P0000.txt"
        label.write_text(label.read_text().rpartition("\n1")[0] + "\n")
        rows["again, one label file changed"] = measured(again)
        drawn = [*images, "--annotations", vector, "-o", folder / "drawn"]
        rows["GeoPackage over scenes"] = measured(drawn)
    scene = f"{asked.scenes} x {asked.side} x {asked.side}"
    print("| run | objects | scenes | wall s | CPU s | peak MB |")
    print("|---|---|---|---|---|---|")
    for name, cells in rows.items():
        print(f"| {name} | {asked.objects:,} | {scene} | {cells} |")


if __name__ == "__main__":
    main()
