"""Does a killed `geoseg segment` go on to the same bytes? Kills it at random times and compares.

    python benchmarks/kill.py [--kills 50] [--side 1500] [--folder FOLDER]

Every round is a run that gets SIGKILL at a moment drawn evenly over the time that a whole run takes, and the same
command again; a run that ends before its moment does not count. Compared are the bytes of labels and confidence, and
the sorted rows of the polygons. Exits with 1 when a round differs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pyogrio

from benchmarks.memory import cheap_model, draw_scene

_PRODUCTS = ("out.gpkg", "labels.tif", "confidence.tif")


def start(scene: Path, model: Path, folder: Path) -> subprocess.Popen[bytes]:
    """The same command for every run."""
    out, labels, confidence = (str(folder / name) for name in _PRODUCTS)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "geoseg", "segment", str(scene), "-m", str(model), "-o", out),
            *("--labels", labels, "--confidence", confidence, "--core", "64", "--progress", "none"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def goes_on(process: subprocess.Popen[bytes]) -> bool:
    """True where a run ends well: with its products, or, since the kill came after them, with the word that they
    are there already."""
    told = process.communicate()[1].decode()
    if process.returncode not in (0, 4):
        print(f"status {process.returncode}: {told}", file=sys.stderr, flush=True)
    return process.returncode in (0, 4)


def content(folder: Path) -> str:
    """sha256 of all that was made."""
    digest = hashlib.sha256()
    polygons = pyogrio.read_dataframe(folder / "out.gpkg", layer="segments")
    rows = polygons.assign(wkb=polygons.geometry.to_wkb()).drop(columns="geometry")
    digest.update(repr(sorted(rows.to_numpy().tolist(), key=str)).encode())
    for name in _PRODUCTS[1:]:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--side", type=int, default=1500)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    moments = random.Random(0)
    same = early = kills = 0
    with TemporaryDirectory(dir=options.folder) as name:
        base = Path(name)
        scene = draw_scene(base / "scene.tif", options.side)
        model = cheap_model(base / "cheap.safetensors")
        whole = base / "whole"
        whole.mkdir()
        began = time.monotonic()
        assert goes_on(start(scene, model, whole))
        usual = time.monotonic() - began
        expected = content(whole)
        while kills < options.kills:
            folder = base / str(kills)
            folder.mkdir()
            began = time.monotonic()
            process = start(scene, model, folder)
            try:
                process.communicate(timeout=moments.uniform(0, usual))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            if process.returncode != -signal.SIGKILL:  # it was quicker
                assert process.returncode == 0
                usual = min(usual, time.monotonic() - began)
                shutil.rmtree(folder)
                continue
            kills += 1
            early += (folder / _PRODUCTS[0]).exists()
            same += goes_on(start(scene, model, folder)) and content(folder) == expected
    print(
        f"{kills} kills within {usual:.1f} s: {same} equal; {early} after the polygons had their name"
    )
    raise SystemExit(same < kills)


if __name__ == "__main__":
    main()
