"""Compare `geoseg segment` with the speed of its network, and with other tools.

    python benchmarks/segment.py [--sides 5000 10000 20000] [--model MODEL] [--methods geoseg naive sahi …]

Segments random scenes with the same network, every method in a process of its own:

geoseg    `segment`: fitted tiles, exact or measured margins, folded batch norm, channels last
geoseg-onnx, geoseg-openvino: the same with another backend (only if named)
naive     a plain rasterio loop: tiles of 512 pixels, 25 % overlap, centres kept, unmodified network
sahi      the same tiles cut by SAHI from the image in memory
torchgeo  the same tiles from the GridGeoSampler of TorchGeo
geoai     semantic_inference_on_geotiff of geoai

The last three run if they are installed (measured with TorchGeo 0.8, geoai 0.40 and SAHI 0.12). *limit* is the number
of forward passes times the time of one, measured in the same process before and after; *wall* is the inference alone,
without imports and polygons.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from benchmarks.memory import write_random_scene
from geoseg.cli.process import request_huge_pages
from geoseg.inference.plan import PlanSettings, plan_scene
from geoseg.inference.reader import open_scenes
from geoseg.legend import DOTA_V1
from geoseg.models.layers import fold_batch_norm
from geoseg.models.model_file import Model, ModelCard, load_model, save_model
from geoseg.models.onnx import convert_to_backend
from geoseg.models.unet import UNet
from geoseg.options import Backend, ComputeOptions, SegmentOutputs
from geoseg.raster.tiles import round_up

TILE, STEP = 512, 384

Result = dict[str, float]


def write_unet(path: Path, width: int = 16) -> Path:
    """Write a U-Net of depth 4 with random weights; published comparisons use width 16."""
    torch.manual_seed(0)
    parameters: dict[str, Any] = {"width": width, "depth": 4}
    card = ModelCard(
        architecture="unet", parameters=parameters, legend=DOTA_V1, bands=3, dtype="uint8",
        mean=(110.0,) * 3, std=(40.0,) * 3, stride=16, margin=112, context=107,
    )  # fmt: skip
    return save_model(path, UNet(3, len(DOTA_V1), **parameters).state_dict(), card)


def run_geoseg(
    scene: Path,
    model: Path,
    folder: Path,
    backend: Backend = "torch",
) -> Result:
    """Run `segment`; return wall time, limit and forward pixels."""
    from geoseg.tools.segment import segment

    opened = load_model(model)
    with open_scenes([scene]) as scenes:
        cells = plan_scene(PlanSettings(opened), (scene,), scenes).tiles
    stride = opened.card.stride
    sizes = [
        (round_up(cell.window.height, stride), round_up(cell.window.width, stride))
        for cell in cells
    ]
    network = convert_to_backend(opened, backend).network
    if backend == "torch":
        network = fold_batch_norm(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    clock = _Clock()
    before = _forward_seconds(network, sizes)
    segment(
        scene, folder / "out.gpkg", model=model, compute=ComputeOptions(backend=backend),
        outputs=SegmentOutputs(labels=folder / "labels.tif", confidence=folder / "confidence.tif"),
        track=clock,
    )  # fmt: skip
    after = _forward_seconds(network, sizes)
    forward = sum(height * width for height, width in sizes)
    return {
        "wall": clock.seconds["segment"],
        "limit": (before + after) / 2,
        "forward": float(forward),
    }


def run_naive(scene: Path, model: Path, folder: Path) -> Result:
    """Run a loop over windows, as in tutorials."""
    run = _make_plain_runner(load_model(model))
    began, windows = time.perf_counter(), 0
    with rasterio.open(scene) as dataset, _create_labels(folder / "labels.tif", dataset) as labels:
        for row, column in _tile_corners(dataset.height, dataset.width):
            window = Window(column, row, TILE, TILE)
            found = run(dataset.read([1, 2, 3], window=window, boundless=True)[None])[0]
            _write_core(labels, found, row, column)
            windows += 1
    return {"wall": time.perf_counter() - began, "forward": float(windows * TILE**2)}


def run_sahi(scene: Path, model: Path, folder: Path) -> Result:
    """Run on slices that SAHI cuts from an image in memory."""
    from sahi.slicing import slice_image

    run = _make_plain_runner(load_model(model))
    began = time.perf_counter()
    with rasterio.open(scene) as dataset, _create_labels(folder / "labels.tif", dataset) as labels:
        picture = np.ascontiguousarray(dataset.read([1, 2, 3]).transpose(1, 2, 0))
        slices = slice_image(
            picture, slice_height=TILE, slice_width=TILE,
            overlap_height_ratio=0.25, overlap_width_ratio=0.25,
        )  # fmt: skip
        for cut in slices.sliced_image_list:
            column, row = cut.starting_pixel
            pixels = np.asarray(cut.image).transpose(2, 0, 1)[None]
            _write_core(labels, run(pixels)[0], row, column)
    return {"wall": time.perf_counter() - began, "forward": float(len(slices) * TILE**2)}


def run_torchgeo(scene: Path, model: Path, folder: Path) -> Result:
    """Run on the grid of samples of a TorchGeo raster dataset."""
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    run = _make_plain_runner(load_model(model))
    began, windows = time.perf_counter(), 0
    scenes = RasterDataset(paths=[str(scene)])
    sampler = GridGeoSampler(scenes, size=TILE, stride=STEP)
    with rasterio.open(scene) as dataset, _create_labels(folder / "labels.tif", dataset) as labels:
        for sample in DataLoader(scenes, sampler=sampler, collate_fn=stack_samples):
            across, up, _ = sample["bounds"][0]
            column, row = (round(v) for v in ~dataset.transform @ (across.start, up.stop))
            _write_core(labels, run(sample["image"].numpy())[0], row, column)
            windows += 1
    return {"wall": time.perf_counter() - began, "forward": float(windows * TILE**2)}


def run_geoai(scene: Path, model: Path, folder: Path) -> Result:
    """Run the inference function of geoai."""
    from geoai.train import semantic_inference_on_geotiff

    opened = load_model(model)
    began = time.perf_counter()
    semantic_inference_on_geotiff(
        opened.network, str(scene), str(folder / "labels.tif"), window_size=TILE,
        overlap=TILE - STEP, batch_size=1, num_channels=3, num_classes=len(opened.card.legend),
    )  # fmt: skip
    return {"wall": time.perf_counter() - began}


METHODS: dict[str, Callable[[Path, Path, Path], Result]] = {
    "geoseg": run_geoseg,
    "geoseg-onnx": partial(run_geoseg, backend="onnx"),
    "geoseg-openvino": partial(run_geoseg, backend="openvino"),
    "naive": run_naive,
    "sahi": run_sahi,
    "torchgeo": run_torchgeo,
    "geoai": run_geoai,
}


class _Clock:
    """Progress track that measures the duration of the stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, items: Iterable[Any], /, text: Any = "", total: int | None = None) -> Iterator[Any]:  # fmt: skip
        del total
        began = time.perf_counter()
        yield from items
        self.seconds[str(text)] = time.perf_counter() - began


@torch.inference_mode()
def _forward_seconds(network: torch.nn.Module, sizes: list[tuple[int, int]]) -> float:
    """Estimate the seconds of forward passes over windows of these sizes from one pass of each size."""
    total = 0.0
    for size in sorted(set(sizes)):
        image = torch.rand(1, 3, *size).to(memory_format=torch.channels_last)
        network(image)
        began = time.perf_counter()
        network(image)
        total += (time.perf_counter() - began) * sizes.count(size)
    return total


def _make_plain_runner(model: Model) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    mean = torch.tensor(model.card.mean).reshape(-1, 1, 1)
    std = torch.tensor(model.card.std).reshape(-1, 1, 1)

    @torch.no_grad()
    def run(pixels: NDArray[Any]) -> NDArray[np.uint8]:
        logits: Tensor = model.network((torch.from_numpy(pixels).float() - mean) / std)
        labels: NDArray[np.uint8] = logits.argmax(dim=1).to(torch.uint8).numpy()
        return labels

    return run


def _tile_corners(height: int, width: int) -> Iterator[tuple[int, int]]:
    for row in range(0, max(1, height - TILE + STEP), STEP):
        for column in range(0, max(1, width - TILE + STEP), STEP):
            yield row, column


def _create_labels(path: Path, scene: Any) -> Any:
    return rasterio.open(
        path, "w", driver="GTiff", width=scene.width, height=scene.height, count=1, dtype="uint8",
        crs=scene.crs, transform=scene.transform, tiled=True, compress="deflate",
    )  # fmt: skip


def _write_core(labels: Any, found: NDArray[np.uint8], row: int, column: int) -> None:
    """Write a tile without half of the overlap, except at the edge of the scene."""
    ring = (TILE - STEP) // 2
    top, left = (max(0, -row) if row <= 0 else ring), (max(0, -column) if column <= 0 else ring)
    bottom, right = min(TILE, labels.height - row), min(TILE, labels.width - column)
    window = Window(column + left, row + top, right - left, bottom - top)
    labels.write(found[top:bottom, left:right], 1, window=window)


def _child(method: str, scene: Path, model: Path, folder: Path) -> None:
    if method.startswith("geoseg"):
        request_huge_pages()  # as the command line does
    try:
        found = METHODS[method](scene, model, folder)
    except ImportError as error:
        found = {}
        print(f"{method}: cannot be imported here ({error})", file=sys.stderr)
    print(json.dumps(found))


def measure_method(method: str, scene: Path, model: Path) -> Result:
    """Measure a method in a process of its own; empty if it is not installed."""
    with TemporaryDirectory(dir=scene.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "benchmarks.segment",
            "--child",
            method,
            scene,
            model,
            folder,
        ]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        print(f"{method}: ended with status {status}", file=sys.stderr)
        return {}
    found: Result = json.loads(output.splitlines()[-1])
    return found and found | {"rss": usage.ru_maxrss / 1024}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[5000, 10_000, 20_000])
    parser.add_argument(
        "--methods", nargs="+", default=["geoseg", *list(METHODS)[4:]], choices=METHODS
    )
    parser.add_argument("--model", type=Path, help="default: a U-Net with random weights")
    parser.add_argument("--width", type=int, default=16, help="width of that U-Net")
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        method, *paths = options.child
        _child(method, *map(Path, paths))
        return
    print("| side | method | wall, s | wall / limit | forward px / px | peak RSS, MB | x geoseg |")
    print("| --: | :-- | --: | --: | --: | --: | --: |")
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model = options.model or write_unet(folder / "unet.safetensors", options.width)
        for side in options.sides:
            scene = write_random_scene(folder / f"{side}.tif", side)
            base: float | None = None
            for method in options.methods:
                found = measure_method(method, scene, model)
                if not found:
                    continue
                base = base or found["wall"]
                limit = f"{found['wall'] / found['limit']:.3f}" if "limit" in found else "–"
                forward = f"{found['forward'] / side**2:.2f}" if "forward" in found else "–"
                print(
                    f"| {side:,} | {method} | {found['wall']:.1f} | {limit} | {forward} "
                    f"| {found['rss']:,.0f} | {found['wall'] / base:.2f} |",
                    flush=True,
                )
            scene.unlink()


if __name__ == "__main__":
    main()
