"""Scores of a network on evenly spaced windows of a split, without augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.legend import IGNORE
from geoseg.metrics.confusion import Scores, confusion_matrix
from geoseg.models.objects import interior_probability
from geoseg.training.distributed import Processes
from geoseg.training.loading import Batch, Scaling, load_batches, read_in_threads
from geoseg.training.object_loss import ObjectTensors
from geoseg.training.windows import Sample, SplitReader, View

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
    objects
        Batches have targets of object outputs.
    """

    def __init__(
        self,
        reader: SplitReader,
        scaling: Scaling,
        *,
        size: int,
        most: int,
        device: str,
        objects: bool = False,
    ) -> None:
        self._reader, self._scaling, self._size, self.device = reader, scaling, size, device
        self.with_objects = objects
        self._views = reader.spread_views(size, most)

    @contextmanager
    def load(self, processes: Processes | None = None) -> Iterator[Iterator[Batch]]:
        """Yield an iterator of the windows; of several processes each loads a part."""
        part = processes or Processes()
        views = [[view] for view in self._views[part.rank :: part.count]]
        with (
            read_in_threads(self._read, _THREADS) as submit,
            load_batches(submit, views, self._scaling, device=self.device) as batches,
        ):
            yield batches

    def _read(self, view: View) -> Sample:
        sample = self._reader.read(view, self._size)
        if not self.with_objects:
            return sample
        return replace(sample, objects=self._reader.read_objects(view, self._size))


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Scores of a network on windows."""

    labels: Scores

    interior: Scores | None = None
    """Scores of the pixels whose probability to be in the interior of one object is above 0.5; None without object
    outputs."""


@torch.inference_mode()
def score_network(
    network: nn.Module, windows: EvenWindows, *, classes: int, processes: Processes | None = None
) -> WindowScores:
    """Score a network in eval mode on windows, shared among processes."""
    processes = processes or Processes()
    matrix = np.zeros((classes, classes), np.int64)
    interior = np.zeros((2, 2), np.int64)
    with windows.load(processes) as batches:
        for batch in batches:
            outputs = network(batch.inputs)
            reference, labels = batch.labels.cpu().numpy(), outputs[:, :classes].argmax(1).byte()
            matrix += confusion_matrix(reference, labels.cpu().numpy(), classes)
            if batch.objects is not None:
                interior += _compare_interior(outputs[:, classes:], batch.objects, reference)
    total = processes.reduce_sum(torch.from_numpy(matrix).to(windows.device))
    of_interior = processes.reduce_sum(torch.from_numpy(interior).to(windows.device))
    return WindowScores(
        Scores(total.cpu().numpy()),
        Scores(of_interior.cpu().numpy()) if windows.with_objects else None,
    )


def _compare_interior(
    outputs: Tensor, objects: ObjectTensors, reference: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Return the (2, 2) confusion matrix of the interior of objects, where the labels are not ignored."""
    expected = objects.values[:, 0].byte().cpu().numpy()
    expected[reference == IGNORE] = IGNORE
    predicted = (interior_probability(outputs.float()) > 0.5).byte().cpu().numpy()
    return confusion_matrix(expected, predicted, 2)
