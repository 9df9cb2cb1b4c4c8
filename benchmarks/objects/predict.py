"""Predict scenes tile by tile and store what the decoders read: 8-bit labels and confidence.

    python -m benchmarks.objects.predict shipped|MODEL DATASET FOLDER [--split val] [--subset 60] [--from-name NAME]

Writes FOLDER/<scene>.npz; existing files are kept. `--subset` selects scenes by the hash of their name.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from benchmarks.objects.decode import Planes
from geoseg.cli.process import keep_freed_memory
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.models.model_file import Model, load_model
from geoseg.raster.scene import Scene, gdal_env
from geoseg.raster.tiles import tile_grid

CORE = 768


def convert_to_planes(logits: Tensor) -> Planes:
    """Convert (classes, h, w) logits to (h, w) planes."""
    probability, labels = F.softmax(logits, dim=0).max(dim=0)
    return {"labels": labels.to(torch.uint8).numpy(), "confidence": _to_bytes(probability)}


def _to_bytes(probability: Tensor) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = (probability * 255).round().to(torch.uint8).numpy()
    return rounded


@torch.inference_mode()
def predict_scene(model: Model, path: Path) -> Planes:
    """Predict a scene by tiles; pixels without data are 0 after scaling, as in training."""
    card, network = model.card, model.network
    mean, std = (np.reshape(values, (-1, 1, 1)) for values in (card.mean, card.std))
    with gdal_env(path):
        scene = Scene.open(path)
        pixels, valid = scene.read(Window(0, 0, scene.info.width, scene.info.height))
        scene.close()
    height, width = valid.shape
    scaled = np.where(valid, (pixels.astype(np.float32) - mean) / std, 0).astype(np.float32)
    image = F.pad(torch.from_numpy(scaled), (0, -width % 64, 0, -height % 64))[None]
    whole: Planes = {}
    for tile in tile_grid(width, height, core=CORE, margin=card.margin, multiple=64):
        core, window = tile.core, tile.window
        top, left = window.row_off, window.col_off
        bottom, right = top + -(-window.height // 64) * 64, left + -(-window.width // 64) * 64
        part = image[..., top:bottom, left:right].contiguous(memory_format=torch.channels_last)
        inner = np.s_[..., tile.inner[0], tile.inner[1]]
        place = np.s_[
            core.row_off : core.row_off + core.height, core.col_off : core.col_off + core.width
        ]
        for name, plane in convert_to_planes(network(part)[0, : len(card.legend)]).items():
            whole.setdefault(name, np.zeros((height, width), plane.dtype))[place] = plane[inner]
    return whole


def read_planes(folder: Path, scene: str) -> Planes:
    """Read the planes of a scene that this module has written."""
    with np.load(folder / f"{scene}.npz") as planes:
        return dict(planes)


def select_scenes(
    scenes: Sequence[DatasetScene], count: int | None, *, from_name: str = ""
) -> list[DatasetScene]:
    """Select the `count` scenes with the smallest SHA-256 of their names, of those named `from_name` or later."""
    kept = [scene for scene in scenes if scene.name >= from_name]
    kept.sort(key=lambda scene: hashlib.sha256(scene.name.encode()).hexdigest())
    return kept[:count]


def main() -> None:
    """Predict scenes of a split."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--subset", type=int)
    parser.add_argument("--from-name", default="", help="only scenes of this name or later")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    dataset = Dataset.open(args.dataset)
    model = load_model(None if args.model == "shipped" else args.model)
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    args.folder.mkdir(parents=True, exist_ok=True)
    scenes = dataset.split(args.split)
    for scene in select_scenes(scenes, args.subset, from_name=args.from_name):
        target = args.folder / f"{scene.name}.npz"
        if not target.exists():
            planes = predict_scene(model, dataset.path(scene))
            np.savez(target, **planes)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
