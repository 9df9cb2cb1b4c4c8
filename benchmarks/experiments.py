"""Ablation of the measures against class imbalance at equal compute: mIoU, absolute and relative.

    python -m benchmarks.experiments DATASET [--rows baseline weights-sqrt full] [--budget 3.0] [--seeds N]

Each row is a configuration of configs/ablation/, trained for as many steps as the budget of forward and backward
FLOPs allows, and scored on the whole validation split. Results are stored in FOLDER/results.jsonl and not computed
again; an interrupted row resumes from its checkpoint. The page is updated after every row.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.experiments_page import format_page
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError
from geoseg.files import replacing, write_json_lines
from geoseg.models.architectures import build
from geoseg.options import TrainOptions
from geoseg.tools.evaluate import evaluate
from geoseg.tools.train import train
from geoseg.training.config import TrainConfig, read_config
from geoseg.training.inheritance import DEFAULT_ARCHITECTURE

CONFIGS = Path(__file__).parent.parent / "configs" / "ablation"
PAGE = Path(__file__).parent.parent / "docs" / "experiments.md"
ROWS = (
    *("baseline", "weights-inverse", "weights-inverse-cap", "weights-sqrt", "weights-enet"),
    *("weights-effective", "sampling-balanced", "sampling-background", "augment-flips"),
    *(
        "augment-rotate",
        "augment-scale",
        "augment-colour",
        "augment-blur-noise",
        "augment-copy-paste",
    ),
    *("loss-dice", "loss-focal", "loss-smoothing", "logit-adjustment", "network-scratch"),
    *("network-unet-scratch", "network-deeplab", "full"),
    *("without-weights", "without-balanced", "without-dice", "without-rotation"),
    *("without-scale", "without-colour", "without-copy-paste", "without-logit-adjustment"),
)
TWICE = ("baseline", "full")
"""Rows with a second seed by default, since all others are compared with them."""

log = logging.getLogger("experiments")


@dataclass(frozen=True, slots=True)
class Row:
    """Result of one run."""

    name: str
    seed: int

    key: str
    """Digest of configuration and dataset."""

    budget: float
    """Compute budget in TFLOP."""

    settings: list[str]
    """Settings in addition to the configuration file, equal for all rows."""

    about: str
    steps: int
    windows: int

    tflop: float
    """TFLOP of forward and backward passes."""

    seconds: float
    """Training time in seconds with `threads` threads."""

    threads: int
    scores: dict[str, dict[str, Any]]
    """Annotation layer to evaluation as JSON."""


def step_flops(config: TrainConfig, bands: int, classes: int) -> int:
    """Count the FLOPs of a training step on the meta device.

    The backward pass is counted as twice the forward pass; PyTorch's own count of it treats grouped convolutions as
    dense ones.
    """
    network, size = config.network, config.data.window
    batch = config.training.batch_size * config.training.accumulate
    architecture = network.architecture or DEFAULT_ARCHITECTURE
    with torch.device("meta"):
        built = build(architecture, bands, classes, network.parameters or {})
        images = torch.empty(batch, bands, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built.train()(images)
    return 3 * int(counter.get_total_flops())


def limit_steps(config: TrainConfig, flops: int, budget: float) -> TrainConfig:
    """Set the steps to what `budget` TFLOP allow, with one validation at the end.

    Raises ConfigError if the budget is below one step.
    """
    steps = int(budget * 1e12 / flops)
    if not steps:
        raise ConfigError(
            f"--budget {budget}: a step takes {flops / 1e12:.3f} TFLOP. Raise the budget"
        )
    changes = {
        "steps": steps,
        "warmup": min(config.training.warmup, steps // 5),
        "validate_every": steps,
        "checkpoint_every": max(1, steps // 10),
    }
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})


def run_row(name: str, seed: int, settings: Sequence[str], args: argparse.Namespace) -> Row | None:
    """Train and score one row; None if its result exists."""
    path = args.configs / f"{name}.toml"
    config = read_config(path, [f"data.dataset={args.dataset}", *settings, f"training.seed={seed}"])
    dataset = Dataset.open(args.dataset)
    flops = step_flops(config, dataset.bands, len(dataset.legend))
    config = limit_steps(config, flops, args.budget)
    key = hash_run(config, dataset)
    if any(row.key == key for row in read_results(args.folder)):
        log.info("%s, seed %d: result exists", name, seed)
        return None
    model = args.folder / f"{name}-{seed}-{key}.safetensors"
    resume = model.with_suffix(".checkpoint.safetensors").is_file()
    log.info("%s, seed %d: %d steps", name, seed, config.training.steps)
    began = time.monotonic()
    train(
        config,
        model,
        options=TrainOptions(resume=resume, overwrite=True),
        device=args.device,
    )
    seconds = time.monotonic() - began
    evaluations = evaluate(args.dataset, model=model, device=args.device)
    training = config.training
    return Row(
        name=name,
        seed=seed,
        key=key,
        budget=args.budget,
        settings=list(settings),
        about=path.read_text(encoding="utf-8").splitlines()[0].lstrip("# "),
        steps=training.steps,
        windows=training.steps * training.batch_size * training.accumulate,
        tflop=round(flops * training.steps / 1e12, 3),
        seconds=round(seconds, 1),
        threads=torch.get_num_threads(),
        scores={e.layer: e.to_json() for e in evaluations},
    )


def hash_run(config: TrainConfig, dataset: Dataset) -> str:
    """Hash the configuration without the path of the dataset, and the scenes of the dataset."""
    text = config.model_dump_json(exclude={"data": {"dataset"}, "card": True})
    facts = [text, *(f"{s.name} {s.split} {s.width} {s.height}" for s in dataset.scenes)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def read_results(folder: Path) -> list[Row]:
    """Read the stored results."""
    file = folder / "results.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [Row(**json.loads(line)) for line in lines]


def store_results(rows: Sequence[Row], args: argparse.Namespace) -> None:
    """Write the results, and the page of those with the same budget and settings."""
    write_json_lines(args.folder / "results.jsonl", [asdict(row) for row in rows])
    comparable = {
        (row.name, row.seed): asdict(row)  # the last one if the configuration changed
        for row in rows
        if row.budget == args.budget and row.settings == args.set
    }
    with replacing(args.page, overwrite=True) as scratch:
        scratch.write_text(format_page(list(comparable.values())), encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    """Run the rows and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path, help="dataset folder with the splits train and val")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME")
    parser.add_argument(
        "--budget", type=float, default=3.0, help="training compute of each row in TFLOP"
    )
    parser.add_argument(
        "--seeds", type=int, help="seeds of every row [default: 2 for baseline and full, else 1]"
    )
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--configs", type=Path, default=CONFIGS)
    parser.add_argument("--folder", type=Path, default=Path("runs/experiments"))
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args.folder.mkdir(parents=True, exist_ok=True)
    seeds = {name: args.seeds or 1 + (name in TWICE) for name in args.rows}
    # all rows once before the second seeds
    for seed in range(max(seeds.values())):
        for name in args.rows:
            if seed < seeds[name] and (row := run_row(name, seed, args.set, args)):
                store_results([*read_results(args.folder), row], args)
    store_results(read_results(args.folder), args)


if __name__ == "__main__":
    main()
