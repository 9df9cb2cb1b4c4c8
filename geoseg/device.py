"""Where a network runs."""

from __future__ import annotations

import torch

from geoseg.errors import ConfigError


def gpu_bytes(device: str) -> int | None:
    """Four fifths of a GPU's memory; None for a device that shares the machine's."""
    return torch.cuda.mem_get_info()[1] * 4 // 5 if device == "cuda" else None


def choose_device(name: str) -> str:
    """``auto`` is the first of cuda, mps and cpu that is there. Raises ConfigError for one that is not."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, available in there.items() if available)
    if name not in there:
        raise ConfigError(f"device {name!r}: not one of auto, cpu, cuda, mps")
    if not there[name]:
        raise ConfigError(
            f"device {name!r}: this machine or this build of torch has none. use --device auto"
        )
    return name
