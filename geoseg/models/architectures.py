"""Architectures by name: those of geoseg, and those of other packages under the entry point ``geoseg.architectures``.

An architecture is a callable ``(bands, classes, **parameters) -> nn.Module`` whose module has an integer `stride`,
and `object_outputs` if it predicts objects, see `geoseg.models.objects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from geoseg.errors import ModelError
from geoseg.models.deeplab import DeepLab
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.two_scale_unet import TwoScaleUNet
from geoseg.models.unet import UNet

Architecture = Callable[..., nn.Module]

_OURS: dict[str, Architecture] = {
    "unet": UNet,
    "mobile-unet": MobileUNet,
    "two-scale-unet": TwoScaleUNet,
    "deeplab": DeepLab,
}


def list_architectures() -> dict[str, Architecture]:
    """Return all architectures by name. Those of geoseg cannot be replaced."""
    theirs = {e.name: e.load() for e in entry_points(group="geoseg.architectures")}
    return theirs | _OURS


def build(name: str, bands: int, classes: int, parameters: Mapping[str, Any]) -> nn.Module:
    """Build a network with random weights.

    Parameters
    ----------
    name
        Architecture.
    bands, classes
        Channels of its input and output.
    parameters
        Keyword arguments of the architecture.

    Raises
    ------
    ModelError
        If the name is unknown, or the architecture does not accept the parameters.
    """
    known = _OURS if name in _OURS else list_architectures()
    if name not in known:
        raise ModelError(f"unknown architecture {name!r}. Known: {', '.join(sorted(known))}")
    try:
        return known[name](bands, classes, **parameters)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"architecture {name!r} does not accept {dict(parameters)}: {error}. Correct its parameters"
        ) from error
