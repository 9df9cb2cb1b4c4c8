"""What the network says about a batch of tiles: class and confidence of each pixel of their
cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.engine.fold import folded
from geoseg.errors import ConfigError
from geoseg.grid import Tile, round_up
from geoseg.legend import IGNORE
from geoseg.model.file import Model

FULL_CONFIDENCE = 200
"""A confidence raster holds 0 to 200 for 0 to 1, and IGNORE where there is no data."""

_ROWS = 256  # of logits that are turned into labels at a time, which bounds the memory that takes


@dataclass(frozen=True, slots=True)
class Read:
    """A tile and what the scene holds in its window."""

    tile: Tile

    pixels: NDArray[Any]
    """(bands, h, w), the scene's dtype"""

    valid: NDArray[np.bool_]
    """(h, w)"""

    @property
    def empty(self) -> bool:
        """True where there is nothing to decide."""
        return not self.valid[self.tile.inner].any()


@dataclass(frozen=True, slots=True)
class Decided:
    """A tile and what was found in its core; IGNORE where the scene has no data."""

    tile: Tile

    labels: NDArray[np.uint8]
    """(h, w) class ids"""

    confidence: NDArray[np.uint8]
    """(h, w) softmax of the class that won, times 200"""


class Predictor:
    """A model made ready to run fast on a device."""

    def __init__(self, model: Model, device: str = "cpu") -> None:
        self._device = device
        self._stride = model.card.stride
        self._bands = model.card.bands
        self._network = folded(model.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = torch.tensor(model.card.mean, device=device).reshape(-1, 1, 1)
        self._std = torch.tensor(model.card.std, device=device).reshape(-1, 1, 1)

    def padded(self, read: Read) -> tuple[int, int]:
        """Height and width of what the network sees of a tile: multiples of its stride."""
        height, width = read.valid.shape
        return round_up(height, self._stride), round_up(width, self._stride)

    @torch.inference_mode()
    def logits(self, batch: Sequence[Read]) -> Tensor:
        """(N, classes, h, w) of windows that are padded to the same size. The rule is that of
        training: pixels without data, and those beyond the scene's edge, are 0 after scaling.
        """
        height, width = self.padded(batch[0])
        image = torch.empty(
            (len(batch), self._bands, height, width),
            device=self._device,
            memory_format=torch.channels_last,
        ).zero_()
        for index, read in enumerate(batch):
            pixels = torch.from_numpy(read.pixels).to(self._device).float()
            valid = torch.from_numpy(read.valid).to(self._device)
            rows, columns = read.valid.shape
            image[index, :, :rows, :columns] = ((pixels - self._mean) / self._std).where(valid, 0)
        logits: Tensor = self._network(image)
        return logits

    @torch.inference_mode()
    def decide(self, batch: Sequence[Read]) -> list[Decided]:
        """Labels and confidences of the cores. Raises ConfigError when the memory does not
        suffice.
        """
        with _enough_memory(self.padded(batch[0]), len(batch)):
            return [
                _decided(read, logits)
                for read, logits in zip(batch, self.logits(batch), strict=True)
            ]


def _decided(read: Read, logits: Tensor) -> Decided:
    inner = read.tile.inner
    labels, confidence = [], []
    for part in torch.split(logits[:, *inner].permute(1, 2, 0), _ROWS):  # (rows, w, classes)
        sureness, label = part.softmax(dim=-1).max(dim=-1)
        labels.append(label.to(torch.uint8).cpu())
        confidence.append((sureness * FULL_CONFIDENCE).round_().to(torch.uint8).cpu())
    nothing = ~read.valid[inner]
    decided = Decided(read.tile, torch.cat(labels).numpy(), torch.cat(confidence).numpy())
    decided.labels[nothing] = IGNORE
    decided.confidence[nothing] = IGNORE
    return decided


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
            "use a smaller --core or --batch-size"
        ) from error
