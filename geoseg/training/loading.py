"""Loading of batches: threads or worker processes read windows ahead of the network.

Threads start at once and share everything, but only one of them runs Python at a time: enough for a network on a CPU,
too slow for one on a GPU, which needs processes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.concurrency import map_buffered
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, DatasetError
from geoseg.raster.bands import BandStatistics
from geoseg.raster.stretch import value_range
from geoseg.training.config import NetworkSection, TrainConfig
from geoseg.training.object_loss import ObjectTensors
from geoseg.training.sampler import Sampler, build_sampler
from geoseg.training.windows import Sample, open_dataset, open_split

T = TypeVar("T")

_BATCHES_AHEAD = 3
_SCALING_WINDOWS = 64  # on which mean and standard deviation are measured


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows on the device of the network."""

    inputs: Tensor
    """float32 (N, bands, size, size) scaled pixels, channels last in memory."""

    labels: Tensor
    """uint8 (N, size, size) class IDs."""

    objects: ObjectTensors | None = None
    """Targets of object outputs; None for a network without them."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Input scaling of the network: ``(pixels - mean) / std``, 0 where not valid."""

    mean: tuple[float, ...]
    """Per band, in units of the scene."""

    std: tuple[float, ...]
    """Per band, in units of the scene."""

    @staticmethod
    def measure(samples: Iterable[Sample]) -> Scaling:
        """Measure mean and standard deviation (at least 1) of the valid pixels of samples.

        Raises
        ------
        ValueError
            If no pixel is valid.
        """
        pixels = np.concatenate([s.pixels[s.valid] for s in samples]).astype(np.float64)
        if not len(pixels):
            raise ValueError("no valid pixel")
        mean, std = pixels.mean(0), pixels.std(0).clip(1)
        return Scaling(tuple(mean.round(3).tolist()), tuple(std.round(3).tolist()))

    @staticmethod
    def of_statistics(statistics: Sequence[BandStatistics]) -> Scaling:
        """Return the scaling of the 2nd to 98th percentile of each band to -1 to 1."""
        bounds = [value_range(band) for band in statistics]
        return Scaling(
            tuple((low + high) / 2 for low, high in bounds),
            tuple((high - low) / 2 for low, high in bounds),
        )

    def make_batch(self, samples: Sequence[Sample], device: str = "cpu") -> Batch:
        """Stack samples of one size, copy them to a device, and scale them there."""
        pixels = _stack([sample.pixels for sample in samples], device)  # (N, size, size, bands)
        valid = _stack([sample.valid for sample in samples], device)
        labels = _stack([sample.labels for sample in samples], device)
        targets = [sample.objects for sample in samples if sample.objects is not None]
        objects = None
        if targets:
            objects = ObjectTensors(
                _stack([t.values for t in targets], device),
                _stack([t.weight for t in targets], device),
            )
        mean, std = (torch.tensor(values, device=device) for values in (self.mean, self.std))
        inputs = pixels.float().sub_(mean).div_(std).masked_fill_(~valid[..., None], 0)
        return Batch(inputs.permute(0, 3, 1, 2), labels, objects)


def _stack(arrays: Sequence[NDArray[np.generic]], device: str) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)


def choose_scaling(network: NetworkSection, dataset: Dataset, sampler: Sampler) -> Scaling:
    """Return the input scaling: the configured one, else that of the dataset's statistics.

    A dataset without statistics is measured on training windows.

    Raises
    ------
    ConfigError
        If the configured mean and std do not fit the dataset.
    DatasetError
        If no pixel is valid.
    """
    if network.mean is not None and network.std is not None:
        if not len(network.mean) == len(network.std) == dataset.bands:
            raise ConfigError(
                f"network.mean and network.std: the dataset has {dataset.bands} bands. "
                "Give one value per band"
            )
        return Scaling(network.mean, network.std)
    if network.mean is not None or network.std is not None:
        raise ConfigError("network.mean and network.std: only one is set. Set both, or neither")
    if dataset.statistics:
        return Scaling.of_statistics(dataset.statistics)
    try:
        return Scaling.measure(sampler(n) for n in range(_SCALING_WINDOWS))
    except ValueError as error:
        raise DatasetError(
            f"{dataset.folder}: no valid pixel in {_SCALING_WINDOWS} windows. Check its scenes"
        ) from error


@contextmanager
def load_batches(
    submit: Callable[[T], Future[Sample]],
    groups: Iterable[Sequence[T]],
    scaling: Scaling,
    *,
    device: str,
) -> Iterator[Iterator[Batch]]:
    """Yield an iterator of batches, read and scaled up to three batches ahead.

    Parameters
    ----------
    submit
        Starts the reading of one sample, see `read_in_threads` and `read_in_processes`.
    groups
        Arguments of `submit` for each batch, in order.
    scaling
        Input scaling.
    device
        Device of the network.
    """
    with ThreadPoolExecutor(1) as scaler:
        reading = ([submit(one) for one in group] for group in groups)
        make_batch = partial(_make_batch, scaling, device)
        try:
            yield map_buffered(scaler, make_batch, reading, depth=_BATCHES_AHEAD)
        finally:
            scaler.shutdown(wait=False, cancel_futures=True)


def _make_batch(scaling: Scaling, device: str, samples: Sequence[Future[Sample]]) -> Batch:
    return scaling.make_batch([sample.result() for sample in samples], device)


@contextmanager
def read_in_threads(
    read: Callable[[T], Sample], count: int
) -> Iterator[Callable[[T], Future[Sample]]]:
    """Yield a function that submits calls of `read` to `count` threads."""
    with ThreadPoolExecutor(count) as pool:
        try:
            yield lambda one: pool.submit(read, one)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def read_in_processes(
    config: TrainConfig, count: int, *, objects: bool = False
) -> Iterator[Callable[[int], Future[Sample]]]:
    """Yield a function that submits sample numbers to `count` processes, each with a sampler of its own.

    Parameters
    ----------
    config
        Configuration of the run.
    count
        Number of processes.
    objects
        Samples have targets of object outputs.

    Raises
    ------
    DatasetError
        If a process cannot start, or dies.

    Notes
    -----
    Processes are spawned, not forked, since a fork copies locks that GDAL's threads hold. A script that is run
    directly must therefore guard its start by ``if __name__ == "__main__":``.
    """
    context = get_context("spawn")
    start = (config, objects)
    with ProcessPoolExecutor(count, context, initializer=_start_worker, initargs=start) as pool:
        try:
            yield partial(_submit, pool)
        except BrokenProcessPool as error:
            raise DatasetError(
                f"{config.data.dataset}: a worker process died or could not start. Use fewer workers "
                'if memory ran out; in Python, guard the script by `if __name__ == "__main__":`'
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, number: int) -> Future[Sample]:
    with _block_interrupts():  # the first calls start the processes
        return pool.submit(_read_sample, number)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block SIGINT; processes started in the block inherit this.

    A terminal sends Ctrl-C to all of its processes; only the parent handles it, when the block ends.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_config: TrainConfig | None = None  # of a worker process
_objects = False


def _start_worker(config: TrainConfig, objects: bool) -> None:
    global _config, _objects
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows has no signal masks
    Thread(target=_exit_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _config, _objects = config, objects  # opened by the first sample: an error reaches the parent


@cache
def _open_sampler() -> Sampler:
    assert _config is not None
    reader = open_split(_config.data, open_dataset(_config.data), "train")
    return build_sampler(_config, reader, objects=_objects)


def _read_sample(number: int) -> Sample:
    return _open_sampler()(number)


def _exit_with_parent() -> None:
    """End this process when the parent was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
