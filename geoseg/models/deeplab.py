"""DeepLabv3+ (Chen et al. 2018, arXiv 1802.02611) on the encoder of EfficientNet-Lite0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.models.encoder import CHANNELS, Encoder
from geoseg.models.input_bands import ImageInput
from geoseg.models.layers import downsample_input, upsample_logits

_SKIP = 1  # the encoder's features at 1/4 of the resolution
_SKIP_CHANNELS = 48


class DeepLab(nn.Module):
    """DeepLabv3+.

    Parameters
    ----------
    bands
        Bands of the input.
    classes
        Classes of the output.
    pool
        Factor by which the input is downsampled first, see `geoseg.models.layers`.
    width
        Channels of the pyramid and the decoder.
    output_stride
        Stride of the encoder's coarsest features, 16 or 32.
    rates
        Dilations of the pyramid's branches, in pixels of the coarsest features.
    image_pooling
        Add a branch of global average pooling, as in the paper. Off by default: with it every label depends on
        the whole window, so that no margin makes tiles agree with one pass over the scene.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        pool: int = 1,
        width: int = 128,
        output_stride: int = 16,
        rates: tuple[int, ...] = (6, 12, 18),
        image_pooling: bool = False,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.stride = pool * output_stride
        """Height and width of an input are multiples of this."""
        self.image_inputs = (ImageInput("encoder.stem.1.weight"),)
        """See `geoseg.models.input_bands`."""
        self.encoder = Encoder(bands, output_stride=output_stride)
        self.pyramid = AtrousPyramid(CHANNELS[-1], width, tuple(rates), image_pooling=image_pooling)
        self.fine = _conv_norm_relu(CHANNELS[_SKIP], _SKIP_CHANNELS, kernel=1)
        self.decoder = nn.Sequential(
            _separable_conv(width + _SKIP_CHANNELS, width), _separable_conv(width, width)
        )
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → logits (N, classes, H, W); in training mode (N, classes, H / pool, W / pool)."""
        image = downsample_input(
            image, self.pool
        )  # (N, bands, H, W), with H and W of the network from here on
        features = self.encoder(image)
        fine = self.fine(features[_SKIP])  # (N, 48, H / 4, W / 4)
        coarse = self.pyramid(features[-1])  # (N, width, H / output_stride, W / output_stride)
        coarse = F.interpolate(
            coarse, size=fine.shape[2:], mode="bilinear"
        )  # (N, width, H / 4, W / 4)
        logits = self.head(
            self.decoder(torch.cat([coarse, fine], dim=1))
        )  # (N, classes, H / 4, W / 4)
        logits = F.interpolate(logits, scale_factor=4.0, mode="bilinear")  # (N, classes, H, W)
        return upsample_logits(logits, self.pool, training=self.training)


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: parallel convolutions of several dilations, concatenated and mixed."""

    def __init__(
        self, inputs: int, width: int, rates: tuple[int, ...], *, image_pooling: bool
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _conv_norm_relu(inputs, width, kernel=1),
                *(_separable_conv(inputs, width, r) for r in rates),
            ]
        )
        self.whole = (
            # no batch norm: one pixel per image has no statistics
            nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU()) if image_pooling else None
        )
        branches = len(self.branches) + image_pooling
        self.mix = nn.Sequential(
            _conv_norm_relu(branches * width, width, kernel=1), nn.Dropout2d(0.1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, width, h, w)."""
        outputs = [branch(features) for branch in self.branches]
        if self.whole is not None:
            mean = self.whole(features.mean((2, 3), keepdim=True))  # (N, width, 1, 1)
            outputs.append(mean.expand(-1, -1, *features.shape[2:]))
        mixed: Tensor = self.mix(torch.cat(outputs, dim=1))
        return mixed


def _conv_norm_relu(
    inputs: int, outputs: int, *, kernel: int, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build a convolution of stride 1 with batch norm and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, 1, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _separable_conv(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Build a depthwise 3 x 3 and a pointwise convolution."""
    return nn.Sequential(
        _conv_norm_relu(inputs, inputs, kernel=3, dilation=dilation, groups=inputs),
        _conv_norm_relu(inputs, outputs, kernel=1),
    )
