"""DeepLabv3+ (Chen et al. 2018, arXiv 1802.02611), from scratch, on the encoder of EfficientNet-Lite0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.models.encoder import CHANNELS, Encoder
from geoseg.models.layers import regrown, shrunk

_FINE = 1  # the encoder's features at 1/4 of the resolution
_FINE_CHANNELS = 48


class DeepLab(nn.Module):
    """Logits per pixel, at the resolution of the input.

    Features at 1 / `output_stride` are looked at in several widths at once (`rates`, in pixels of those features), then
    refined by finer ones at a quarter. It works at 1 / `pool` of the input's resolution, see
    `geoseg.models.layers`. Height and width of an input are multiples of `stride`.

    Unlike in the paper the pooling over the whole image is off: with `image_pooling` every label depends on every
    pixel that the network sees, so that no margin makes tiles agree with the whole scene (`context` says
    None, and ``--margin exact`` refuses).
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
        self.encoder = Encoder(bands, output_stride=output_stride)
        self.pyramid = Pyramid(CHANNELS[-1], width, tuple(rates), image_pooling=image_pooling)
        self.fine = _conv(CHANNELS[_FINE], _FINE_CHANNELS, kernel=1)
        self.decoder = nn.Sequential(
            _separable(width + _FINE_CHANNELS, width), _separable(width, width)
        )
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → logits (N, classes, H, W); in training mode (N, classes, H / pool, W / pool)"""
        image = shrunk(image, self.pool)
        features = self.encoder(image)
        fine = self.fine(features[_FINE])  # (N, 48, H / 4, W / 4)
        wide = self.pyramid(features[-1])  # (N, width, H / output_stride, W / output_stride)
        wide = F.interpolate(wide, size=fine.shape[2:], mode="bilinear")
        logits = self.head(self.decoder(torch.cat([wide, fine], dim=1)))
        logits = F.interpolate(logits, scale_factor=4.0, mode="bilinear")
        return regrown(logits, self.pool, training=self.training)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: the same features filtered in several widths, side by side, then mixed."""

    def __init__(
        self, inputs: int, width: int, rates: tuple[int, ...], *, image_pooling: bool
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_conv(inputs, width, kernel=1), *(_separable(inputs, width, r) for r in rates)]
        )
        self.whole = (
            # no norm here: of one pixel per image there are no statistics
            nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU()) if image_pooling else None
        )
        branches = len(self.branches) + image_pooling
        self.mix = nn.Sequential(_conv(branches * width, width, kernel=1), nn.Dropout2d(0.1))

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, width, h, w)"""
        seen = [branch(features) for branch in self.branches]
        if self.whole is not None:
            mean = self.whole(features.mean((2, 3), keepdim=True))
            seen.append(mean.expand(-1, -1, *features.shape[2:]))
        mixed: Tensor = self.mix(torch.cat(seen, dim=1))
        return mixed


def _conv(
    inputs: int, outputs: int, *, kernel: int, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution that keeps the size, batch norm and ReLU."""
    reach = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, 1, reach, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Each channel filtered by itself, 3 x 3, then all mixed, 1 x 1."""
    return nn.Sequential(
        _conv(inputs, inputs, kernel=3, dilation=dilation, groups=inputs),
        _conv(inputs, outputs, kernel=1),
    )
