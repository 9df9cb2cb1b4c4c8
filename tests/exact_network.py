"""A U-Net with object outputs whose arithmetic is exact, so that predictions are the same for any tiling.

Weights are -1, 0 and 1, and the input has few binary digits: all sums are exact in float32, in any order.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from geoseg.models.model_file import ModelCard, save_model
from geoseg.models.unet import UNet
from tests.scenes import LEGEND, RULES, picture

_TERMS = 3  # weights per channel that are not 0


def exact_network(*, seed: int) -> UNet:
    """Return a network of random weights whose logits are multiples of 1/256."""
    generator = torch.Generator().manual_seed(seed)
    network = UNet(3, len(LEGEND), width=4, depth=1, objects=True).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            _draw_weights(module, generator)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.weight.copy_((module.running_var + module.eps).sqrt())
    usual_input = (torch.from_numpy(picture(96, 96, seed=9)).float()[None] - 128) / 64
    spread, usual = torch.std_mean(network(usual_input), dim=(0, 2, 3))
    scale = 2 ** (1 - spread.clamp_min(0.1).log2().round())
    network.head.weight *= scale.reshape(-1, 1, 1, 1)
    assert network.head.bias is not None
    network.head.bias.copy_(-(usual * scale * 4).round() / 4)
    network.head.bias[-1] -= 2  # few objects touch
    return network


def _draw_weights(conv: nn.Conv2d | nn.ConvTranspose2d, generator: torch.Generator) -> None:
    outputs = 0 if isinstance(conv, nn.Conv2d) else 1
    weight = torch.zeros_like(conv.weight.movedim(outputs, 0))
    for row in weight.flatten(1):
        chosen = torch.randperm(row.numel(), generator=generator)[:_TERMS]
        row[chosen] = torch.randint(0, 2, (_TERMS,), generator=generator) * 2.0 - 1
    conv.weight.copy_(weight.movedim(0, outputs))
    if conv.bias is not None:
        conv.bias.zero_()


def exact_model_file(path: Path, *, seed: int = 0) -> Path:
    """Write the network as a model file."""
    card = ModelCard(
        architecture="unet",
        parameters={"width": 4, "depth": 1, "objects": True},
        legend=LEGEND,
        bands=3,
        dtype="uint8",
        mean=(128.0,) * 3,
        std=(64.0,) * 3,
        stride=2,
        margin=0,
        objects=RULES,
    )
    return save_model(path, exact_network(seed=seed).state_dict(), card, half=False)
