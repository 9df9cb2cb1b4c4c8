"""Batches, read ahead: while the network computes, other threads read, warp, burn and scale what comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.learn.scenes import Sample

T = TypeVar("T")

Batch = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Inputs (N, bands, size, size) as the network takes them, and labels (N, size, size)."""

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

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Samples of one size, stacked and scaled."""
        centre, spread = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        pixels = (np.stack([sample.pixels for sample in samples]) - centre) / spread
        pixels[~np.stack([sample.valid for sample in samples])] = 0
        inputs = np.ascontiguousarray(np.moveaxis(pixels, 3, 1))
        return inputs, np.stack([sample.labels for sample in samples])


@contextmanager
def batches(
    read: Callable[[T], Sample], groups: Iterable[Sequence[T]], scaling: Scaling, *, threads: int
) -> Iterator[Iterator[Batch]]:
    """One batch for each group of whatever `read` turns into samples, in order.

    `threads` read and one more scales, up to three batches before they are asked for.
    """

    def batch(samples: Sequence[Future[Sample]]) -> Batch:
        return scaling.batch([sample.result() for sample in samples])

    with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(1) as scaler:

        def ahead() -> Iterator[Batch]:
            pending: deque[Future[Batch]] = deque()
            for group in groups:
                pending.append(scaler.submit(batch, [readers.submit(read, one) for one in group]))
                if len(pending) > _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

        try:
            yield ahead()
        finally:
            scaler.shutdown(wait=False, cancel_futures=True)
            readers.shutdown(wait=False, cancel_futures=True)
