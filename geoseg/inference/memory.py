"""How much memory a window takes, told before it is computed."""

from __future__ import annotations

import weakref
from collections import Counter
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.overrides import TorchFunctionMode

from geoseg.models.runtime import RuntimeNetwork

_SPARE = 1.15
"""Of what tensors take: room for what convolutions need besides, and for holes between allocations."""

_USUAL_BYTES = 450 << 20
"""What Python with torch and GDAL takes; memory that somebody's process holds besides is not the run's."""

_LATER_BYTES = 350 << 20
"""What reading, writing and outlining need besides."""


_UNSEEN = 1000.0
"""Bytes per pixel that a network whose inside cannot be watched is thought to take."""


@lru_cache(maxsize=8)  # the same network meets many scenes
def forward_bytes_per_pixel(network: nn.Module, *, bands: int, stride: int) -> float:
    """The most bytes of tensors that exist at a time in a forward pass, per pixel of the window.

    Watched in a pass over a small window; every tensor in it grows with the window.
    """
    if isinstance(network, RuntimeNetwork):
        return _UNSEEN
    side = 2 * stride
    live = _Live()
    with torch.inference_mode(), live:
        image = torch.zeros((1, bands, side, side))
        live.add(image)
        network(image)
    return live.most / side**2


def largest_window(
    network: nn.Module, *, bands: int, stride: int, limit: int, pixel_bytes: float, on_gpu: bool
) -> int:
    """Pixels of the largest window that `limit` bytes suffice for. It depends on the arguments alone, so that a
    run finds its own tiles again.

    On the CPU `limit` is that of a process that does nothing else. `network` is in eval mode on the
    CPU. `pixel_bytes` is what a pixel takes outside the network. On
    a GPU `limit` is its memory alone.
    """
    free = limit if on_gpu else limit - _USUAL_BYTES - _LATER_BYTES
    each = forward_bytes_per_pixel(network, bands=bands, stride=stride) * _SPARE + pixel_bytes
    return int(max(free, 0) / each)


class _Live(TorchFunctionMode):
    """Counts the bytes of the storages of live tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._held = 0
        self._users: Counter[int] = Counter()

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, Tensor):
                self.add(made)
        return result

    def add(self, tensor: Tensor) -> None:
        """Count a tensor until it is dropped."""
        with DisableTorchFunction():
            self._add(tensor)

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self._users[key]:
            self._held += size
            self.most = max(self.most, self._held)
        self._users[key] += 1
        weakref.finalize(tensor, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            self._held -= size
