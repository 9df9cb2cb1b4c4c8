"""The encoder of EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946; Lite: no squeeze-excite, ReLU6).

Kernels, strides and paddings are those of the published ImageNet weights, which `Encoder.load_pretrained` reads.
"""

from __future__ import annotations

from os import PathLike

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.input_bands import ImageInput

# repeats, kernel, stride, expansion and output channels of each stage of EfficientNet-Lite0
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SKIP_STAGES = (0, 1, 2, 4)  # last stages at their resolution: 1/2, 1/4, 1/8, 1/16
CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the encoder's features, finest first."""


class Encoder(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    Parameters
    ----------
    bands
        Bands of the input.
    output_stride
        32, or 16: then the last stages keep their resolution and have the same receptive field by dilation
        (Chen et al. 2017, arXiv 1706.05587). The weights are the same.
    """

    def __init__(self, bands: int, *, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in (16, 32):
            raise ValueError(f"output_stride is 16 or 32, got {output_stride}")
        self.image_inputs = (ImageInput("stem.1.weight"),)
        """See `geoseg.models.input_bands`."""
        self.stem = conv_norm_act(bands, 32, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        inputs = 32
        done = dilation = 1  # stride after the stem's 2
        for repeats, kernel, step, expansion, outputs in _STAGES:
            stride = step if done * step * 2 <= output_stride else 1
            blocks = [InvertedResidual(inputs, outputs, kernel, stride, expansion, dilation)]
            done, dilation = done * stride, dilation * step // stride
            blocks += [
                InvertedResidual(outputs, outputs, kernel, 1, expansion, dilation)
                for _ in range(repeats - 1)
            ]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, bands, H, W) → features (N, CHANNELS[i], h, w) at 1/2, 1/4, 1/8, 1/16 and 1 / output_stride."""
        features = self.stem(image)  # (N, 32, H / 2, W / 2)
        pyramid = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in _SKIP_STAGES:
                pyramid.append(features)
        return [*pyramid, features]

    def load_pretrained(self, weights: str | PathLike[str]) -> None:
        """Load a published EfficientNet-Lite0 state dict.

        Only tensors are read from the file, never code. Its tensors have other names and the same order.

        Raises
        ------
        ModelError
            If the file cannot be read, or holds another network.
        """
        try:
            published = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types here
            raise ModelError(
                f"{weights}: not a file of EfficientNet-Lite0 weights. Name another file"
            ) from error
        theirs = [
            tensor
            for name, tensor in published.items()
            if not name.startswith(("_conv_head", "_bn1.", "_fc"))
        ]
        ours = self.state_dict()
        if [t.shape for t in theirs] != [t.shape for t in ours.values()]:
            raise ModelError(
                f"{weights}: not the weights of an EfficientNet-Lite0 with 3 bands. Name another file"
            )
        self.load_state_dict(dict(zip(ours, theirs, strict=True)))


class InvertedResidual(nn.Module):
    """Expand channels by 1 x 1, filter each by a depthwise convolution, project by 1 x 1 (MobileNetV2)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, dilation: int
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self._pads_expanded = stride == 2 and expansion > 1
        self.layers = nn.Sequential(
            *([conv_norm_act(inputs, inner, kernel=1)] if expansion > 1 else []),
            conv_norm_act(
                inner, inner, kernel=kernel, stride=stride, groups=inner, dilation=dilation
            ),
            conv_norm_act(inner, outputs, kernel=1, activation=nn.Identity()),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / stride, W / stride)."""
        if self._pads_expanded and not (
            self.training or torch.is_grad_enabled() or torch.onnx.is_in_onnx_export()
        ):
            return self._pad_before_expanding(features)
        output: Tensor = self.layers(features)
        return features + output if self.residual else output

    def _pad_before_expanding(self, features: Tensor) -> Tensor:
        """Compute `layers` without a padded copy of the expanded channels, the largest tensor of the network."""
        expand, filters, project = self.layers
        assert isinstance(filters, nn.Sequential)
        pad, *depthwise = filters
        assert isinstance(pad, _SamePadding)
        near, far, *_ = pad.padding
        features = expand(F.pad(features, pad.padding))
        for axis in (2, 3):
            features.narrow(axis, 0, near).zero_()
            features.narrow(axis, features.shape[axis] - far, far).zero_()
        for layer in depthwise:
            features = layer(features)
        output: Tensor = project(features)
        return output


class _SamePadding(nn.ZeroPad2d):
    """TensorFlow's "same" padding of a stride-2 convolution on an even size: one pixel more on the far side."""

    def __init__(self, kernel: int) -> None:
        near, far = (kernel - 2) // 2, (kernel - 1) // 2
        super().__init__((near, far, near, far))


def conv_norm_act(
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """Build a convolution of stride 1 or 2 with batch norm and an activation, ReLU6 by default."""
    padding = dilation * (kernel // 2) if stride == 1 else 0
    return nn.Sequential(
        *([_SamePadding(kernel)] if stride == 2 else []),
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        activation if activation is not None else nn.ReLU6(inplace=True),
    )
