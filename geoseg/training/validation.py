"""Scores of a network on evenly spaced windows of a split, without augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor, nn

from geoseg.legend import IGNORE
from geoseg.metrics.confusion import Scores, confusion_matrix
from geoseg.models.objects import interior_probability
from geoseg.raster.tiles import round_up
from geoseg.training.distributed import Processes
from geoseg.training.loading import Batch, Scaling, load_batches, read_in_threads
from geoseg.training.object_loss import ObjectTensors
from geoseg.training.object_targets import ObjectTargets
from geoseg.training.windows import Sample, SplitReader, View

_THREADS = 2
_MARGIN = 128


def choose_margin(size: int, stride: int) -> int:
    """Return the context of validation windows: as for tiles of an unmeasured model, but at most a quarter of a window.

    Every pixel then passes through the network at most 2.25 times.
    """
    return round_up(min(_MARGIN, size // 4), stride)


class EvenWindows:
    """Evenly spaced windows of a split, as batches of one.

    Parameters
    ----------
    reader
        Scenes of the split.
    scaling
        Input scaling of the network.
    size
        Largest side of a window in pixels; the edge of a block cuts it.
    most
        Largest number of windows.
    device
        Device of the network.
    objects
        Batches have targets of object outputs.
    margin
        Pixels around a window that are read as context, more around one that is smaller than `size`; their labels are
        IGNORE.
    stride
        Of the network: windows with their margin begin and end at multiples of it, except at the edge of the scene.
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
        margin: int = 0,
        stride: int = 1,
    ) -> None:
        self._reader, self._scaling, self._size, self.device = reader, scaling, size, device
        self.with_objects, self._margin, self._stride = objects, margin, stride
        self._windows = reader.spread_windows(size, most)

    @contextmanager
    def load(self, processes: Processes | None = None) -> Iterator[Iterator[Batch]]:
        """Yield an iterator of the windows; of several processes each loads a part."""
        part = processes or Processes()
        windows = [[window] for window in self._windows[part.rank :: part.count]]
        with (
            read_in_threads(self._read, _THREADS) as submit,
            load_batches(submit, windows, self._scaling, device=self.device) as batches,
        ):
            yield batches

    def _read(self, place: tuple[int, Window]) -> Sample:
        """Read a window with its margin; as in a tile of a scene, pixels beyond its edge only fill up the stride."""
        number, core = place
        (left, right), (top, bottom) = (
            self._grow(start, length, *bounds, corner)
            for start, length, bounds, corner in zip(
                (core.col_off, core.row_off),
                (core.width, core.height),
                self._reader.read_bounds(number),
                self._reader.scenes[number].corner,
                strict=True,
            )
        )
        view, side = View(number, Affine.translation(-left, -top)), max(right - left, bottom - top)
        sample, part = self._reader.read(view, side), np.s_[: bottom - top, : right - left]
        labels = np.full_like(sample.labels, IGNORE)
        rows, columns = core.toslices()
        inner = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        labels[inner] = sample.labels[inner]
        objects = None
        if self.with_objects:
            targets = self._reader.read_objects(view, side)
            objects = ObjectTargets(targets.values[:, *part], targets.weight[part])
        return Sample(sample.pixels[part], labels[part], sample.valid[part], objects)

    def _grow(self, start: int, length: int, first: int, last: int, corner: int) -> tuple[int, int]:
        """Return first and last pixel of a window with its margin along an axis."""
        margin = self._margin and self._margin + (self._size - length) // 2
        low = max(first, start - margin)
        low -= (low + corner) % self._stride  # multiples in pixels of the file
        high = min(last, start + length + margin)
        return low, low + round_up(high - low, self._stride)


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
