"""Network with class logits and object outputs at full resolution: two encoders, one decoder.

    python -m benchmarks.objects.network

The *coarse* encoder (EfficientNet-Lite0) processes the scene at half resolution and supplies context; the *fine*
encoder, the same network up to 1/16, processes it at full resolution and supplies detail. The decoder joins them level
by level up to 1/2. From there a sub-pixel convolution (Shi et al. 2016, arXiv 1609.05158) computes four pixels per
position, so that the arithmetic at full resolution stays small. All operations are local, so the receptive field is
finite.

The command prints the arithmetic and parameters of the shipped model's network and of this one, and the largest
difference between their class logits after `warm_start`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from geoseg.models.encoder import CHANNELS, Encoder, conv_norm_act
from geoseg.models.model_file import load_model

OBJECT_OUTPUTS = ("interior", "touching", "distance", "centre", "offset_x", "offset_y")
"""Channels after those of the classes, see `benchmarks.objects.targets`."""

_FINE_STAGES = 5  # of the fine encoder: up to 1/16
_RARE = -4.0  # initial logit of the four object outputs that are probabilities


class TwoScaleUNet(nn.Module):
    """Predict class logits and object outputs per pixel.

    Parameters
    ----------
    bands
        Bands of the input.
    classes
        Classes, background included.
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
        decoder: tuple[int, ...] = (96, 64, 48, 32, 32),
        width: int = 48,
    ) -> None:
        super().__init__()
        self.classes = classes
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
        self.subpixel = nn.Conv2d(width, 4 * (classes + len(OBJECT_OUTPUTS)), kernel_size=1)
        self._initialize_subpixel()

    def _initialize_subpixel(self) -> None:
        """Let the class logits start as the upsampled coarse ones, and the object outputs near 0."""
        weight, bias, first = self.subpixel.weight, self.subpixel.bias, 4 * self.classes
        assert bias is not None
        with torch.no_grad():
            weight[:first] = 0
            bias[:first] = 0
            bias[first : first + 16] = _RARE
            weight[first:] *= 0.3

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → (N, classes + 6, H, W): class logits, then `OBJECT_OUTPUTS`.

        The first four object outputs are logits of probabilities; offsets are in units of
        `benchmarks.objects.targets.OFFSET_UNIT` pixels.
        """
        *coarse, features = self.encoder(F.avg_pool2d(image, 2))  # 1/4, 1/8, 1/16, 1/32; 1/64
        fine = self.fine(image)[:4]  # 1/2, 1/4, 1/8, 1/16
        skips = [
            (F.pixel_unshuffle(image, 2), fine[0]),
            (coarse[0], fine[1]),
            (coarse[1], fine[2]),
            (coarse[2], fine[3]),
            (coarse[3],),
        ]
        for block in self.decoder:
            finer = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([finer, *skips.pop()], dim=1))
        coarse_logits = F.interpolate(self.head(features), scale_factor=2.0, mode="bilinear")
        full = F.pixel_shuffle(self.subpixel(self.sharpen(features)), 2)  # (N, classes + 6, H, W)
        logits, objects = full[:, : self.classes], full[:, self.classes :]
        return torch.cat([coarse_logits + logits, objects], dim=1)


def freeze(network: TwoScaleUNet, fine_stages: int) -> None:
    """Exclude the coarse encoder, and the stem and first `fine_stages` of the fine one, from training.

    Their batch norms keep their statistics.
    """
    for module in [network.encoder, network.fine.stem, *network.fine.stages[:fine_stages]]:
        module.eval().requires_grad_(requires_grad=False)


def warm_start(network: TwoScaleUNet, mobile: Mapping[str, Tensor]) -> None:
    """Copy the weights of a MobileUNet with ``pool = 2``, so that `network` computes its class logits.

    Both encoders start as its encoder. Weights of inputs that the MobileUNet does not have start at 0.
    """
    ours = network.state_dict()
    for name, theirs in mobile.items():
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
            phases = 4 if name == "decoder.4.0.weight" else 1  # of its image, at half resolution
            _copy_kernel(target, theirs, mobile["encoder.stem.1.weight"].shape[1], phases)
            if name == "head.weight":
                target[len(theirs) :] = 0
    network.load_state_dict(ours)


def _copy_kernel(target: Tensor, theirs: Tensor, bands: int, phases: int) -> None:
    """Copy a kernel into a larger one whose last inputs are, for `phases` of 4, an unshuffled image."""
    outputs, inputs = theirs.shape[:2]
    target[:outputs] = 0
    if phases == 1:
        target[:outputs, :inputs] = theirs
        return
    below = inputs - bands
    target[:outputs, :below] = theirs[:, :below]
    image = theirs[:, below:].repeat_interleave(phases, dim=1) / phases  # the mean of four pixels
    target[:outputs, below : below + phases * bands] = image


def measure_gflop(network: nn.Module) -> float:
    """Return the arithmetic of a forward pass in GFLOP per megapixel (10^6 pixels), as counted by PyTorch."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.randn(1, 3, 1024, 1024))
    return float(counter.get_total_flops() / 1e9 / 1.048576)


def main() -> None:
    """Print the size of both networks and the difference after the warm start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.parse_args()
    shipped = load_model()
    network = TwoScaleUNet(shipped.card.bands, len(shipped.card.legend))
    warm_start(network, shipped.network.state_dict())
    network.eval()
    image = torch.randn(1, 3, 512, 512)
    with torch.no_grad():
        expected, logits = shipped.network(image), network(image)[:, : network.classes]
    print(
        f"largest difference of class logits after the warm start: {(expected - logits).abs().max():.1e}"
    )
    for name, one in (("shipped", shipped.network), ("two-scale", network)):
        millions = sum(p.numel() for p in one.parameters()) / 1e6
        print(f"{name:10} {measure_gflop(one):5.1f} GFLOP/Mpx, {millions:.2f} M parameters")


if __name__ == "__main__":
    main()
