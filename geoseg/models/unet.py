"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with batch norm and padded convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.models.input_bands import ImageInput
from geoseg.models.layers import downsample_input, upsample_logits
from geoseg.models.objects import OBJECT_OUTPUTS


class UNet(nn.Module):
    """U-Net.

    Parameters
    ----------
    bands
        Bands of the input.
    classes
        Classes of the output.
    width
        Channels of the first level.
    depth
        Levels below the first; each halves the resolution and doubles the channels.
    pool
        Factor by which the input is downsampled first, see `geoseg.models.layers`.
    objects
        Also predict `geoseg.models.objects.OBJECT_OUTPUTS`, at full resolution: `pool` is 1.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        width: int = 32,
        depth: int = 4,
        pool: int = 1,
        objects: bool = False,
    ) -> None:
        super().__init__()
        if objects and pool != 1:
            raise ValueError(f"objects need full resolution, got pool {pool}")
        self.object_outputs = OBJECT_OUTPUTS if objects else ()
        outputs = classes + len(self.object_outputs)
        channels = [width * 2**level for level in range(depth + 1)]
        self.pool = pool
        self.stride = pool * 2**depth
        """Height and width of an input are multiples of this."""
        self.image_inputs = (ImageInput("encoder.0.0.weight"),)
        """See `geoseg.models.input_bands`."""
        self.encoder = nn.ModuleList(
            ConvBlock(inputs, outputs)
            for inputs, outputs in zip([bands, *channels[:-1]], channels, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * c, c, kernel_size=2, stride=2) for c in reversed(channels[:-1])
        )
        self.decoder = nn.ModuleList(ConvBlock(2 * c, c) for c in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, outputs, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → logits (N, outputs, H, W); in training mode (N, outputs, H / pool, W / pool)."""
        x = downsample_input(
            image, self.pool
        )  # (N, bands, H, W), with H and W of the network from here on
        skips = []
        for block in self.encoder[:-1]:
            x = block(x)  # level i: (N, width * 2**i, H / 2**i, W / 2**i)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.encoder[-1](x)  # (N, width * 2**depth, H / 2**depth, W / 2**depth)
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(
                torch.cat([up(x), skips.pop()], dim=1)
            )  # (N, width * 2**i, H / 2**i, W / 2**i)
        return upsample_logits(self.head(x), self.pool, training=self.training)


class ConvBlock(nn.Sequential):
    """Two 3 x 3 convolutions, each with batch norm and ReLU: (N, inputs, H, W) → (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )
