"""The encoder of EfficientNet-Lite0, so that weights learned on ImageNet can be put in.

That of Tan and Le 2019 (arXiv 1905.11946) in its Lite form (no squeeze-excite, ReLU6), written here from scratch;
kernels, strides and paddings are those of the published weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError

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
_LAST = (0, 1, 2, 4)  # stages whose output is the last at its resolution: 1/2, 1/4, 1/8, 1/16
CHANNELS = (16, 24, 40, 112, 320)
"""Of the features that the encoder gives, finest first."""


class Encoder(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    With an `output_stride` of 16 its last stages keep the resolution and reach as far by dilation (Chen et al.
    2017, arXiv 1706.05587); the weights are the same.
    """

    def __init__(self, bands: int, *, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in (16, 32):
            raise ValueError(f"output_stride is 16 or 32, got {output_stride}")
        self.stem = conv(bands, 32, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        inputs = 32
        done = dilation = 1  # beyond the stem's 2
        for repeats, kernel, step, expansion, outputs in _STAGES:
            stride = step if done * step * 2 <= output_stride else 1
            blocks = [Inverted(inputs, outputs, kernel, stride, expansion, dilation)]
            done, dilation = done * stride, dilation * step // stride
            blocks += [
                Inverted(outputs, outputs, kernel, 1, expansion, dilation)
                for _ in range(repeats - 1)
            ]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, bands, H, W) → features at 1/2, 1/4, 1/8, 1/16 and 1 / output_stride of H and W"""
        features = self.stem(image)
        pyramid = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in _LAST:
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

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, dilation: int
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *([conv(inputs, inner, kernel=1)] if expansion > 1 else []),
            conv(inner, inner, kernel=kernel, stride=stride, groups=inner, dilation=dilation),
            conv(inner, outputs, kernel=1, activation=nn.Identity()),
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


def conv(
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """A convolution that keeps the size (or halves it, with stride 2), batch norm, and ReLU6 or `activation`."""
    padding = dilation * (kernel // 2) if stride == 1 else 0
    return nn.Sequential(
        *([_SamePadding(kernel)] if stride == 2 else []),
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        activation if activation is not None else nn.ReLU6(inplace=True),
    )
