"""The receptive field of a network, measured by the propagation of NaN.

A NaN in the input survives every convolution, pooling and activation that touches it, so the pixels whose logits are
NaN are exactly those that depend on it, whatever the weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_MAX_LENGTH = 8192


def measure_context(network: nn.Module, *, bands: int, stride: int) -> int | None:
    """Measure how far beyond a core its logits depend on the input.

    Parameters
    ----------
    network
        Any module from (N, bands, H, W) to (N, classes, H, W).
    bands
        Bands of the input.
    stride
        Cores begin and end at multiples of this.

    Returns
    -------
    int or None
        Pixels, the largest of both axes and directions; None if the context is unbounded (global pooling,
        attention) or beyond 2048 pixels.

    Notes
    -----
    Measured in double precision, whose convolutions do not multiply pixels outside their kernel.
    """
    probe = copy.deepcopy(network).cpu().double().eval()
    length = 16 * stride
    while length <= _MAX_LENGTH:
        reach = max(
            _measure_reach(probe, bands, stride, length, axis, side)
            for axis in (2, 3)
            for side in (0, 1)
        )
        if reach < length // 4:
            return reach
        length *= 2
    return None


@torch.inference_mode()
def _measure_reach(
    probe: nn.Module, bands: int, stride: int, length: int, axis: int, side: int
) -> int:
    """Measure how far NaN spreads from one half of a strip (side 0: the first) into the other."""
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
