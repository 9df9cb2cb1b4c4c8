"""Batch norm folded into the convolution before it: the same function, fewer passes over memory."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


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
