"""Measure time and peak memory of `geoseg vectorize` with separated objects against connected regions.

    python -m benchmarks.objects.separate [--size 20000] [--method merged interior confidence]

The raster repeats a block of cars in rows that touch, fields of another class, and background; the interior has a
valley between cars, and noise. Every method runs in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from benchmarks.vectorize import measure_command
from geoseg.legend import Legend
from geoseg.raster.labels import legend_tags

BLOCK = 2048
LEGEND = Legend.of({"small-vehicle": "#d628ff", "harbor": "#c297ff"})
METHODS = ("merged", "interior", "confidence")


def make_block(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return labels and interior: cars of 9 x 20 pixels in rows on a fifth of the block."""
    coarse = rng.standard_normal((BLOCK // 128 + 1,) * 2, np.float32)
    field = cv2.resize(coarse, (BLOCK, BLOCK), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:BLOCK, :BLOCK]
    turned = (0.9 * x + 0.43 * y, 0.9 * y - 0.43 * x)
    across, along = turned[0] % 10, turned[1] % 24
    car = (along < 21) & (field > 0.5)
    ragged = cv2.GaussianBlur(rng.standard_normal((BLOCK, BLOCK), np.float32), (0, 0), 2) * 6
    labels = np.where(car, 1, np.where(field + 0.1 * ragged < -0.5, 2, 0)).astype(np.uint8)
    depth = np.minimum(np.minimum(across, 10 - across), np.minimum(along, 21 - along))
    interior = np.clip(60 * depth + 20 * ragged, 0, 200)
    return labels, np.where(car, interior, 0).astype(np.uint8)


def write_rasters(folder: Path, size: int) -> tuple[Path, Path]:
    """Write labels and interior of `size` rows and columns."""
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.3, 0, 5e5, 0, -0.3, 5e6)}
    block = make_block(np.random.default_rng(0))
    paths = folder / "labels.tif", folder / "interior.tif"
    for path, values in zip(paths, block, strict=True):
        with rasterio.open(path, "w", **profile, **tiles, **place) as raster:
            raster.update_tags(**legend_tags(LEGEND))
            for top in range(0, size, BLOCK):
                for left in range(0, size, BLOCK):
                    rows, columns = min(BLOCK, size - top), min(BLOCK, size - left)
                    window = Window(left, top, columns, rows)
                    raster.write(values[:rows, :columns], 1, window=window)
    return paths


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=20_000, help="rows and columns")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        labels, interior = write_rasters(Path(name), args.size)
        output = Path(name, "out.gpkg")
        for method in args.method:
            given = {
                "merged": ["--merged", "--confidence", str(interior)],
                "interior": ["--confidence", str(interior), "--interior", str(interior)],
                "confidence": ["--confidence", str(interior), "--split", "confidence"],
            }[method]
            command = [
                *(sys.executable, "-m", "geoseg", "vectorize", str(labels), "-o", str(output)),
                *(*given, "--progress", "none"),
            ]
            found = measure_command(command, output)
            sys.stdout.write(
                f"{method:11} {found['polygons']:10,.0f} polygons {found['all']:7.1f} s "
                f"{found['cpu']:7.1f} s of CPU, peak {found['peak']:6.0f} MB\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
