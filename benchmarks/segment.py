"""How near `geoseg segment` comes to the network's own speed, and how it compares with other ways.

    python benchmarks/segment.py [--sides 5000 10000 20000] [--model MODEL] [--ways geoseg naive sahi …]

Draws scenes and labels each with the same network, every way in a process of its own, one after the other:

geoseg    `segment`: fitted tiles, exact or measured margins, folded batch norm, channels last
geoseg-onnx, geoseg-openvino: the same on another backend (not unless named)
naive     a plain rasterio loop: tiles of 512 pixels, 25 % overlap, centres kept, the network as it is
sahi      SAHI cuts the same tiles from the whole picture; stitched likewise
torchgeo  TorchGeo's GridGeoSampler cuts them; stitched likewise
geoai     geoai's semantic_inference_on_geotiff

The last three run where they are installed: TorchGeo 0.8, geoai 0.40 and SAHI 0.12 were, in an environment of
their own with geoseg beside them. *limit* is the number of forward passes times the time of one,
measured in the same process before and after; *wall* is the labelling alone, without imports and polygons.
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

from benchmarks.memory import draw_scene
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

Found = dict[str, float]


def small_unet(path: Path, width: int = 16) -> Path:
    """A U-Net of depth 4 with random weights; of width 16 it is that of the usual comparisons."""
    torch.manual_seed(0)
    parameters = {"width": width, "depth": 4}
    card = ModelCard(
        architecture="unet", parameters=parameters, legend=DOTA_V1, bands=3, dtype="uint8",
        mean=(110.0,) * 3, std=(40.0,) * 3, stride=16, margin=112, context=107,
    )  # fmt: skip
    return save_model(path, UNet(3, len(DOTA_V1), **parameters).state_dict(), card)


def ours(
    scene: Path,
    model: Path,
    folder: Path,
    backend: Backend = "torch",
) -> Found:
    """Wall, limit and forward pixels of `segment`."""
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


def naive(scene: Path, model: Path, folder: Path) -> Found:
    """A loop over windows, as tutorials have it."""
    run = _plain(load_model(model))
    began, windows = time.perf_counter(), 0
    with rasterio.open(scene) as dataset, _output(folder / "labels.tif", dataset) as labels:
        for row, column in _corners(dataset.height, dataset.width):
            window = Window(column, row, TILE, TILE)
            found = run(dataset.read([1, 2, 3], window=window, boundless=True)[None])[0]
            _keep(labels, found, row, column)
            windows += 1
    return {"wall": time.perf_counter() - began, "forward": float(windows * TILE**2)}


def sahi(scene: Path, model: Path, folder: Path) -> Found:
    """SAHI's slices of a picture in memory."""
    from sahi.slicing import slice_image

    run = _plain(load_model(model))
    began = time.perf_counter()
    with rasterio.open(scene) as dataset, _output(folder / "labels.tif", dataset) as labels:
        picture = np.ascontiguousarray(dataset.read([1, 2, 3]).transpose(1, 2, 0))
        slices = slice_image(
            picture, slice_height=TILE, slice_width=TILE,
            overlap_height_ratio=0.25, overlap_width_ratio=0.25,
        )  # fmt: skip
        for cut in slices.sliced_image_list:
            column, row = cut.starting_pixel
            pixels = np.asarray(cut.image).transpose(2, 0, 1)[None]
            _keep(labels, run(pixels)[0], row, column)
    return {"wall": time.perf_counter() - began, "forward": float(len(slices) * TILE**2)}


def torchgeo(scene: Path, model: Path, folder: Path) -> Found:
    """TorchGeo's grid of samples of a raster dataset."""
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    run = _plain(load_model(model))
    began, windows = time.perf_counter(), 0
    scenes = RasterDataset(paths=[str(scene)])
    sampler = GridGeoSampler(scenes, size=TILE, stride=STEP)
    with rasterio.open(scene) as dataset, _output(folder / "labels.tif", dataset) as labels:
        for sample in DataLoader(scenes, sampler=sampler, collate_fn=stack_samples):
            across, up, _ = sample["bounds"][0]
            column, row = (round(v) for v in ~dataset.transform @ (across.start, up.stop))
            _keep(labels, run(sample["image"].numpy())[0], row, column)
            windows += 1
    return {"wall": time.perf_counter() - began, "forward": float(windows * TILE**2)}


def geoai(scene: Path, model: Path, folder: Path) -> Found:
    """geoai's own function."""
    from geoai.train import semantic_inference_on_geotiff

    opened = load_model(model)
    began = time.perf_counter()
    semantic_inference_on_geotiff(
        opened.network, str(scene), str(folder / "labels.tif"), window_size=TILE,
        overlap=TILE - STEP, batch_size=1, num_channels=3, num_classes=len(opened.card.legend),
    )  # fmt: skip
    return {"wall": time.perf_counter() - began}


WAYS: dict[str, Callable[[Path, Path, Path], Found]] = {
    "geoseg": ours,
    "geoseg-onnx": partial(ours, backend="onnx"),
    "geoseg-openvino": partial(ours, backend="openvino"),
    "naive": naive,
    "sahi": sahi,
    "torchgeo": torchgeo,
    "geoai": geoai,
}


class _Clock:
    """A track that measures the stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, items: Iterable[Any], /, text: Any = "", total: int | None = None) -> Iterator[Any]:  # fmt: skip
        del total
        began = time.perf_counter()
        yield from items
        self.seconds[str(text)] = time.perf_counter() - began


@torch.inference_mode()
def _forward_seconds(network: torch.nn.Module, sizes: list[tuple[int, int]]) -> float:
    """Seconds that the forward passes over windows of these sizes take, from one of each kind."""
    total = 0.0
    for size in sorted(set(sizes)):
        image = torch.rand(1, 3, *size).to(memory_format=torch.channels_last)
        network(image)
        began = time.perf_counter()
        network(image)
        total += (time.perf_counter() - began) * sizes.count(size)
    return total


def _plain(model: Model) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    mean = torch.tensor(model.card.mean).reshape(-1, 1, 1)
    std = torch.tensor(model.card.std).reshape(-1, 1, 1)

    @torch.no_grad()
    def run(pixels: NDArray[Any]) -> NDArray[np.uint8]:
        logits: Tensor = model.network((torch.from_numpy(pixels).float() - mean) / std)
        labels: NDArray[np.uint8] = logits.argmax(dim=1).to(torch.uint8).numpy()
        return labels

    return run


def _corners(height: int, width: int) -> Iterator[tuple[int, int]]:
    for row in range(0, max(1, height - TILE + STEP), STEP):
        for column in range(0, max(1, width - TILE + STEP), STEP):
            yield row, column


def _output(path: Path, scene: Any) -> Any:
    return rasterio.open(
        path, "w", driver="GTiff", width=scene.width, height=scene.height, count=1, dtype="uint8",
        crs=scene.crs, transform=scene.transform, tiled=True, compress="deflate",
    )  # fmt: skip


def _keep(labels: Any, found: NDArray[np.uint8], row: int, column: int) -> None:
    """The tile without half of the overlap, except at the scene's edge."""
    ring = (TILE - STEP) // 2
    top, left = (max(0, -row) if row <= 0 else ring), (max(0, -column) if column <= 0 else ring)
    bottom, right = min(TILE, labels.height - row), min(TILE, labels.width - column)
    window = Window(column + left, row + top, right - left, bottom - top)
    labels.write(found[top:bottom, left:right], 1, window=window)


def _child(way: str, scene: Path, model: Path, folder: Path) -> None:
    if way.startswith("geoseg"):
        request_huge_pages()  # as its command line does
    try:
        found = WAYS[way](scene, model, folder)
    except ImportError as error:
        found = {}
        print(f"{way}: cannot be imported here ({error})", file=sys.stderr)
    print(json.dumps(found))


def measured(way: str, scene: Path, model: Path) -> Found:
    """What one way takes, in a process of its own; empty where it is not installed."""
    with TemporaryDirectory(dir=scene.parent) as folder:
        command = [sys.executable, "-m", "benchmarks.segment", "--child", way, scene, model, folder]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        print(f"{way}: ended with status {status}", file=sys.stderr)
        return {}
    found: Found = json.loads(output.splitlines()[-1])
    return found and found | {"rss": usage.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[5000, 10_000, 20_000])
    parser.add_argument("--ways", nargs="+", default=["geoseg", *list(WAYS)[4:]], choices=WAYS)
    parser.add_argument("--model", type=Path, help="default: a U-Net of random weights")
    parser.add_argument("--width", type=int, default=16, help="of that U-Net")
    parser.add_argument("--folder", type=Path, help="where scenes and products go for a while")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, *paths = options.child
        _child(way, *map(Path, paths))
        return
    print("| side | way | wall, s | wall / limit | forward px / px | peak RSS, MB | x geoseg |")
    print("| --: | :-- | --: | --: | --: | --: | --: |")
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model = options.model or small_unet(folder / "unet.safetensors", options.width)
        for side in options.sides:
            scene = draw_scene(folder / f"{side}.tif", side)
            base: float | None = None
            for way in options.ways:
                found = measured(way, scene, model)
                if not found:
                    continue
                base = base or found["wall"]
                limit = f"{found['wall'] / found['limit']:.3f}" if "limit" in found else "–"
                forward = f"{found['forward'] / side**2:.2f}" if "forward" in found else "–"
                print(
                    f"| {side:,} | {way} | {found['wall']:.1f} | {limit} | {forward} "
                    f"| {found['rss']:,.0f} | {found['wall'] / base:.2f} |",
                    flush=True,
                )
            scene.unlink()


if __name__ == "__main__":
    main()
