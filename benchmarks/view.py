"""Measure the time to write, open, draw and pan an HTML map of many polygons.

    python benchmarks/view.py --polygons 100000

Uses random polygons and Chromium without GPU, with a window of 1360 x 820 pixels. `frame` is the time between two
frames while the map pans, `redraw` that until all polygons are drawn again, `hit` that of finding the polygon under the
pointer, each in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from playwright.sync_api import sync_playwright

from geoseg.tools.view import view

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CLASSES = ("plane", "ship", "harbor", "bridge", "large-vehicle", "small-vehicle")
SETTLED = (
    "const settled = () => new Promise(done => {"
    " const look = () => map.busy ? requestAnimationFrame(look) : done(); look(); });"
)
MEASURE = (
    "async () => {"
    + SETTLED
    + """
    const times = [];
    for (let last = performance.now(); times.length < 60;) {
      map.moveBy(3, 2);
      const now = await new Promise(done => requestAnimationFrame(() => done(performance.now())));
      times.push(now - last);
      last = now;
    }
    times.sort((a, b) => a - b);
    const start = performance.now();
    map.home();
    await settled();
    const redraw = performance.now() - start, begin = performance.now();
    for (let k = 0; k < 100; k++) polygons.at(1000 * k, 500 * k, 10, map.visible);
    return { frame: times[30], "slow frame": times[56], redraw, hit: (performance.now() - begin) / 100 };
}"""
)


def write_polygons(path: Path, count: int) -> None:
    """Write a GeoPackage of random round objects on 6 x 6 km."""
    rng = np.random.default_rng(0)
    polygons = []
    for middle, corners, radius in zip(
        500_000 + 6000 * rng.random((count, 2)),
        rng.integers(8, 24, count),
        1 + rng.gamma(2, 4, count),
        strict=True,
    ):
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        far = radius * (0.7 + 0.3 * rng.random(corners))
        ring = np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1)
        polygons.append(shapely.Polygon((middle + ring).round(1)))
    columns = {"class": rng.choice(CLASSES, count), "confidence": rng.random(count).round(3)}
    gpd.GeoDataFrame(columns, geometry=polygons, crs=32633).to_file(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polygons", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        polygons, html = Path(folder) / "many.gpkg", Path(folder) / "many.html"
        write_polygons(polygons, arguments.polygons)
        start = time.perf_counter()
        view(polygons, html)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"written in {time.perf_counter() - start:.1f} s, peak {memory:.0f} MB")
        print(f"page {html.stat().st_size / 1e6:.1f} MB")
        options = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1360, "height": 820})
        start = time.perf_counter()
        page.goto(html.as_uri())
        page.evaluate("async () => {" + SETTLED + "await settled(); }")
        print(f"opened and drawn in {time.perf_counter() - start:.1f} s")
        for name, milliseconds in page.evaluate(MEASURE).items():
            print(f"{name} {milliseconds:.1f} ms")
        browser.close()


if __name__ == "__main__":
    main()
