"""Weights for other bands: the filters of a trained network that read the image, adapted to the bands of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geoseg.raster.bands import RGB


@dataclass(frozen=True, slots=True)
class ImageInput:
    """Where the kernel of a convolution reads the image."""

    weight: str
    """Name of the kernel, (outputs, inputs, h, w), in the state dict."""

    first: int = 0
    """Input channel at which the image begins."""

    phases: int = 1
    """Channels per band; the channels of a band are adjacent."""


def find_image_inputs(network: nn.Module) -> tuple[ImageInput, ...]:
    """Return where a network reads the image: its attribute ``image_inputs``, or nothing if it has none."""
    return tuple(getattr(network, "image_inputs", ()))


def mix_bands(source: Sequence[str], target: Sequence[str]) -> Tensor:
    """Return how the filters of new bands are mixed from those of trained ones.

    Parameters
    ----------
    source
        Names of the trained bands.
    target
        Names of the new bands.

    Returns
    -------
    (len(target), len(source)) tensor
        A band of the same name takes its filter, another one the mean of all. The filters are scaled by the ratio of
        the numbers of bands, so that the response to equal bands keeps its size; a single band takes the sum.

    Notes
    -----
    Bands without names are taken for red, green, blue and others if they are three or more.

    Examples
    --------
    >>> mix_bands(("red", "green", "blue"), ("blue", "green", "red"))
    tensor([[0., 0., 1.],
            [0., 1., 0.],
            [1., 0., 0.]])
    >>> mix_bands(("red", "green", "blue"), ("",))
    tensor([[1., 1., 1.]])
    """
    mixed = torch.full((len(target), len(source)), 1 / len(source), dtype=torch.float64)
    for row, trained in enumerate(match_trained_bands(source, target)):
        if trained is not None:
            mixed[row] = 0
            mixed[row, trained] = 1
    return (mixed * (len(source) / len(target))).float()


def match_trained_bands(source: Sequence[str], target: Sequence[str]) -> list[int | None]:
    """Return the position of the trained band of the same name for each new band; None for any other, and a single one.

    Parameters
    ----------
    source
        Names of the trained bands.
    target
        Names of the new bands. Bands without names are taken for red, green, blue and others, as in `mix_bands`.
    """
    source, target = _assume_names(source), _assume_names(target)
    if len(target) == 1 < len(source):
        return [None]
    return [source.index(name) if name and name in source else None for name in target]


def adapt_bands(
    network: nn.Module, weights: Mapping[str, Tensor], source: Sequence[str], target: Sequence[str]
) -> dict[str, Tensor]:
    """Return the weights of a network for other bands.

    Parameters
    ----------
    network
        The trained network, see `find_image_inputs`.
    weights
        Its state dict.
    source, target
        Names of its bands and of the new ones, see `mix_bands`.
    """
    adapted, mixed = dict(weights), mix_bands(source, target)
    if torch.equal(mixed, torch.eye(len(source))):
        return adapted
    for image in find_image_inputs(network):
        kernel = adapted[image.weight]
        adapted[image.weight] = _mix_kernel(kernel, mixed.to(kernel), image)
    return adapted


def _mix_kernel(kernel: Tensor, mixed: Tensor, image: ImageInput) -> Tensor:
    """Return a kernel of which the channels of the image are mixed; the others are unchanged."""
    after = image.first + mixed.shape[1] * image.phases
    outputs, _, *size = kernel.shape
    bands = kernel[:, image.first : after].reshape(outputs, mixed.shape[1], image.phases, *size)
    new = torch.einsum("ts,ospij->otpij", mixed, bands).flatten(1, 2)
    return torch.cat([kernel[:, : image.first], new, kernel[:, after:]], dim=1)


def _assume_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names, of which those of three or more bands without any are assumed to begin with red, green, blue."""
    if any(names) or len(names) < len(RGB):
        return tuple(names)
    return (*RGB, *names[len(RGB) :])
