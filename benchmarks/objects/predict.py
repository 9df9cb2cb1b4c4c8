"""Predict scenes tile by tile and store what the decoders read: 8-bit planes.

    python -m benchmarks.objects.predict shipped|CHECKPOINT DATASET FOLDER [--split val] [--subset 60]
        [--from-name NAME]

Writes FOLDER/<scene>.npz; existing files are kept. `shipped`, the shipped model, gives labels and confidence; a
checkpoint of `benchmarks.objects.train` gives the object outputs too. `--subset` selects scenes by the hash of their
name.
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
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.objects.decode import OFFSET_STEP, Planes
from benchmarks.objects.network import OBJECT_OUTPUTS, TwoScaleUNet
from benchmarks.objects.targets import OFFSET_UNIT
from geoseg.cli.process import keep_freed_memory
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.models.model_file import load_model
from geoseg.raster.scene import Scene, gdal_env
from geoseg.raster.tiles import tile_grid

CORE = 768
MARGIN = 320
"""Margin of the two-scale network in pixels, less than its receptive field."""

MEAN, STD = 127.0, 128.0
"""Scaling of the input, that of the shipped model."""


def load_network(checkpoint: str, bands: int, classes: int) -> tuple[nn.Module, int]:
    """Load the shipped network or a checkpoint of the two-scale network, and its margin in pixels."""
    if checkpoint == "shipped":
        model = load_model()
        return model.network.to(memory_format=torch.channels_last), model.card.margin  # type: ignore[call-overload]
    network = TwoScaleUNet(bands, classes)
    weights = {name: tensor.float() for name, tensor in load_file(checkpoint).items()}
    # counters of batches, which inference does not need, are not in a checkpoint
    unread = network.load_state_dict(weights, strict=False)
    missing = [n for n in unread.missing_keys if not n.endswith("num_batches_tracked")]
    if missing or unread.unexpected_keys:
        raise ValueError(f"{checkpoint}: not a checkpoint of the two-scale network. Name another")
    return network.eval().to(memory_format=torch.channels_last), MARGIN  # type: ignore[call-overload]


def convert_to_planes(outputs: Tensor, classes: int) -> Planes:
    """Convert (classes [+ 6], h, w) outputs to (h, w) planes."""
    probability, labels = F.softmax(outputs[:classes], dim=0).max(dim=0)
    planes: Planes = {
        "labels": labels.to(torch.uint8).numpy(),
        "confidence": _to_bytes(probability),
    }
    # of the shipped model there are no further channels
    for name, plane in zip(OBJECT_OUTPUTS, outputs[classes:], strict=False):
        if name.startswith("offset"):
            steps = plane * (OFFSET_UNIT / OFFSET_STEP)
            planes[name] = steps.round().clamp(-127, 127).to(torch.int8).numpy()
        else:
            planes[name] = _to_bytes(plane.sigmoid())
    return planes


def _to_bytes(probability: Tensor) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = (probability * 255).round().to(torch.uint8).numpy()
    return rounded


@torch.inference_mode()
def predict_scene(network: nn.Module, margin: int, path: Path, classes: int) -> Planes:
    """Predict a scene by tiles; pixels without data are 0 after scaling, as in training."""
    with gdal_env(path):
        scene = Scene.open(path)
        pixels, valid = scene.read(Window(0, 0, scene.info.width, scene.info.height))
        scene.close()
    height, width = valid.shape
    scaled = np.where(valid, (pixels.astype(np.float32) - MEAN) / STD, 0)
    image = F.pad(torch.from_numpy(scaled), (0, -width % 64, 0, -height % 64))[None]
    whole: Planes = {}
    for tile in tile_grid(width, height, core=CORE, margin=margin, multiple=64):
        core, window = tile.core, tile.window
        top, left = window.row_off, window.col_off
        bottom, right = top + -(-window.height // 64) * 64, left + -(-window.width // 64) * 64
        part = image[..., top:bottom, left:right].contiguous(memory_format=torch.channels_last)
        inner = np.s_[..., tile.inner[0], tile.inner[1]]
        place = np.s_[
            core.row_off : core.row_off + core.height, core.col_off : core.col_off + core.width
        ]
        for name, plane in convert_to_planes(network(part)[0], classes).items():
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
    parser.add_argument("checkpoint")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--subset", type=int)
    parser.add_argument("--from-name", default="", help="only scenes of this name or later")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    dataset = Dataset.open(args.dataset)
    classes = len(dataset.legend)
    network, margin = load_network(args.checkpoint, dataset.bands, classes)
    args.folder.mkdir(parents=True, exist_ok=True)
    scenes = dataset.split(args.split)
    for scene in select_scenes(scenes, args.subset, from_name=args.from_name):
        target = args.folder / f"{scene.name}.npz"
        if not target.exists():
            planes = predict_scene(network, margin, dataset.path(scene), classes)
            np.savez(target, **planes)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
