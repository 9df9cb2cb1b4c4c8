"""Who reads the windows: threads of this process, or workers, which are processes of their own.

Threads cost nothing to start and share everything, but only one of them at a time runs Python: enough for a network
on a CPU, not for one on a GPU.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

import cv2
import torch

from geoseg.errors import DatasetError
from geoseg.training.config import TrainConfig
from geoseg.training.sampler import Sampler
from geoseg.training.setup import opened_dataset, sampler_of, scenes_of
from geoseg.training.windows import Sample

T = TypeVar("T")


@contextmanager
def threads(read: Callable[[T], Sample], count: int) -> Iterator[Callable[[T], Future[Sample]]]:
    """What has `read` called by `count` threads."""
    with ThreadPoolExecutor(count) as pool:
        try:
            yield lambda one: pool.submit(read, one)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def workers(config: TrainConfig, count: int) -> Iterator[Callable[[int], Future[Sample]]]:
    """What has the training windows of a run drawn by `count` processes, each with a sampler of its own.

    A script that is run directly must guard its start by ``if __name__ == "__main__":``, as for all processes in
    Python. Raises DatasetError when one of them cannot start, or dies.
    """
    # not forked: a fork copies locks that GDAL's threads hold
    context = get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=_begin, initargs=(config,)) as pool:

        def submit(number: int) -> Future[Sample]:
            with _uninterrupted():  # the first ones start the processes
                return pool.submit(_sample, number)

        try:
            yield submit
        except BrokenProcessPool as error:
            raise DatasetError(
                f"{config.data.dataset}: a worker that reads its windows died, or could not start. use fewer "
                'if memory ran out; in Python, begin the script with `if __name__ == "__main__":`'
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started in this block never gets a Ctrl-C, which reaches all processes of a terminal: the parent says
    when to stop, and gets its own when the block ends."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_config: TrainConfig | None = None  # of a worker's run


def _begin(config: TrainConfig) -> None:
    """Become a worker."""
    global _config  # noqa: PLW0603
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows, where nothing is uninterrupted
    Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _config = config  # an error in opening what it names is one of the first sample, and told as any other


@cache
def _sampler() -> Sampler:
    assert _config is not None
    scenes = scenes_of(_config, opened_dataset(_config), "train")
    return sampler_of(_config, scenes, tell=False)


def _sample(number: int) -> Sample:
    return _sampler()(number)


def _end_with_parent() -> None:
    """Not to wait for ever for a parent that was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
