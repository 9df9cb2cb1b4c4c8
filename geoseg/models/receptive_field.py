"""The receptive field of a network, found by watching how far a NaN spreads.

A NaN that is put into an input survives every convolution, pooling and activation that it touches, so the
pixels whose logits are NaN are exactly those that could ever depend on it, whatever the weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_LONGEST = 8192


def context(network: nn.Module, *, bands: int, stride: int) -> int | None:
    """How many pixels beyond a core that begins and ends at multiples of `stride` its logits depend on.

    Measured along both axes, on a strip in double precision (whose convolutions multiply no pixel that lies
    outside their kernel). None if the context is not finite (or beyond 2048 pixels), as with global pooling
    or attention.
    """
    probe = copy.deepcopy(network).cpu().double().eval()
    length = 16 * stride
    while length <= _LONGEST:
        reach = max(
            _reach(probe, bands, stride, length, axis, side) for axis in (2, 3) for side in (0, 1)
        )
        if reach < length // 4:
            return reach
        length *= 2
    return None


@torch.inference_mode()
def _reach(probe: nn.Module, bands: int, stride: int, length: int, axis: int, side: int) -> int:
    shape = [1, bands, stride, stride]
    shape[axis] = length
    middle = length // 2 // stride * stride
    image = torch.rand(shape, dtype=torch.float64)
    half = (
        image.narrow(axis, 0, middle) if side == 0 else image.narrow(axis, middle, length - middle)
    )
    half.fill_(float("nan"))
    touched: Tensor = probe(image).isnan().any(dim=1)[0].any(dim=3 - axis).nonzero().flatten()
    return int(touched.max()) - middle + 1 if side == 0 else middle - int(touched.min())
