"""Measure time and memory of `geoseg prepare` with many objects.

    python benchmarks/prepare.py [--objects 100000] [--scenes 16] [--side 3000] [--folder FOLDER]

Each run is a process of its own: a DOTA folder, the same again without changes, with one label file changed, and the
same objects as a GeoPackage. Prints a Markdown table.
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


def make_objects(count: int, side: int, seed: int) -> Annotations:
    """Create random rectangles of 6 to 40 pixels across a scene and slightly beyond."""
    rng = np.random.default_rng(seed)
    half = rng.uniform(3, 20, (count, 2))
    angle = rng.uniform(0, np.pi, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:, None]
    ring = np.einsum("nij,nkj->nki", turn.reshape(-1, 2, 2), corners)
    geometry = shapely.polygons(ring + rng.uniform(0, side, (count, 1, 2)))
    ids = rng.integers(1, len(DOTA_V1), count).astype(np.uint8)
    return Annotations(geometry, ids, np.zeros(count, bool))


def write_scene(folder: Path, objects: Annotations, name: str, place: Affine, side: int) -> Path:
    """Write a scene with objects in the colours of their classes on noise, and DOTA labels."""
    rng = np.random.default_rng(side)
    colours = np.array([DOTA_V1.rgb(c.id) for c in DOTA_V1], np.uint8)
    labels = burn(objects, side, side)
    path = folder / "images" / f"{name}.tif"
    profile = {"count": 3, "dtype": "uint8", "width": side, "height": side}
    with rasterio.open(path, "w", driver="GTiff", crs=_CRS, transform=place, **profile) as scene:
        for top in range(0, side, _STRIP):
            strip = np.moveaxis(colours[labels[top : top + _STRIP]], -1, 0) // 2
            strip += rng.integers(0, 40, strip.shape, np.uint8)
            window = rasterio.windows.Window(0, top, side, strip.shape[1])
            scene.write(strip, window=window)
    write_dota(folder / "labelTxt" / f"{name}.txt", objects, DOTA_V1)
    return path


def write_inputs(folder: Path, count: int, scenes: int, side: int) -> tuple[Path, list[Path], Path]:
    """Write the DOTA folder and the GeoPackage; return folder, images and GeoPackage."""
    dota = folder / "dota"
    for part in ("images", "labelTxt"):
        (dota / part).mkdir(parents=True)
    images: list[Path] = []
    shapes: list[NDArray[np.object_]] = []
    names: list[NDArray[np.object_]] = []
    for number in range(scenes):
        left = 400_000 + number * (side + 100) * _METRES
        place = Affine(_METRES, 0, left, 0, -_METRES, 5_500_000)
        objects = make_objects(count // scenes, side, number)
        images.append(write_scene(dota, objects, f"P{number:04d}", place, side))
        shapes.append(transform_geometry(objects.geometry, place))
        names.append(np.array(DOTA_V1.names, object)[objects.class_id])
    table = gpd.GeoDataFrame(
        {"class": np.concatenate(names)}, geometry=np.concatenate(shapes), crs=_CRS
    )
    table.to_file(folder / "objects.gpkg", engine="pyogrio")
    return dota, images, folder / "objects.gpkg"


def measure_prepare(arguments: Sequence[object]) -> str:
    """Run `geoseg prepare`; return wall seconds, CPU seconds and peak resident MB as table cells."""
    command = [sys.executable, "-m", "geoseg", "prepare", *map(str, arguments)]
    began = time.perf_counter()
    child = os.posix_spawn(command[0], [*command, "--progress", "none"], os.environ)
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(command)} failed")
    wall = time.perf_counter() - began
    return f"{wall:.1f} | {usage.ru_utime + usage.ru_stime:.1f} | {usage.ru_maxrss / 1024:.0f}"


def main() -> None:
    """Write the inputs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--side", type=int, default=3000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        dota, images, vector = write_inputs(folder, options.objects, options.scenes, options.side)
        again = [dota, "-o", folder / "out", "--overwrite"]
        rows = {"DOTA folder": measure_prepare([dota, "-o", folder / "out"])}
        rows["again, unchanged"] = measure_prepare(again)
        label = dota / "labelTxt" / "P0000.txt"
        label.write_text(label.read_text().rpartition("\n1")[0] + "\n")
        rows["again, one label file changed"] = measure_prepare(again)
        vector_input = [*images, "--annotations", vector, "-o", folder / "vector"]
        rows["GeoPackage over scenes"] = measure_prepare(vector_input)
    scene = f"{options.scenes} x {options.side} x {options.side}"
    print("| run | objects | scenes | wall s | CPU s | peak MB |")
    print("|---|---|---|---|---|---|")
    for name, cells in rows.items():
        print(f"| {name} | {options.objects:,} | {scene} | {cells} |")


if __name__ == "__main__":
    main()
