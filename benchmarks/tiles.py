"""Pixels that pass through the network per pixel of a scene, by scene size and memory limit.

    python -m benchmarks.tiles [--model MODEL] [--sides 4000 5000 10000 20000] [--memory 2 3 4 8]

Only the tiling is computed, as `geoseg segment` chooses it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import rasterio

from geoseg.inference.plan import PlanSettings, plan_scene
from geoseg.inference.predictor import ModelSpec
from geoseg.inference.reader import open_scenes
from geoseg.inference.tiling import forward_ratio
from geoseg.models.model_file import load_model
from geoseg.options import SceneOptions, TilingOptions


def write_empty_scene(path: Path, side: int) -> Path:
    """Write a sparse scene without data."""
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine(0.3, 0, 400_000, 0, -0.3, 5_500_000),
        tiled=True, sparse_ok=True,
    ):  # fmt: skip
        return path


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, help="default: the shipped model")
    parser.add_argument("--sides", type=int, nargs="+", default=[4000, 5000, 10_000, 20_000])
    parser.add_argument("--memory", type=float, nargs="+", default=[2, 3, 4, 8], help="GB")
    options = parser.parse_args()
    model = load_model(options.model)
    print("| side | " + " | ".join(f"{memory:g} GB" for memory in options.memory) + " |")
    print("| --: |" + " --: |" * len(options.memory))
    with TemporaryDirectory() as folder:
        for side in options.sides:
            scene = write_empty_scene(Path(folder, f"{side}.tif"), side)
            ratios = []
            for memory in options.memory:
                settings = PlanSettings(
                    model,
                    ModelSpec(options.model),
                    SceneOptions(gsd="none"),
                    TilingOptions(memory=int(memory * 1e9)),
                )
                with open_scenes([scene]) as scenes:
                    tiles = plan_scene(settings, (scene,), scenes).tiles
                ratios.append(forward_ratio(tiles, side, side))
            print(f"| {side:,} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


if __name__ == "__main__":
    main()
