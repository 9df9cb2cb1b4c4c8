"""A light U-Net on the encoder of EfficientNet-Lite0, which has published ImageNet weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.models.encoder import CHANNELS, Encoder, conv_norm_act
from geoseg.models.input_bands import ImageInput
from geoseg.models.layers import downsample_input, upsample_logits


class MobileUNet(nn.Module):
    """U-Net with an EfficientNet-Lite0 encoder.

    Parameters
    ----------
    bands
        Bands of the input.
    classes
        Classes of the output.
    pool
        Factor by which the input is downsampled first, see `geoseg.models.layers`.
    decoder
        Channels of the decoder's levels, coarsest first.
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
        """Height and width of an input are multiples of this."""
        self.image_inputs = (
            ImageInput("encoder.stem.1.weight"),
            ImageInput("decoder.4.0.weight", first=decoder[-2]),
        )
        """See `geoseg.models.input_bands`."""
        self.encoder = Encoder(bands)
        skips = (*reversed(CHANNELS[:-1]), bands)
        self.decoder = nn.ModuleList(
            conv_norm_act(inputs + skip, outputs, kernel=3, activation=nn.ReLU(inplace=True))
            for inputs, skip, outputs in zip(
                (CHANNELS[-1], *decoder[:-1]), skips, decoder, strict=True
            )
        )
        self.head = nn.Conv2d(decoder[-1], classes, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → logits (N, classes, H, W); in training mode (N, classes, H / pool, W / pool)."""
        image = downsample_input(image, self.pool)
        pyramid: list[Tensor] = self.encoder(image)
        *skips, features = image, *pyramid  # at 1, 1/2, 1/4, 1/8, 1/16; features at 1/32
        del (
            pyramid,
            image,
        )  # tensors are freed as soon as possible: peak memory limits the window size
        for block in self.decoder:
            finer = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = torch.cat([finer, skips.pop()], dim=1)  # (N, inputs + skip, h, w)
            del finer
            features = block(features)  # (N, outputs, h, w)
        features = self.head(features)  # (N, classes, H / pool, W / pool)
        return upsample_logits(features, self.pool, training=self.training)
