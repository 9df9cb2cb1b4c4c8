"""A light U-Net: the encoder is EfficientNet-Lite0, so that weights learned on ImageNet can be put in.

The encoder is that of Tan and Le 2019 (arXiv 1905.11946) in its Lite form (no squeeze-excite, ReLU6),
written here from scratch; kernels, strides and paddings are those of the published weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.model.pool import regrown, shrunk

# repeats, kernel, stride, expansion, output channels of each stage of EfficientNet-Lite0
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SKIPS = (0, 1, 2, 4)  # stages whose output is the last at its resolution: 1/2, 1/4, 1/8, 1/16
_SKIP_CHANNELS = (16, 24, 40, 112)


class MobileUNet(nn.Module):
    """Logits per pixel, at the resolution of the input.

    It works at 1 / `pool` of the input's resolution, see `geoseg.model.pool`. Height and width of an input are
    multiples of `stride`.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        pool: int = 2,
        decoder: tuple[int, ...] = (96, 64, 48, 32, 24),
    ) -> None:
        super().__init__()
        self.pool = pool
        self.stride = pool * 32
        self.encoder = Encoder(bands)
        skips = (*reversed(_SKIP_CHANNELS), bands)
        self.decoder = nn.ModuleList(
            _conv(inputs + skip, outputs, kernel=3, activation=nn.ReLU(inplace=True))
            for inputs, skip, outputs in zip((320, *decoder[:-1]), skips, decoder, strict=True)
        )
        self.head = nn.Conv2d(decoder[-1], classes, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → logits (N, classes, H, W); in training mode (N, classes, H / pool, W / pool)"""
        image = shrunk(image, self.pool)
        pyramid: list[Tensor] = self.encoder(image)
        *skips, features = image, *pyramid
        for block in self.decoder:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([features, skips.pop()], dim=1))
        return regrown(self.head(features), self.pool, training=self.training)


class Encoder(nn.Module):
    """EfficientNet-Lite0 without its classifier."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.stem = _conv(bands, 32, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            blocks = [Inverted(inputs, outputs, kernel, stride, expansion)]
            blocks += [Inverted(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, bands, H, W) → features at 1/2, 1/4, 1/8, 1/16 and 1/32 of H and W"""
        features = self.stem(image)
        pyramid = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in _SKIPS:
                pyramid.append(features)
        return [*pyramid, features]

    def load_pretrained(self, weights: Path) -> None:
        """Take the weights of a published EfficientNet-Lite0 state dict; the tensors come in the same order
        there.

        Only tensors are read from the file, never code. Raises ModelError when it is not that network.
        """
        try:
            published = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises anything here, down to KeyError
            raise ModelError(f"{weights}: is no file of EfficientNet-Lite0 weights") from error
        theirs = [
            tensor
            for name, tensor in published.items()
            if not name.startswith(("_conv_head", "_bn1.", "_fc"))
        ]
        ours = self.state_dict()
        if [t.shape for t in theirs] != [t.shape for t in ours.values()]:
            raise ModelError(f"{weights}: holds another network than a 3-band EfficientNet-Lite0")
        self.load_state_dict(dict(zip(ours, theirs, strict=True)))


class Inverted(nn.Module):
    """Inverted residual: expand by 1 x 1, filter each channel by itself, project by 1 x 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *([_conv(inputs, inner, kernel=1)] if expansion > 1 else []),
            _conv(inner, inner, kernel=kernel, stride=stride, groups=inner),
            _conv(inner, outputs, kernel=1, activation=nn.Identity()),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / stride, W / stride)"""
        output: Tensor = self.layers(features)
        return features + output if self.residual else output


class _SamePadding(nn.ZeroPad2d):
    """TensorFlow's padding of a convolution with stride 2 on an even size: one pixel more on the far side."""

    def __init__(self, kernel: int) -> None:
        near, far = (kernel - 2) // 2, (kernel - 1) // 2
        super().__init__((near, far, near, far))


def _conv(
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    padding = kernel // 2 if stride == 1 else 0
    return nn.Sequential(
        *([_SamePadding(kernel)] if stride == 2 else []),
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        activation if activation is not None else nn.ReLU6(inplace=True),
    )
