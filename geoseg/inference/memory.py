"""Memory of a forward pass, measured before tiles are chosen, and the memory limit of a run."""

from __future__ import annotations

import weakref
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.overrides import TorchFunctionMode

from geoseg.models.layers import fold_batch_norm
from geoseg.models.runtime import RuntimeNetwork, free_gpu_memory

_WORKSPACE = 1.15
"""Factor on the bytes of tensors, for workspaces of convolutions and fragmentation."""

_BASE_BYTES = 450 << 20
"""Python, torch and GDAL. Other memory of the host process is not counted."""

_PIPELINE_BYTES = 350 << 20
"""Reading, writing and vectorizing."""

_UNKNOWN_NETWORK = 1000.0
"""Bytes per pixel assumed for a network whose tensors cannot be observed."""


DEFAULT_MEMORY = 2_000_000_000
"""Memory limit of a run on the CPU, in bytes."""

_GPU_MEMORY = "gpu_memory"


def memory_limit(device: str, work: Path | None = None) -> int:
    """Return the memory limit of a run on `device` in bytes, unless the user sets one.

    It is 2 GB, or the free memory of the GPU. The latter changes with other programs, so the folder `work`
    of a run stores it: a resumed run chooses the same tiles.
    """
    stored = None if work is None else work / _GPU_MEMORY
    if stored is not None and device == "cuda" and stored.exists():
        return int(stored.read_text(encoding="ascii"))
    free = free_gpu_memory(device)
    if free is None:
        return DEFAULT_MEMORY
    if stored is not None:
        stored.write_text(str(free), encoding="ascii", newline="\n")
    return free


@lru_cache(maxsize=8)  # many scenes, one network
def forward_bytes_per_pixel(network: nn.Module, *, bands: int, stride: int) -> float:
    """Measure the peak bytes of tensors in a forward pass, per pixel of the window.

    The pass is over a small window, with batch norm folded as for inference; every tensor grows in proportion to the
    window.
    """
    if isinstance(network, RuntimeNetwork):
        return _UNKNOWN_NETWORK
    side, folded = 2 * stride, fold_batch_norm(network)
    counter = _TensorBytes()
    with torch.inference_mode(), counter:
        image = torch.zeros((1, bands, side, side))
        counter.add(image)
        folded(image)
    return counter.peak / side**2


def largest_window(
    network: nn.Module, *, bands: int, stride: int, limit: int, pixel_bytes: float, on_gpu: bool
) -> int:
    """Return the pixels of the largest window that fits in memory.

    The result depends on the arguments only, so that an interrupted run chooses the same tiles again.

    Parameters
    ----------
    network
        In eval mode, on the CPU.
    bands, stride
        Of the network.
    limit
        Bytes: of the GPU, or of a process that does nothing else on the CPU.
    pixel_bytes
        Bytes per pixel of the window outside the network.
    on_gpu
        True if the network does not run in the memory of the process.
    """
    available = limit if on_gpu else limit - _BASE_BYTES - _PIPELINE_BYTES
    network_bytes = forward_bytes_per_pixel(network, bands=bands, stride=stride) * _WORKSPACE
    return int(max(available, 0) / (network_bytes + pixel_bytes))


class _TensorBytes(TorchFunctionMode):
    """Counts the bytes of the storages of live tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._bytes = 0
        self._references: Counter[int] = Counter()

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, tuple | list) else (result,):
            if isinstance(output, Tensor):
                self.add(output)
        return result

    def add(self, tensor: Tensor) -> None:
        """Count a tensor until it is released."""
        with DisableTorchFunction():
            self._add(tensor)

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self._references[key]:
            self._bytes += size
            self.peak = max(self.peak, self._bytes)
        self._references[key] += 1
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._references[key] -= 1
        if not self._references[key]:
            self._bytes -= size
