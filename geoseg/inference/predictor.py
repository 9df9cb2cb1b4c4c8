"""What the network says about a batch of tiles: class and confidence of each pixel they decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor, nn

from geoseg.errors import ConfigError
from geoseg.inference.reader import Read
from geoseg.legend import IGNORE
from geoseg.models.layers import folded
from geoseg.models.model_file import Model
from geoseg.models.runtime import RuntimeNetwork
from geoseg.raster.tiles import Tile, round_up

FULL_CONFIDENCE = 200
"""A confidence raster holds 0 to 200 for 0 to 1, and IGNORE where there is no data."""

_ROWS = 256  # of logits that are turned into labels at a time, which bounds the memory that takes

View = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Decided:
    """A tile and what was found in the pixels it decides; IGNORE where nothing is wanted."""

    tile: Tile
    """In the network's pixels."""

    place: Window
    """In the scene's pixels."""

    planes: NDArray[np.uint8]
    """(planes, h, w) of `place`: labels, confidence (softmax of the class that won, times 200), and
    for a predictor of probabilities the softmax of each class, times 200"""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(h, w) class ids"""
        labels: NDArray[np.uint8] = self.planes[0]
        return labels

    @property
    def confidence(self) -> NDArray[np.uint8]:
        """(h, w) 0 to 200"""
        confidence: NDArray[np.uint8] = self.planes[1]
        return confidence


class Predictor:
    """A model made ready to run fast on a device.

    `probabilities` adds a plane for every class. `augmented` looks at every window in 8 orientations
    and takes the mean of their softmaxes (test-time augmentation). On a GPU the network computes in
    half precision.
    """

    def __init__(
        self,
        model: Model,
        device: str = "cpu",
        *,
        probabilities: bool = False,
        augmented: bool = False,
    ) -> None:
        self.planes = 2 + len(model.card.legend) * probabilities
        self._device, self._probabilities, self._augmented = device, probabilities, augmented
        self._stride = model.card.stride
        self._bands = model.card.bands
        self._window = model.window
        self._network = _ready(model.network, device)
        self._mean = torch.tensor(model.card.mean, device=device).reshape(-1, 1, 1)
        self._std = torch.tensor(model.card.std, device=device).reshape(-1, 1, 1)

    def padded(self, read: Read) -> tuple[int, int]:
        """Height and width of what the network sees of a tile: multiples of its stride, or the one size
        it takes."""
        if self._window is not None:
            return self._window, self._window
        height, width = read.valid.shape
        return round_up(height, self._stride), round_up(width, self._stride)

    @torch.inference_mode()
    def logits(self, batch: Sequence[Read]) -> Tensor:
        """(N, classes, h, w) of windows that are padded to the same size. The rule is that of
        training: pixels without data, and those beyond the scene's edge, are 0 after scaling.
        """
        image = self._image(batch)
        if not self._augmented:
            return self._forward(image)
        total: Tensor | None = None
        for there, back in orientations():
            share = back(self._forward(there(image)).softmax(dim=1))
            total = share if total is None else total.add_(share)
        assert total is not None
        return total.clamp_min_(torch.finfo(total.dtype).tiny).log_()

    @torch.inference_mode()
    def decide(self, batch: Sequence[Read]) -> list[Decided]:
        """Labels and confidences of the cores. Raises ConfigError when the memory does not
        suffice.
        """
        with _enough_memory(self.padded(batch[0]), len(batch)):
            return [
                self._decided(read, logits)
                for read, logits in zip(batch, self.logits(batch), strict=True)
            ]

    def _image(self, batch: Sequence[Read]) -> Tensor:
        height, width = self.padded(batch[0])
        image = torch.empty(
            (len(batch), self._bands, height, width),
            device=self._device,
            memory_format=torch.channels_last,
        ).zero_()
        for index, read in enumerate(batch):
            pixels = self._moved(read.pixels).float()
            valid = self._moved(read.valid)
            rows, columns = read.valid.shape
            image[index, :, :rows, :columns] = ((pixels - self._mean) / self._std).where(valid, 0)
        return image

    def _moved(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._device == "cuda":  # from pinned memory, beside what the GPU is doing
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _forward(self, image: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.float16, enabled=self._device == "cuda"):
            logits: Tensor = self._network(image)
        return logits.float()

    def _decided(self, read: Read, logits: Tensor) -> Decided:
        inner = logits[:, *read.tile.inner].permute(1, 2, 0)  # (h, w, classes)
        parts = [self._planes(part) for part in torch.split(inner, _ROWS)]
        planes = read.spread(torch.cat(parts, dim=1).numpy())
        if not read.wanted.all():
            planes[:, ~read.wanted] = IGNORE
        return Decided(read.tile, read.place, planes)

    def _planes(self, logits: Tensor) -> Tensor:
        """(h, w, classes) → (planes, h, w) uint8 on the CPU"""
        shares = logits.softmax(dim=-1)
        sureness, label = shares.max(dim=-1)
        planes = [label, _in_200(sureness)]
        if self._probabilities:
            planes += _in_200(shares).unbind(dim=-1)
        return torch.stack([plane.to(torch.uint8) for plane in planes]).cpu()


def _ready(network: nn.Module, device: str) -> nn.Module:
    if isinstance(network, RuntimeNetwork):
        return network
    return folded(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _in_200(share: Tensor) -> Tensor:
    return (share * FULL_CONFIDENCE).round_()


def orientations() -> Iterator[tuple[View, View]]:
    """The 8 ways to turn and flip a square lattice, each with its way back; (…, h, w) images."""
    for turns in range(4):
        for flip in (False, True):

            def there(image: Tensor, turns: int = turns, flip: bool = flip) -> Tensor:
                turned = torch.rot90(image, turns, (-2, -1))
                turned = turned.flip(-1) if flip else turned
                return turned.contiguous(memory_format=torch.channels_last)

            def back(image: Tensor, turns: int = turns, flip: bool = flip) -> Tensor:
                return torch.rot90(image.flip(-1) if flip else image, -turns, (-2, -1))

            yield there, back


@contextmanager
def _enough_memory(size: tuple[int, int], batch_size: int) -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "alloc" not in str(error):
            raise
        height, width = size
        raise ConfigError(
            f"not enough memory for windows of {width} x {height} pixels, {batch_size} at a time. "
            "use a smaller --memory, --core or --batch-size"
        ) from error


# Windows → network → what was found, batch after batch.


def decide(
    predictor: Predictor, reads: Iterable[Read], *, batch_size: int = 1
) -> Iterator[Decided | None]:
    """What was found in each tile, None for one without data; neighbours of one size go through
    the network together.
    """
    batch: list[Read] = []
    for read in reads:
        if read.empty:
            yield from predictor.decide(batch) if batch else ()
            batch = []
            yield None
            continue
        if batch and predictor.padded(batch[0]) != predictor.padded(read):
            yield from predictor.decide(batch)
            batch = []
        batch.append(read)
        if len(batch) == batch_size:
            yield from predictor.decide(batch)
            batch = []
    if batch:
        yield from predictor.decide(batch)
