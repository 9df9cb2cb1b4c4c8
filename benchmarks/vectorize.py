"""Compare `geoseg vectorize` with other ways to polygonize labels.

    python benchmarks/vectorize.py --size 10000

Every method reads the same random raster in a process of its own, and writes a GeoPackage with the class of every
polygon (geoseg also writes its other attributes). Reported are the wall time of the whole process ("all"), its
processor time ("cpu", least affected by other load) and its peak resident set, as medians of alternating runs.
`gdal_polygonize` and contourrs are included if they are installed.

    python benchmarks/vectorize.py --heights 10000 40000

compares the peak memory of `geoseg vectorize` on rasters of several heights; the exit status is 1 if it grows by
more than 10 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
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
ALLOWED_GROWTH = 1.10


def random_labels(rng: np.random.Generator, noise: float) -> NDArray[np.uint8]:
    """Create a block of objects of 15 classes, with outlines about as irregular as predictions."""
    import cv2

    def smooth(cell: int) -> NDArray[Any]:
        coarse = rng.standard_normal((BLOCK // cell + 4,) * 2, np.float32)
        fine = cv2.resize(coarse, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        return fine[cell : cell + BLOCK, cell : cell + BLOCK]

    field = smooth(50) + 0.5 * smooth(25) + noise * smooth(2)
    classes = 1 + np.digitize(smooth(50), np.linspace(-1.5, 1.5, 14))
    return np.where(field > 0.1, classes, 0).astype(np.uint8)


def write_labels(path: Path, width: int, height: int, noise: float) -> None:
    """Write a raster block by block."""
    import rasterio
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
    with (
        rasterio.Env(GDAL_CACHEMAX=256 << 20),
        rasterio.open(path, "w", **profile, **tiles, **place) as labels,
    ):
        for y in range(0, height, BLOCK):
            for x in range(0, width, BLOCK):
                columns, rows = min(BLOCK, width - x), min(BLOCK, height - y)
                values = random_labels(rng, noise)[:rows, :columns]
                labels.write(values, 1, window=Window(x, y, columns, rows))


def polygonize_rasterio(labels: Path, output: Path) -> None:
    """Polygonize with rasterio.features.shapes, shapely and pyogrio."""
    _polygonize_rasterio(labels, output, list)


def polygonize_streaming(labels: Path, output: Path) -> None:
    """Polygonize likewise, but release each GeoJSON geometry once shapely has it."""
    _polygonize_rasterio(labels, output, iter)


def _polygonize_rasterio(labels: Path, output: Path, collect: Callable[[Any], Any]) -> None:
    import geopandas
    import rasterio
    import rasterio.features
    import shapely.geometry

    with rasterio.open(labels) as dataset:
        values = dataset.read(1)
        shapes = rasterio.features.shapes(
            values, mask=values != 0, connectivity=4, transform=dataset.transform
        )
        shapes = collect(shapes)
        pairs = [(shapely.geometry.shape(geometry), int(value)) for geometry, value in shapes]
        frame = geopandas.GeoDataFrame(
            {"class_id": [value for _, value in pairs]},
            geometry=[polygon for polygon, _ in pairs],
            crs=dataset.crs,
        )
    frame.to_file(output, driver="GPKG", engine="pyogrio")


def polygonize_contourrs(labels: Path, output: Path) -> None:
    """Polygonize with contourrs (Rust), and write its Arrow table with pyogrio."""
    import contourrs
    import pyogrio
    import rasterio

    with rasterio.open(labels) as dataset:
        values, crs = dataset.read(1), dataset.crs.to_wkt()
        table = contourrs.shapes_arrow(
            values, mask=values != 0, connectivity=4, transform=dataset.transform
        )
    pyogrio.raw.write_arrow(
        table,
        output,
        driver="GPKG",
        layer="shapes",
        geometry_name="geometry",
        geometry_type="Polygon",
        crs=crs,
    )


IN_PYTHON = {
    "rasterio + shapely": polygonize_rasterio,
    "the same, streaming": polygonize_streaming,
    "contourrs": polygonize_contourrs,
}


def list_commands(labels: Path, output: Path) -> dict[str, list[str]]:
    """List the commands of the installed methods; the first is the baseline."""
    this = [sys.executable, __file__]
    found = {
        name: [*this, "--run", name, str(labels), str(output)]
        for name in IN_PYTHON
        if name != "contourrs" or importlib.util.find_spec("contourrs")
    } | {
        "geoseg": [
            *(sys.executable, "-m", "geoseg", "vectorize", str(labels)),
            *("-o", str(output), "--progress", "none"),
        ],
    }
    polygonize = shutil.which("gdal_polygonize.py") or shutil.which("gdal_polygonize")
    if polygonize:
        found["gdal_polygonize"] = [
            *(polygonize, "-q", str(labels), "-f", "GPKG", str(output), "shapes", "class_id")
        ]
    return found


def measure_command(command: list[str], output: Path) -> dict[str, float]:
    """Run a command; return wall seconds, CPU seconds, peak MB and number of polygons."""
    output.unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return {
        "all": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        "polygons": count_polygons(output),
    }


def count_polygons(path: Path) -> int:
    """Count the polygons other than background, which gdal_polygonize also writes."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as database:
        ((table,),) = database.execute(
            "SELECT table_name FROM gpkg_contents WHERE data_type = 'features'"
        )
        names = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
        column = "class_id" if "class_id" in names else "value"
        ((count,),) = database.execute(f'SELECT count(*) FROM "{table}" WHERE {column} != 0')
    return int(count)


def compare(labels: Path, folder: Path, repeat: int) -> dict[str, dict[str, float]]:
    """Measure all methods and return medians."""
    output = folder / "out.gpkg"
    methods = list_commands(labels, output)
    measure_command(methods["geoseg"], output)  # fills the JIT cache
    rounds = [
        {name: measure_command(command, output) for name, command in methods.items()}
        for _ in range(repeat)
    ]
    return {
        name: {key: statistics.median(turn[name][key] for turn in rounds) for key in first}
        for name, first in rounds[0].items()
    }


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Print each method, and its improvement over the first."""
    reference = next(iter(results.values()))
    sys.stdout.write(
        "method              polygons    all s  ratio    cpu s  ratio  peak MB  ratio\n"
    )
    for name, result in results.items():
        figures = "".join(
            f"{result[key]:9.{digits}f}{reference[key] / result[key]:7.1f}"
            for key, digits in (("all", 2), ("cpu", 2), ("peak", 0))
        )
        sys.stdout.write(f"{name:18}{result['polygons']:10.0f}{figures}\n")


def compare_heights(folder: Path, width: int, heights: list[int], noise: float) -> float:
    """Return the peak memory of `geoseg vectorize` at the last height relative to the first."""
    peaks = []
    for height in heights:
        labels, output = folder / f"{height}.tif", folder / "out.gpkg"
        write_labels(labels, width, height, noise)
        result = measure_command(list_commands(labels, output)["geoseg"], output)
        text = f"{width} x {height}: {result['polygons']:,.0f} polygons"
        sys.stdout.write(f"{text}, {result['all']:.1f} s, peak {result['peak']:.0f} MB\n")
        peaks.append(result["peak"])
        labels.unlink()
    return peaks[-1] / peaks[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4000, help="rows and columns")
    parser.add_argument("--heights", type=int, nargs="+", help="compare memory at these heights")
    parser.add_argument(
        "--noise",
        type=float,
        default=0.05,
        help="irregularity of the outlines (0.2: three times the polygons)",
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--labels", type=Path, help="labels raster; default: random labels")
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        method, labels, output = options.run
        IN_PYTHON[method](Path(labels), Path(output))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.heights:
            growth = compare_heights(folder, options.size, options.heights, options.noise)
            sys.stdout.write(f"growth {growth:.3f}, allowed {ALLOWED_GROWTH}\n")
            raise SystemExit(growth > ALLOWED_GROWTH)
        labels = options.labels or folder / "labels.tif"
        if not options.labels:
            write_labels(labels, options.size, options.size, options.noise)
        print_table(compare(labels, folder, options.repeat))


if __name__ == "__main__":
    main()
