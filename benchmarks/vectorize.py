"""Labels → polygons: rasterio.features.shapes and shapely against geoseg's tracer.

    python benchmarks/vectorize.py --size 10000

Each method reads the same raster, drawn here, in a process of its own. Seconds are those of the
work without imports ("work"), of the whole process ("all") and of its processor time ("cpu", which
a busy machine disturbs least); memory is the process's peak.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 500


def block(rng: np.random.Generator, noise: float) -> NDArray[np.uint8]:
    """Objects of 15 classes on background, about as ragged as a network's output."""
    import cv2

    def smooth(cell: int) -> NDArray[Any]:
        coarse = rng.standard_normal((BLOCK // cell + 4,) * 2, np.float32)
        fine = cv2.resize(coarse, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        return fine[cell : cell + BLOCK, cell : cell + BLOCK]

    field = smooth(50) + 0.5 * smooth(25) + noise * smooth(2)
    classes = 1 + np.digitize(smooth(50), np.linspace(-1.5, 1.5, 14))
    return np.where(field > 0.1, classes, 0).astype(np.uint8)


def draw(path: Path, size: int, noise: float) -> None:
    """Write a size x size raster, block by block."""
    import rasterio
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
    with rasterio.open(path, "w", **profile, **tiles, **place) as labels:
        for y in range(0, size, BLOCK):
            for x in range(0, size, BLOCK):
                width, height = min(BLOCK, size - x), min(BLOCK, size - y)
                values = block(rng, noise)[:height, :width]
                labels.write(values, 1, window=Window(x, y, width, height))


def with_rasterio(path: Path) -> Callable[[], int]:
    import rasterio.features
    import shapely.geometry

    def run() -> int:
        with rasterio.open(path) as labels:
            values = labels.read(1)
            shapes = rasterio.features.shapes(
                values, mask=values != 0, connectivity=4, transform=labels.transform
            )
            polygons = [(shapely.geometry.shape(geometry), value) for geometry, value in shapes]
        return len(polygons)

    return run


def with_geoseg(path: Path) -> Callable[[], int]:
    import rasterio
    from rasterio.windows import Window

    from geoseg.polygons.trace import trace

    def run() -> int:
        # GDAL would keep the whole raster in its block cache
        with rasterio.Env(GDAL_CACHEMAX=64 << 20), rasterio.open(path) as labels:
            windows = (Window(0, y, labels.width, 512) for y in range(0, labels.height, 512))
            strips = ((labels.read(1, window=window), None) for window in windows)
            return sum(len(batch.wkb(labels.transform)) for batch in trace(strips))

    return run


METHODS = {"rasterio + shapely": with_rasterio, "geoseg": with_geoseg}


def measure(method: str, path: Path) -> dict[str, Any]:
    """Run one method in this process."""
    run = METHODS[method](path)
    start = time.perf_counter()
    polygons = run()
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "polygons": polygons,
        "work": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss / 1024,
    }


def measured(method: str, path: Path) -> dict[str, Any]:
    """Run one method in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--method", method, "--labels", str(path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return {**json.loads(answer.stdout), "all": time.perf_counter() - start}


def compare(path: Path, repeat: int) -> dict[str, dict[str, float]]:
    """Medians of each method; they take turns, as a machine has its moods."""
    measured("geoseg", path)  # fills the JIT cache
    rounds = [{method: measured(method, path) for method in METHODS} for _ in range(repeat)]
    return {
        method: {key: statistics.median(turn[method][key] for turn in rounds) for key in first}
        for method, first in rounds[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4000, help="rows and columns")
    parser.add_argument(
        "--noise",
        type=float,
        default=0.05,
        help="raggedness of the outlines (0.2: three times the polygons)",
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--labels", type=Path, help="a labels raster instead of a drawn one")
    options = parser.parse_args()
    if options.method:
        sys.stdout.write(json.dumps(measure(options.method, options.labels)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.labels or Path(folder) / "labels.tif"
        if not options.labels:
            draw(path, options.size, options.noise)
        results = compare(path, options.repeat)
    reference = next(iter(results.values()))
    columns = ("work", "all", "cpu")
    sys.stdout.write(
        "method              polygons   work s  ratio    all s  ratio    cpu s  ratio     MB\n"
    )
    for method, result in results.items():
        times = "".join(f"{result[key]:9.2f}{reference[key] / result[key]:7.1f}" for key in columns)
        sys.stdout.write(f"{method:18}{result['polygons']:10.0f}{times}{result['peak']:7.0f}\n")


if __name__ == "__main__":
    main()
