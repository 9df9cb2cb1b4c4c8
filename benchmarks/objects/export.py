"""Convert a checkpoint of the trainer that `benchmarks/objects` had before `geoseg train` to a model file.

    python -m benchmarks.objects.export CHECKPOINT MODEL.safetensors [--config configs/dota-objects.toml]
        [--rules RULES.json] [--log LOG.jsonl] [--start shipped] [--scenes N] [--overwrite]

CHECKPOINT may have more object outputs than the network of geoseg; those after the first two are dropped. The card gets
the texts and settings of the configuration, the object rules of RULES (JSON data of `ObjectRules`; by default those for
all classes), the hours of the log, and the context of the network, measured. `--start` names the model that the
training started from, whose terms apply.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from geoseg._version import __version__
from geoseg.annotations.burn import OUTLINES
from geoseg.inference.tiling import default_margin
from geoseg.legend import DOTA_V1
from geoseg.models.model_file import ModelCard, save_model
from geoseg.models.pretrained import load_pretrained
from geoseg.models.receptive_field import measure_context
from geoseg.models.two_scale_unet import TwoScaleUNet
from geoseg.polygons.object_rules import ObjectRules, default_rules
from geoseg.training.checkpoint import describe_configuration
from geoseg.training.config import TrainConfig, read_config

BANDS = 3


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], int]:
    """Read the weights of a checkpoint, as float32, and the number of steps."""
    with safe_open(path, framework="pt") as opened:
        weights = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
        return weights, int(opened.metadata()["step"])


def load_weights(network: TwoScaleUNet, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a checkpoint, which has no counters of batches and may have more object outputs.

    Raises
    ------
    ValueError
        If weights are missing or unknown.
    """
    kept = network.subpixel.out_channels
    fitting = {n: w[:kept] if n.startswith("subpixel.") else w for n, w in weights.items()}
    unread = network.load_state_dict(fitting, strict=False)
    missing = [name for name in unread.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or unread.unexpected_keys:
        raise ValueError(f"not a checkpoint: {[*missing, *unread.unexpected_keys][:3]}")


def read_rules(path: Path | None) -> ObjectRules:
    """Read object rules by class name; those for all classes without a file."""
    if path is None:
        return default_rules(len(DOTA_V1))
    return ObjectRules.from_json(json.loads(path.read_text(encoding="utf-8")), DOTA_V1)


def read_hours(log: Path | None) -> float | None:
    """Return the hours of the runs in a log of the trainer, whose seconds begin anew in each run."""
    if log is None:
        return None
    total = last = 0.0
    for line in log.read_text(encoding="utf-8").splitlines():
        seconds = float(json.loads(line)["seconds"])
        total += last if seconds < last else 0
        last = seconds
    return round((total + last) / 3600, 3)


def make_card(
    network: TwoScaleUNet, config: TrainConfig, training: Mapping[str, Any], rules: ObjectRules
) -> ModelCard:
    """Return the card of a network with a configuration."""
    context = measure_context(network, bands=BANDS, stride=network.stride)
    mean, std = config.network.mean, config.network.std
    assert mean is not None
    assert std is not None
    return ModelCard(
        architecture=config.network.architecture,
        parameters=config.network.parameters,
        legend=DOTA_V1,
        bands=BANDS,
        dtype="uint8",
        mean=mean,
        std=std,
        stride=network.stride,
        margin=default_margin(context, network.stride),
        context=context,
        pixel_size_m=config.card.pixel_size_m,
        training=dict(training),
        objects=rules,
    )


def describe_training(
    config: TrainConfig, *, steps: int, hours: float | None, scenes: int | None, start: str
) -> dict[str, Any]:
    """Return the entries of the card about data, terms and recipe."""
    ancestor = load_pretrained(TwoScaleUNet(BANDS, len(DOTA_V1)), start) or {}
    known = {"hours": hours, "scenes": scenes, "terms": config.card.terms or ancestor.get("terms")}
    return {
        **config.card.model_dump(mode="json", exclude={"pixel_size_m"}, exclude_defaults=True),
        **{name: value for name, value in known.items() if value is not None},
        "ancestor": ancestor,
        "geoseg": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "configuration": describe_configuration(config, 1),
        "layer": OUTLINES,
        "steps": steps,
        "logit_shifts": {},
    }


def main() -> None:
    """Convert a checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--config", type=Path, default=Path("configs/dota-objects.toml"))
    parser.add_argument("--rules", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--start", default="shipped")
    parser.add_argument("--scenes", type=int)
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(args.config)
    weights, steps = read_checkpoint(args.checkpoint)
    network = TwoScaleUNet(BANDS, len(DOTA_V1), **config.network.parameters)
    load_weights(network, weights)
    training = describe_training(
        config, steps=steps, hours=read_hours(args.log), scenes=args.scenes, start=args.start
    )
    card = make_card(network, config, training, read_rules(args.rules))
    save_model(args.model, network.state_dict(), card, overwrite=args.overwrite)


if __name__ == "__main__":
    main()
