"""Measure the peak memory of `geoseg segment` on scenes of several sizes.

    python -m benchmarks.memory [--sides 5000 20000] [--filled 1.0] [--model MODEL.safetensors] [--folder FOLDER]

Each scene is segmented in a process of its own, with labels and confidence. With `--filled 0.05`, only that share of a
scene has data, so even a side of 100,000 pixels takes minutes. The exit status is 1 if the peak resident set of the
largest scene is more than 10 % above that of the smallest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from geoseg.legend import DOTA_V1, Legend
from geoseg.models.model_file import ModelCard, save_model
from geoseg.models.unet import UNet

_BLOCK = 512
_ALLOWED_GROWTH = 1.10


def write_random_scene(path: Path, side: int, *, filled: float = 1.0) -> Path:
    """Write a tiled RGB scene of fields, noise and squares, block by block.

    Only the share `filled` of its regions of 8 x 8 blocks has data.
    """
    rng = np.random.default_rng(0)
    has_data = rng.random((side // _BLOCK // 8 + 1,) * 2) < filled
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=3,
        dtype="uint8",
        crs="EPSG:32633",
        transform=rasterio.Affine(0.3, 0, 400_000, 0, -0.3, 5_500_000),
        tiled=True,
        blockxsize=_BLOCK,
        blockysize=_BLOCK,
        compress="deflate",
        zlevel=1,
        photometric="rgb",
        bigtiff="if_safer",
        sparse_ok=True,
        nodata=None if filled == 1 else 0,
    ) as scene:
        for window in _blocks(side):
            if not has_data[window.row_off // _BLOCK // 8, window.col_off // _BLOCK // 8]:
                continue
            field = rng.integers(60, 160, (3, 1, 1)) + rng.integers(0, 8, (3, _BLOCK, _BLOCK))
            for row, column in rng.integers(0, _BLOCK - 24, (6, 2)):
                field[:, row : row + 24, column : column + 24] = rng.integers(0, 255, (3, 1, 1))
            pixels = field.astype(np.uint8)[:, : window.height, : window.width]
            scene.write(pixels, window=window)
    return path


def write_small_model(path: Path) -> Path:
    """Write a small U-Net with random weights, with which a large scene takes minutes."""
    torch.manual_seed(0)
    parameters: dict[str, Any] = {"width": 4, "depth": 1}
    legend = Legend(DOTA_V1.classes[:3])
    network = UNet(3, len(legend), **parameters)
    card = ModelCard(
        architecture="unet",
        parameters=parameters,
        legend=legend,
        bands=3,
        dtype="uint8",
        mean=(110.0,) * 3,
        std=(40.0,) * 3,
        stride=2,
        margin=32,
    )
    return save_model(path, network.state_dict(), card)


def measure(scene: Path, model: Path, folder: Path) -> tuple[float, float]:
    """Segment a scene; return peak resident set in MB and wall time in seconds."""
    command = [
        *(sys.executable, "-m", "geoseg", "segment", str(scene), "-m", str(model)),
        *("-o", str(folder / "out.gpkg"), "--labels", str(folder / "labels.tif")),
        *("--confidence", str(folder / "confidence.tif"), "--overwrite", "--device", "cpu"),
    ]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"segmenting {scene} failed")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kilobytes / 1024, time.monotonic() - began


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[5000, 20_000])
    parser.add_argument("--filled", type=float, default=1.0, help="share of a scene with data")
    parser.add_argument("--model", type=Path, help="default: a small network with random weights")
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model = options.model or write_small_model(folder / "cheap.safetensors")
        peaks = []
        for side in options.sides:
            scene = write_random_scene(folder / f"{side}.tif", side, filled=options.filled)
            peak, seconds = measure(scene, model, folder)
            peaks.append(peak)
            print(f"{side:,} x {side:,}: peak {peak:,.0f} MB, {seconds:,.0f} s", flush=True)
            scene.unlink()
    growth = peaks[-1] / peaks[0]
    print(f"growth {growth:.3f}, allowed {_ALLOWED_GROWTH}")
    raise SystemExit(growth > _ALLOWED_GROWTH)


def _blocks(side: int) -> Iterator[Window]:
    for row in range(0, side, _BLOCK):
        for column in range(0, side, _BLOCK):
            yield Window(column, row, min(_BLOCK, side - column), min(_BLOCK, side - row))


if __name__ == "__main__":
    main()
