"""A U-Net with two encoders, which predicts classes and objects at full resolution.

The *coarse* encoder (EfficientNet-Lite0) processes the image at half resolution and supplies context; the *fine*
encoder, the same network up to 1/16, processes it at full resolution and supplies detail. The decoder joins them level
by level up to 1/2. From there a sub-pixel convolution (Shi et al. 2016, arXiv 1609.05158) computes four pixels per
position, so that the arithmetic at full resolution stays small.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.models.encoder import CHANNELS, Encoder, conv_norm_act
from geoseg.models.input_bands import ImageInput
from geoseg.models.objects import OBJECT_OUTPUTS

_FINE_STAGES = 5  # of the fine encoder: up to 1/16
_RARE = -4.0  # initial logit of the object outputs
_IMAGE_KERNELS = ("encoder.stem.1.weight", "decoder.4.0.weight")  # read the image


class TwoScaleUNet(nn.Module):
    """U-Net with a coarse and a fine encoder, and object outputs.

    Parameters
    ----------
    bands
        Bands of the input.
    classes
        Classes of the output.
    objects
        Also predict `geoseg.models.objects.OBJECT_OUTPUTS`.
    decoder
        Channels of the decoder at 1/32, 1/16, 1/8, 1/4 and 1/2.
    width
        Channels from which the sub-pixel convolution computes full resolution.
    """

    stride = 64
    """Height and width of an input are multiples of this."""

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        objects: bool = True,
        decoder: tuple[int, int, int, int, int] = (96, 64, 48, 32, 32),
        width: int = 48,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.object_outputs = OBJECT_OUTPUTS if objects else ()
        """Names of the channels after those of the classes."""
        self.image_inputs = (
            ImageInput("encoder.stem.1.weight"),
            ImageInput("fine.stem.1.weight"),
            ImageInput("decoder.4.0.weight", first=decoder[-2], phases=4),
        )
        """See `geoseg.models.input_bands`."""
        self.encoder = Encoder(bands)
        self.fine = Encoder(bands)
        del self.fine.stages[_FINE_STAGES:]
        coarse_skips = (*reversed(CHANNELS[:4]), 4 * bands)  # at 1/32, 1/16, 1/8, 1/4, 1/2
        fine_skips = (0, *reversed(CHANNELS[:4]))
        self.decoder = nn.ModuleList(
            conv_norm_act(below + coarse + fine, out, kernel=3, activation=nn.ReLU(inplace=True))
            for below, coarse, fine, out in zip(
                (CHANNELS[-1], *decoder[:-1]), coarse_skips, fine_skips, decoder, strict=True
            )
        )
        self.head = nn.Conv2d(decoder[-1], classes, kernel_size=3, padding=1)
        self.sharpen = nn.Sequential(
            conv_norm_act(decoder[-1], decoder[-1], kernel=3, groups=decoder[-1]),
            conv_norm_act(decoder[-1], width, kernel=1),
        )
        outputs = classes + len(self.object_outputs)
        self.subpixel = nn.Conv2d(width, 4 * outputs, kernel_size=1)
        self._initialize_subpixel()

    def _initialize_subpixel(self) -> None:
        """Let class logits start as those of the head at half resolution, and object outputs near 0."""
        weight, bias, first = self.subpixel.weight, self.subpixel.bias, 4 * self.classes
        assert bias is not None
        with torch.no_grad():
            weight[:first] = 0
            bias[:first] = 0
            weight[first:] *= 0.3
            bias[first:] = _RARE

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → (N, classes + object outputs, H, W): logits of the classes, then of objects."""
        coarse: list[Tensor] = self.encoder(F.avg_pool2d(image, 2))  # at 1/4 to 1/64
        features = coarse.pop()
        fine: list[Tensor] = self.fine(image)[:4]  # at 1/2, 1/4, 1/8 and 1/16
        coarse.insert(0, F.pixel_unshuffle(image, 2))  # at 1/2, ... and 1/32
        skips = [*zip(coarse[:4], fine, strict=True), (coarse[4],)]
        del coarse, fine, image  # tensors are freed as soon as possible, see `MobileUNet`
        for block in self.decoder:
            finer = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = torch.cat([finer, *skips.pop()], dim=1)  # (N, below + coarse + fine, h, w)
            del finer
            features = block(features)  # (N, out, h, w)
        objects = len(self.object_outputs)
        logits = F.pad(self.head(features), (0, 0, 0, 0, 0, objects))  # (N, outputs, H / 2, W / 2)
        features = self.subpixel(self.sharpen(features))  # (N, 4 * outputs, H / 2, W / 2)
        features = F.pixel_shuffle(features, 2)  # (N, outputs, H, W)
        return features.add_(F.interpolate(logits, scale_factor=2.0, mode="bilinear"))


def warm_start(network: TwoScaleUNet, mobile: Mapping[str, Tensor]) -> None:
    """Copy the weights of a `MobileUNet` with ``pool = 2``, so that `network` computes its class logits.

    Both encoders start as its encoder. Weights of inputs that the MobileUNet does not have start at 0.

    Parameters
    ----------
    network
        Network with new weights and the default `decoder`.
    mobile
        State dict. With other bands the layers that read the image, with other classes the head keep new weights.

    Raises
    ------
    ValueError
        If its decoder is wider than that of `network`.
    """
    ours = network.state_dict()  # whose tensors are those of the network
    bands = ours["encoder.stem.1.weight"].shape[1]
    for name, theirs in _select_fitting(ours, mobile).items():
        target = ours[name]
        if name.startswith("encoder."):
            target.copy_(theirs)
            fine = name.replace("encoder.", "fine.", 1)
            if fine in ours:
                ours[fine].copy_(theirs)
        elif target.dim() == 0:
            target.copy_(theirs)
        elif target.dim() < 4:
            target[: len(theirs)] = theirs
        else:
            _copy_kernel(target, theirs, image_bands=bands if name in _IMAGE_KERNELS else 0)


def _select_fitting(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that do not depend on the bands or classes, if those differ."""
    omitted: tuple[str, ...] = ()
    if ours[_IMAGE_KERNELS[0]].shape != theirs[_IMAGE_KERNELS[0]].shape:
        omitted += _IMAGE_KERNELS
    if len(ours["head.bias"]) != len(theirs["head.bias"]):
        omitted += ("head.weight", "head.bias")
    fitting = {name: tensor for name, tensor in theirs.items() if name not in omitted}
    for name, tensor in fitting.items():
        pairs = zip(ours[name].shape, tensor.shape, strict=True)
        if any(large < small for large, small in pairs):
            raise ValueError(f"{name} is wider")
    return fitting


def _copy_kernel(target: Tensor, theirs: Tensor, *, image_bands: int) -> None:
    """Copy a kernel into one with more inputs, for which an image at the end is unshuffled to four phases."""
    outputs, inputs = theirs.shape[:2]
    below = inputs - image_bands
    target[:outputs] = 0
    target[:outputs, :below] = theirs[:, :below]
    image = theirs[:, below:].repeat_interleave(4, dim=1) / 4  # the mean of four pixels
    target[:outputs, below : below + 4 * image_bands] = image
