"""Working at a fraction of the input's resolution: a quarter of the arithmetic at a half, and twice the context.

Logits are brought back by bilinear interpolation, except while a network is being trained: there the loss looks at
them as they are, since 16 classes at full resolution would double the cost of a step.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def shrunk(image: Tensor, pool: int) -> Tensor:
    """(N, bands, H, W) → (N, bands, H / pool, W / pool), means of squares of `pool` pixels"""
    return F.avg_pool2d(image, pool) if pool > 1 else image


def regrown(logits: Tensor, pool: int, *, training: bool) -> Tensor:
    """(N, classes, h, w) → (N, classes, h * pool, w * pool), or as they are while training"""
    if pool == 1 or training:
        return logits
    return F.interpolate(logits, scale_factor=float(pool), mode="bilinear")


# Batch norm folded into the convolution before it: the same function, fewer passes over memory.


def folded(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode in which each BatchNorm2d that follows a Conv2d in an
    nn.Sequential is folded into it.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for (before, conv), (after, norm) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module.register_module(before, fuse_conv_bn_eval(conv, norm))
                    module.register_module(after, nn.Identity())
    return network
