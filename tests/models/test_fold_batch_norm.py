"""Folding batch norm does not change the function."""

from __future__ import annotations

import torch
from torch import nn

from geoseg.models.layers import fold_batch_norm
from geoseg.models.mobile_unet import MobileUNet
from tests.scenes import tiny_network


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_folded_u_net_has_no_batch_norm_and_the_same_logits() -> None:
    network = tiny_network()
    image = torch.randn(2, 3, 32, 48)
    with torch.inference_mode():
        before = network(image)
        after = fold_batch_norm(network)(image)
    assert torch.allclose(before, after, atol=1e-5)
    assert norms(fold_batch_norm(network)) == 0
    assert norms(network) > 0  # the original is unchanged


def test_a_folded_mobile_u_net_has_no_batch_norm_and_the_same_logits() -> None:
    torch.manual_seed(0)
    network = MobileUNet(3, 4).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(network(image), fold_batch_norm(network)(image), atol=1e-4)
    assert norms(fold_batch_norm(network)) == 0


def test_a_batch_norm_before_its_convolution_stays() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)).eval()
    assert norms(fold_batch_norm(network)) == 1
