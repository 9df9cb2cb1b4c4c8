"""A light U-Net: the encoder is EfficientNet-Lite0, so that weights learned on ImageNet can be put in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.models.encoder import CHANNELS, Encoder, conv
from geoseg.models.layers import regrown, shrunk


class MobileUNet(nn.Module):
    """Logits per pixel, at the resolution of the input.

    It works at 1 / `pool` of the input's resolution, see `geoseg.models.layers`. Height and width of an input are
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
        skips = (*reversed(CHANNELS[:-1]), bands)
        self.decoder = nn.ModuleList(
            conv(inputs + skip, outputs, kernel=3, activation=nn.ReLU(inplace=True))
            for inputs, skip, outputs in zip(
                (CHANNELS[-1], *decoder[:-1]), skips, decoder, strict=True
            )
        )
        self.head = nn.Conv2d(decoder[-1], classes, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → logits (N, classes, H, W); in training mode (N, classes, H / pool, W / pool)"""
        image = shrunk(image, self.pool)
        pyramid: list[Tensor] = self.encoder(image)
        *skips, features = image, *pyramid
        del (
            pyramid,
            image,
        )  # what is used up is dropped at once: it decides how large a window may be
        for block in self.decoder:
            finer = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = torch.cat([finer, skips.pop()], dim=1)
            del finer
            features = block(features)
        features = self.head(features)
        return regrown(features, self.pool, training=self.training)
