"""Architectures by name: ours, and those that other packages offer under the entry point ``geoseg.architectures``.

An architecture is a callable ``(bands, classes, **parameters) -> nn.Module`` whose module has an integer `stride`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from geoseg.errors import ModelError
from geoseg.models.deeplab import DeepLab
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.unet import UNet

Architecture = Callable[..., nn.Module]

_OURS: dict[str, Architecture] = {"unet": UNet, "mobile-unet": MobileUNet, "deeplab": DeepLab}


def architectures() -> dict[str, Architecture]:
    """Every architecture that can be named; ours cannot be replaced."""
    theirs = {e.name: e.load() for e in entry_points(group="geoseg.architectures")}
    return theirs | _OURS


def build(name: str, bands: int, classes: int, parameters: Mapping[str, Any]) -> nn.Module:
    """A network with fresh weights. Raises ModelError for an unknown name or parameters that it does not take."""
    known = _OURS if name in _OURS else architectures()
    if name not in known:
        raise ModelError(f"unknown architecture {name!r}. known: {', '.join(sorted(known))}")
    try:
        return known[name](bands, classes, **parameters)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"architecture {name!r} does not take {dict(parameters)}: {error}"
        ) from error
