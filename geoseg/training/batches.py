"""Batches, read ahead: while the network computes, others read, warp, burn and scale what comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from geoseg.training.windows import Sample

T = TypeVar("T")

Batch = tuple[Tensor, Tensor]
"""Inputs float32 (N, bands, size, size) as the network takes them, channels last in memory, and labels uint8
(N, size, size); both where the network runs."""

_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Scaling:
    """The network sees ``(pixels - mean) / std``, 0 where not valid."""

    mean: tuple[float, ...]
    """Per band, in units of the scene."""

    std: tuple[float, ...]
    """Per band, in units of the scene."""

    @staticmethod
    def of(samples: Iterable[Sample]) -> Scaling:
        """Mean and standard deviation of the valid pixels of samples (std at least 1). Raises ValueError when
        there is none."""
        pixels = np.concatenate([s.pixels[s.valid] for s in samples]).astype(np.float64)
        if not len(pixels):
            raise ValueError("no valid pixel")
        mean, std = pixels.mean(0), pixels.std(0).clip(1)
        return Scaling(tuple(mean.round(3).tolist()), tuple(std.round(3).tolist()))

    def batch(self, samples: Sequence[Sample], device: str = "cpu") -> Batch:
        """Samples of one size, stacked, brought to a device, and scaled there."""
        pixels, valid, labels = (
            torch.from_numpy(np.stack(arrays)).to(device)
            for arrays in (
                [sample.pixels for sample in samples],
                [sample.valid for sample in samples],
                [sample.labels for sample in samples],
            )
        )
        centre, spread = (torch.tensor(of, device=device) for of in (self.mean, self.std))
        inputs = pixels.float().sub_(centre).div_(spread).masked_fill_(~valid[..., None], 0)
        return inputs.permute(0, 3, 1, 2), labels


@contextmanager
def batches(
    submit: Callable[[T], Future[Sample]],
    groups: Iterable[Sequence[T]],
    scaling: Scaling,
    *,
    device: str,
) -> Iterator[Iterator[Batch]]:
    """One batch for each group of what `submit` has turned into samples, in order.

    Up to three batches are read and scaled before they are asked for.
    """

    def batch(samples: Sequence[Future[Sample]]) -> Batch:
        return scaling.batch([sample.result() for sample in samples], device)

    with ThreadPoolExecutor(1) as scaler:

        def ahead() -> Iterator[Batch]:
            pending: deque[Future[Batch]] = deque()
            for group in groups:
                pending.append(scaler.submit(batch, [submit(one) for one in group]))
                if len(pending) > _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

        try:
            yield ahead()
        finally:
            scaler.shutdown(wait=False, cancel_futures=True)
