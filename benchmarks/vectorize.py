"""Labels → polygons: `geoseg vectorize` against what people use today.

    python benchmarks/vectorize.py --size 10000

Every method reads the same raster, drawn here, in a process of its own, and writes a GeoPackage
with a class for every polygon (geoseg also pixels, area, perimeter and the rest). Seconds are
those of the whole process, from its start to the closed file ("all"), and of its processor time
("cpu", which a busy machine disturbs least); memory is the process's peak resident set. The
methods take turns, and medians count. `gdal_polygonize` and contourrs take part where they are
installed.

    python benchmarks/vectorize.py --heights 10000 40000

draws rasters of one width and several heights, and fails when the peak of `geoseg vectorize`
grows by more than a tenth.
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


def draw(path: Path, width: int, height: int, noise: float) -> None:
    """Write a raster, block by block."""
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
                values = block(rng, noise)[:rows, :columns]
                labels.write(values, 1, window=Window(x, y, columns, rows))


def with_rasterio(labels: Path, output: Path) -> None:
    """The usual script: all of rasterio.features.shapes, then shapely, then pyogrio."""
    _with_rasterio(labels, output, list)


def with_rasterio_one_by_one(labels: Path, output: Path) -> None:
    """A leaner one: a GeoJSON geometry is forgotten when shapely has it."""
    _with_rasterio(labels, output, iter)


def _with_rasterio(labels: Path, output: Path, gathered: Callable[[Any], Any]) -> None:
    import geopandas
    import rasterio
    import rasterio.features
    import shapely.geometry

    with rasterio.open(labels) as dataset:
        values = dataset.read(1)
        shapes = rasterio.features.shapes(
            values, mask=values != 0, connectivity=4, transform=dataset.transform
        )
        shapes = gathered(shapes)
        pairs = [(shapely.geometry.shape(geometry), int(value)) for geometry, value in shapes]
        frame = geopandas.GeoDataFrame(
            {"class_id": [value for _, value in pairs]},
            geometry=[polygon for polygon, _ in pairs],
            crs=dataset.crs,
        )
    frame.to_file(output, driver="GPKG", engine="pyogrio")


def with_contourrs(labels: Path, output: Path) -> None:
    """contourrs (Rust), its Arrow table written by pyogrio."""
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
    "rasterio + shapely": with_rasterio,
    "the same, leaner": with_rasterio_one_by_one,
    "contourrs": with_contourrs,
}


def commands(labels: Path, output: Path) -> dict[str, list[str]]:
    """What to run for each method that is installed; the first is what the others are held to."""
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


def measured(command: list[str], output: Path) -> dict[str, float]:
    """Run a command -> seconds, processor seconds, peak MB, polygons."""
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
        "polygons": polygons_in(output),
    }


def polygons_in(path: Path) -> int:
    """Number of polygons, other than those of background (which gdal_polygonize makes too)."""
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
    """Medians of each method."""
    output = folder / "out.gpkg"
    methods = commands(labels, output)
    measured(methods["geoseg"], output)  # fills the JIT cache
    rounds = [
        {name: measured(command, output) for name, command in methods.items()}
        for _ in range(repeat)
    ]
    return {
        name: {key: statistics.median(turn[name][key] for turn in rounds) for key in first}
        for name, first in rounds[0].items()
    }


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Each method, and how many times better it is than the first."""
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
    """Peak of `geoseg vectorize` at the last height by that at the first."""
    peaks = []
    for height in heights:
        labels, output = folder / f"{height}.tif", folder / "out.gpkg"
        draw(labels, width, height, noise)
        result = measured(commands(labels, output)["geoseg"], output)
        told = f"{width} x {height}: {result['polygons']:,.0f} polygons"
        sys.stdout.write(f"{told}, {result['all']:.1f} s, peak {result['peak']:.0f} MB\n")
        peaks.append(result["peak"])
        labels.unlink()
    return peaks[-1] / peaks[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4000, help="rows and columns")
    parser.add_argument("--heights", type=int, nargs="+", help="compare memory at these heights")
    parser.add_argument(
        "--noise",
        type=float,
        default=0.05,
        help="raggedness of the outlines (0.2: three times the polygons)",
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--labels", type=Path, help="a labels raster instead of a drawn one")
    parser.add_argument("--folder", type=Path, help="where rasters and products go for a while")
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
            draw(labels, options.size, options.size, options.noise)
        print_table(compare(labels, folder, options.repeat))


if __name__ == "__main__":
    main()
