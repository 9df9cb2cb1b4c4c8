"""On a GPU: the same steps, the same labels, within the memory that was allowed. Skipped where there is none."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.unet import UNet
from geoseg.tools.evaluate import evaluate
from geoseg.training.config import LossSection, TrainConfig, TrainingSection, parse_config
from geoseg.training.loading import Batch
from geoseg.training.trainer import Trainer
from tests.calls import segment, train
from tests.scenes import write_scene
from tests.synthetic_dataset import COLOURS, dataset
from tests.tools.test_train import stop_after

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

PRECISIONS = ["float32", "bfloat16", "float16"]


def losses(network: nn.Module, device: str, precision: str) -> list[float]:
    """Of ten steps on the same windows."""
    settings = TrainingSection(warmup=0, learning_rate=1e-3, precision=precision)  # type: ignore[arg-type]
    config = TrainConfig(training=settings, loss=LossSection(dice=1.0, focal=1.0, smoothing=0.1))
    learner = Trainer(network, np.array([0.5, 1, 2, 4.0]), config, device)
    return [learner.train_step([batch(n % 2, device)]) for n in range(10)]


def batch(seed: int, device: str) -> Batch:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (4, 16, 16)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    inputs = rng.normal(size=(4, 3, 128, 128)).astype(np.float32)
    inputs[:, 0] += labels
    labels[:, :20] = 255
    images = torch.from_numpy(inputs).to(memory_format=torch.channels_last)
    return Batch(images.to(device), torch.from_numpy(labels).to(device))


def test_the_steps_on_a_gpu_are_those_on_a_cpu() -> None:
    found = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        found[device] = losses(UNet(3, 4, width=8, depth=2), device, "float32")
    assert found["cuda"] == pytest.approx(found["cpu"], rel=2e-2)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_network_learns_in_any_precision(precision: str) -> None:
    torch.manual_seed(0)
    found = losses(MobileUNet(3, 4, pool=1), "cuda", precision)
    assert found[-1] < 0.8 * found[0]


def config(drawn: Path, precision: str) -> TrainConfig:
    return parse_config(
        {
            "data": {"dataset": str(drawn), "window": 64},
            "network": {"architecture": "unet", "parameters": {"width": 16, "depth": 2}},
            "loss": {"weights": "sqrt"},
            "training": {
                "steps": 150,
                "batch_size": 8,
                "learning_rate": 0.01,
                "warmup": 5,
                "ema": 0.9,
                "precision": precision,
                "validate_every": 50,
                "checkpoint_every": 10,
            },
        },
        "test",
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_that_was_stopped_goes_on(drawn: Path, tmp_path: Path, precision: str) -> None:
    model = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn, precision), model, device="cuda", track=stop_after(60))
    result = train(config(drawn, precision), model, device="cuda", resume=True, workers=2)
    lines = [json.loads(line) for line in result.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(10, 151, 10))
    assert all(a["seconds"] < b["seconds"] for a, b in pairwise(lines))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert result.miou > 0.7


@pytest.fixture(scope="module")
def model(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("model") / "m.safetensors"
    return train(config(drawn, "bfloat16"), output, device="cuda").model


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,000 pixels a side: rectangles in the classes' colours."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(110, 140, (3, 4000, 4000), np.uint8)
    for colour in (*COLOURS.values(), (200, 200, 60)):
        for top, left in rng.integers(0, 3900, (300, 2)):
            height, width = rng.integers(15, 90, 2)
            pixels[:, top : top + height, left : left + width] = np.reshape(colour, (3, 1, 1))
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    write_scene(path, pixels)
    return path


def labels_of(scene: Path, output: Path, model: Path | None, **how: object) -> np.ndarray:
    """Labels and confidence (2, H, W)."""
    labels, sure = output.with_suffix(".labels.tif"), output.with_suffix(".confidence.tif")
    segment(scene, output, model=model, labels=labels, confidence=sure, **how)
    planes = []
    for path in (labels, sure):
        with rasterio.open(path) as raster:
            planes.append(raster.read(1))
    return np.stack(planes)


@pytest.mark.parametrize("shipped", [False, True])
def test_a_gpu_decides_as_a_cpu_does_but_where_it_is_a_toss_up(
    scene: Path, model: Path, tmp_path: Path, shipped: bool
) -> None:
    which = None if shipped else model
    cpu = labels_of(scene, tmp_path / "cpu.gpkg", which, device="cpu")
    gpu = labels_of(scene, tmp_path / "gpu.gpkg", which, device="cuda")
    differ = cpu[0] != gpu[0]
    print(f"{differ.mean():.2e} of the labels differ")
    assert differ.mean() < (1e-2 if shipped else 1e-4)
    gap = np.abs(cpu[1].astype(int) - gpu[1])
    assert np.quantile(gap, 0.99) <= 4  # of 200


def test_the_labels_of_a_gpu_do_not_depend_on_tiles(
    scene: Path, model: Path, tmp_path: Path
) -> None:
    large = labels_of(scene, tmp_path / "a.gpkg", model, device="cuda", margin="exact", core=2048)
    small = labels_of(
        scene, tmp_path / "b.gpkg", model, device="cuda", margin="exact", core=640, batch_size=4
    )
    assert (large[0] != small[0]).mean() < 1e-4  # half precision, and kernels chosen by size


def test_a_gpu_takes_no_more_memory_than_it_may(scene: Path, model: Path, tmp_path: Path) -> None:
    for which in (model, None):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        labels_of(scene, tmp_path / f"{which is None}.gpkg", which, device="cuda", memory=1 << 30)
        peak = torch.cuda.max_memory_allocated() - before
        print(f"{peak / 2**20:.0f} MiB of 1024")
        assert peak <= 1 << 30


def test_scores_are_those_of_a_cpu(drawn: Path, model: Path) -> None:
    (cpu,), (gpu,) = (evaluate(drawn, model=model, device=device) for device in ("cpu", "cuda"))
    assert gpu.scores.mean_iou() == pytest.approx(cpu.scores.mean_iou(), abs=2e-3)
