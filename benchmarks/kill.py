"""Test that `geoseg segment`, killed at random times, resumes to the same bytes.

    python benchmarks/kill.py [--kills 50] [--side 1500] [--folder FOLDER]

Every round sends SIGKILL at a time drawn uniformly from the duration of a complete run, then repeats the command; runs
that end earlier are not counted. The bytes of labels and confidence and the sorted rows of the polygons are compared.
The exit status is 1 if any round differs.
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

from benchmarks.memory import write_random_scene, write_small_model

_PRODUCTS = ("out.gpkg", "labels.tif", "confidence.tif")


def start(scene: Path, model: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a run."""
    out, labels, confidence = (str(folder / name) for name in _PRODUCTS)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "geoseg", "segment", str(scene), "-m", str(model), "-o", out),
            *("--labels", labels, "--confidence", confidence, "--core", "64", "--progress", "none"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def completes(process: subprocess.Popen[bytes]) -> bool:
    """True if a run ends with its products, or with the error that they exist, if it was killed after them."""
    message = process.communicate()[1].decode()
    if process.returncode not in (0, 4):
        print(f"status {process.returncode}: {message}", file=sys.stderr, flush=True)
    return process.returncode in (0, 4)


def hash_products(folder: Path) -> str:
    """Return the sha256 of all products."""
    digest = hashlib.sha256()
    polygons = pyogrio.read_dataframe(folder / "out.gpkg", layer="segments")
    rows = polygons.assign(wkb=polygons.geometry.to_wkb()).drop(columns="geometry")
    digest.update(repr(sorted(rows.to_numpy().tolist(), key=str)).encode())
    for name in _PRODUCTS[1:]:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--side", type=int, default=1500)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    times = random.Random(0)
    same = early = kills = 0
    with TemporaryDirectory(dir=options.folder) as name:
        base = Path(name)
        scene = write_random_scene(base / "scene.tif", options.side)
        model = write_small_model(base / "cheap.safetensors")
        whole = base / "whole"
        whole.mkdir()
        began = time.monotonic()
        assert completes(start(scene, model, whole))
        duration = time.monotonic() - began
        expected = hash_products(whole)
        while kills < options.kills:
            folder = base / str(kills)
            folder.mkdir()
            began = time.monotonic()
            process = start(scene, model, folder)
            try:
                process.communicate(timeout=times.uniform(0, duration))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            if process.returncode != -signal.SIGKILL:  # it ended earlier
                assert process.returncode == 0
                duration = min(duration, time.monotonic() - began)
                shutil.rmtree(folder)
                continue
            kills += 1
            early += (folder / _PRODUCTS[0]).exists()
            same += completes(start(scene, model, folder)) and hash_products(folder) == expected
    print(
        f"{kills} kills within {duration:.1f} s: {same} equal; {early} killed after the polygons were written"
    )
    raise SystemExit(same < kills)


if __name__ == "__main__":
    main()
