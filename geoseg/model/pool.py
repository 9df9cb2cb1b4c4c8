"""Working at a fraction of the input's resolution: a quarter of the arithmetic at a half, and twice the context.

Logits are brought back by bilinear interpolation, except while a network is being trained: there the loss looks at
them as they are, since 16 classes at full resolution would double the cost of a step.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def shrunk(image: Tensor, pool: int) -> Tensor:
    """(N, bands, H, W) → (N, bands, H / pool, W / pool), means of squares of `pool` pixels"""
    return F.avg_pool2d(image, pool) if pool > 1 else image


def regrown(logits: Tensor, pool: int, *, training: bool) -> Tensor:
    """(N, classes, h, w) → (N, classes, h * pool, w * pool), or as they are while training"""
    if pool == 1 or training:
        return logits
    return F.interpolate(logits, scale_factor=float(pool), mode="bilinear")
