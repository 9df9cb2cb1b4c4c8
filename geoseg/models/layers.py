"""Layers that the architectures share, and folding of batch norm for inference.

With ``pool`` above 1 a network works at a fraction of the input's resolution: 1/2 takes a quarter of the arithmetic
and has twice the context. In eval mode its logits are upsampled to the input's resolution; in training mode the loss
compares them at their own resolution, since 16 classes at full resolution would double the cost of a step.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def downsample_input(image: Tensor, pool: int) -> Tensor:
    """(N, bands, H, W) → (N, bands, H / pool, W / pool), by averaging."""
    return F.avg_pool2d(image, pool) if pool > 1 else image


def upsample_logits(logits: Tensor, pool: int, *, training: bool) -> Tensor:
    """(N, classes, h, w) → (N, classes, h * pool, w * pool), bilinear; unchanged in training mode."""
    if pool == 1 or training:
        return logits
    return F.interpolate(logits, scale_factor=float(pool), mode="bilinear")


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode with each BatchNorm2d folded into the Conv2d before it.

    The function is the same, with fewer passes over memory. Pairs are found in every nn.Sequential.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for (before, conv), (after, norm) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module.register_module(before, fuse_conv_bn_eval(conv, norm))
                    module.register_module(after, nn.Identity())
    return network
