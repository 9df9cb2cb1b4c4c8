"""The receptive field of a network, measured by the propagation of NaN.

A NaN in the input survives every convolution, pooling and activation that touches it, so the pixels whose logits are
NaN are exactly those that depend on it, whatever the weights.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
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
    Measured in double precision, whose convolutions do not multiply pixels outside their kernel. Ordinary
    convolutions are replaced by `SpreadNaN`, which takes a few seconds where they take minutes.
    """
    probe = replace_convolutions(copy.deepcopy(network).cpu().double().eval())
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


class SpreadNaN(nn.Module):
    """Compute where a convolution has NaN, 0 elsewhere, without multiplying.

    Parameters
    ----------
    convolution
        Convolution with a padding of zeros, in one group or with one group per input channel.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.channels, self.depthwise = convolution.out_channels, convolution.groups > 1
        self.kernel, self.stride = convolution.kernel_size, convolution.stride
        self.padding, self.dilation = convolution.padding, convolution.dilation

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, h, w)."""
        touched = features.isnan()
        if not self.depthwise:
            touched = touched.any(dim=1, keepdim=True)
        assert not isinstance(self.padding, str)
        rows, columns = self.padding
        padded = F.pad(touched.to(torch.float32), (columns, columns, rows, rows))
        spread = F.max_pool2d(padded, self.kernel, self.stride, 0, self.dilation)
        values = torch.zeros_like(spread, dtype=features.dtype).masked_fill_(spread > 0, torch.nan)
        return values if self.depthwise else values.expand(-1, self.channels, -1, -1).clone()

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """True for a convolution that can be replaced."""
        return (
            type(module) is nn.Conv2d
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
            and (module.groups == 1 or module.groups == module.in_channels == module.out_channels)
        )


def replace_convolutions(network: nn.Module) -> nn.Module:
    """Replace the convolutions of a network by `SpreadNaN`, in place, and return it."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if SpreadNaN.fits(child):
                assert isinstance(child, nn.Conv2d)
                setattr(module, name, SpreadNaN(child))
    return network


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
