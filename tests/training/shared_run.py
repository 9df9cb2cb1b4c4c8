"""A few steps of a run, alone or under torchrun, for `test_distributed`.

    python shared_run.py DATASET BATCH_SIZE ACCUMULATE OUTPUT

The network has no batch statistics, so that processes that share a batch can do what one process does with all of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from geoseg.models import architectures
from geoseg.training.config import parse_config
from geoseg.training.distributed import connect_processes
from geoseg.training.loading import Batch
from geoseg.training.run import TrainingRun

STEPS = 3


class Plain(nn.Module):
    """Convolutions only."""

    stride = 2

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(bands, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 3, padding=1)
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits


def digests(parts: Sequence[Batch]) -> list[str]:
    """Of every window, one by one."""
    return [
        hashlib.sha256(pixels.numpy().tobytes() + truth.numpy().tobytes()).hexdigest()
        for batch in parts
        for pixels, truth in zip(batch.inputs, batch.labels, strict=True)
    ]


def main(dataset: str, batch_size: int, accumulate: int, output: Path) -> None:
    architectures._OURS["plain"] = Plain
    config = parse_config(
        {
            "data": {"dataset": dataset, "window": 96},
            "network": {"architecture": "plain", "mean": [120.0] * 3, "std": [40.0] * 3},
            "loss": {"weights": "sqrt", "dice": 1.0, "focal": 1.0, "smoothing": 0.1},
            "augment": {"rotate": 1.0, "scale": [0.3, 0.6]},  # windows reach beyond the scenes
            "training": {
                "steps": STEPS,
                "batch_size": batch_size,
                "accumulate": accumulate,
                "warmup": 0,
                "learning_rate": 0.01,
                "validation_windows": 5,
            },
        },
        "test",
    )
    torch.set_num_threads(1)
    with connect_processes("cpu") as shared:
        run = TrainingRun(config, "cpu", shared)
        windows, losses, slopes = [], [], {}
        with run.load_steps() as steps:
            for step, parts in enumerate(steps):
                windows.append(digests(parts))
                run.train_step(parts)
                losses.append(run.losses[-1])
                if step == 0:
                    named = run.trainer.network.named_parameters()
                    slopes = {n: p.grad.clone() for n, p in named if p.grad is not None}
        facts = {"windows": windows, "losses": losses, "miou": run.best_miou}
        (output / f"{shared.rank}.json").write_text(json.dumps(facts), encoding="utf-8")
        weights = {n: t.contiguous() for n, t in run.trainer.network.state_dict().items()}
        save_file(
            {f"weights/{n}": t for n, t in weights.items()}
            | {f"slopes/{n}": t.contiguous() for n, t in slopes.items()},
            output / f"{shared.rank}.safetensors",
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
