"""Measure the time that `geoseg segment` takes to end after Ctrl-C or SIGTERM.

    python -m benchmarks.stop [--side 5000] [--after 8 12 16] [--folder FOLDER]

With the shipped model and with a U-Net of width 16, with default tiles.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.memory import write_random_scene
from benchmarks.segment import write_unet
from geoseg.models.model_file import shipped_model


def time_to_end(command: list[str], number: signal.Signals, after: float) -> float:
    """Send a signal `after` seconds after the start; return the seconds until the process ends."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    time.sleep(after)
    began = time.perf_counter()
    process.send_signal(number)
    status = process.wait()
    if status != 128 + number:
        raise SystemExit(f"ended with status {status} after {number.name}")
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--after", type=float, nargs="+", default=[8, 12, 16])
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    options = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell ignores SIGINT for background jobs
    print("| model | signal | longest, s |")
    print("| :-- | :-- | --: |")
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        scene = write_random_scene(folder / "scene.tif", options.side)
        models = {"shipped": shipped_model(), "U-Net 16": write_unet(folder / "unet.safetensors")}
        for title, model in models.items():
            command = [
                *(sys.executable, "-m", "geoseg", "segment", str(scene), "-m", str(model)),
                *("-o", str(folder / "out.gpkg"), "--restart", "--progress", "none"),
            ]
            for number in (signal.SIGINT, signal.SIGTERM):
                longest = max(time_to_end(command, number, after) for after in options.after)
                print(f"| {title} | {number.name} | {longest:.1f} |", flush=True)


if __name__ == "__main__":
    main()
