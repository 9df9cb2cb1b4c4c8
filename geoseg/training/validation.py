"""Scores of a network on evenly spaced windows of a split, without augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import nn

from geoseg.metrics.confusion import Scores, confusion_matrix
from geoseg.training.distributed import Processes
from geoseg.training.loading import Batch, Scaling, load_batches, read_in_threads
from geoseg.training.windows import SplitReader

_THREADS = 2


class EvenWindows:
    """Evenly spaced windows of a split, as batches of one.

    Parameters
    ----------
    reader
        Scenes of the split.
    scaling
        Input scaling of the network.
    size
        Side of a window in pixels.
    most
        Largest number of windows.
    device
        Device of the network.
    """

    def __init__(
        self, reader: SplitReader, scaling: Scaling, *, size: int, most: int, device: str
    ) -> None:
        self._reader, self._scaling, self._size, self.device = reader, scaling, size, device
        self._views = reader.spread_views(size, most)

    @contextmanager
    def load(self, processes: Processes | None = None) -> Iterator[Iterator[Batch]]:
        """Yield an iterator of the windows; of several processes each loads a part."""
        part = processes or Processes()
        views = [[view] for view in self._views[part.rank :: part.count]]
        with (
            read_in_threads(partial(self._reader.read, size=self._size), _THREADS) as submit,
            load_batches(submit, views, self._scaling, device=self.device) as batches,
        ):
            yield batches


@torch.inference_mode()
def score_network(
    network: nn.Module, windows: EvenWindows, *, classes: int, processes: Processes | None = None
) -> Scores:
    """Score a network in eval mode on windows, shared among processes."""
    processes = processes or Processes()
    matrix = np.zeros((classes, classes), np.int64)
    with windows.load(processes) as batches:
        for inputs, reference in batches:
            labels = network(inputs).argmax(1).byte()
            matrix += confusion_matrix(reference.cpu().numpy(), labels.cpu().numpy(), classes)
    total = processes.reduce_sum(torch.from_numpy(matrix).to(windows.device))
    return Scores(total.cpu().numpy())
