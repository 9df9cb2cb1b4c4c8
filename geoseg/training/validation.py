"""How well a network does on plain windows of a split: not turned, not zoomed, evenly spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.metrics.confusion import Scores, confusion_matrix
from geoseg.training.batches import Batch, Scaling, batches
from geoseg.training.distributed import Processes
from geoseg.training.windows import Scenes
from geoseg.training.workers import threads


class Windows:
    """At most `most` windows of a split, evenly spread, as batches of one."""

    def __init__(
        self, scenes: Scenes, scaling: Scaling, *, size: int, most: int, device: str
    ) -> None:
        self._scenes, self._scaling, self._size, self.device = scenes, scaling, size, device
        self._views = scenes.tiles(size, most)

    @contextmanager
    def read(self, processes: Processes | None = None) -> Iterator[Iterator[Batch]]:
        """The windows, one by one; of several processes each reads its part."""
        part = processes or Processes()
        views = [[view] for view in self._views[part.rank :: part.count]]

        with (
            threads(partial(self._scenes.read, size=self._size), 2) as submit,
            batches(submit, views, self._scaling, device=self.device) as windows,
        ):
            yield windows


@torch.inference_mode()
def score(
    network: nn.Module,
    windows: Windows,
    *,
    classes: int,
    processes: Processes | None = None,
) -> Scores:
    """Scores of a network that is in eval mode, over all windows, whichever process reads them."""
    processes = processes or Processes()
    matrix = np.zeros((classes, classes), np.int64)
    with windows.read(processes) as read:
        for inputs, truth in read:
            labels = network(inputs).argmax(1).byte()
            matrix += confusion_matrix(truth.cpu().numpy(), labels.cpu().numpy(), classes)
    whole = processes.everywhere(torch.from_numpy(matrix).to(windows.device))
    return Scores(whole.cpu().numpy())


# The classes' shares, put right after training.
#
# Class weights and balanced windows teach a network that rare classes are common, so it sees too much of them.
# One number per class, added to its logit, mends most of that (logit adjustment, Menon et al. 2021, arXiv
# 2007.07314; here the numbers are not computed from frequencies but found where mean IoU over plain training
# windows is best).

_BACKGROUND_SHIFTS = np.arange(-2.0, 8.25, 0.25)
_CLASS_SHIFTS = np.arange(-3.0, 3.25, 0.5)
_ROUNDS = 2

_TRUST = 0.5
"""Share of a class's shift that is applied: the windows were learned from, and flatter the network. On
DOTA's validation scenes the whole shifts gave 26.6 % mIoU, half of them 26.7 % at a higher precision, the
background's alone 25.0 %."""

_SPACING = 4
"""Every so many pixels, along both axes, one is looked at: neighbours say the same."""


def class_shifts(
    network: nn.Module,
    batches: Iterable[Batch],
) -> NDArray[np.float32]:
    """What to add to each class's logit (classes,), so that mean IoU (without background) rises.

    `network` is in eval mode, its logits have the size of the labels. First the background is shifted, then one
    class after the other, twice around; a class that the labels do not hold stays as it is.
    """
    logits, truth = _sampled(network, batches)
    shifts = np.zeros(len(logits), np.float32)
    best = _mean_iou(truth, logits.argmax(0).astype(np.uint8), len(logits))
    order = [(0, _BACKGROUND_SHIFTS)]
    occurring = [c for c in range(1, len(logits)) if (truth == c).any()]
    order += [(c, _CLASS_SHIFTS) for _ in range(_ROUNDS) for c in occurring]
    for class_id, tried in order:
        shift, miou = _best_shift(logits, truth, class_id, tried)
        if miou > best:
            logits[class_id] += shift
            shifts[class_id] += shift
            best = miou
    shifts[1:] *= _TRUST
    return shifts


@torch.inference_mode()
def _sampled(
    network: nn.Module,
    batches: Iterable[Batch],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Logits (classes, n) and labels (n,) of pixels evenly spread over the batches."""
    some = slice(_SPACING // 2, None, _SPACING)
    logits, truth = [], []
    for inputs, labels in batches:
        found: Tensor = network(inputs)[:, :, some, some]
        logits.append(found.transpose(0, 1).flatten(1).float().cpu().numpy())
        truth.append(labels[:, some, some].flatten().cpu().numpy())
    return np.concatenate(logits, axis=1), np.concatenate(truth)


def _best_shift(
    logits: NDArray[np.float32],
    truth: NDArray[np.uint8],
    class_id: int,
    tried: NDArray[np.float64],
) -> tuple[float, float]:
    """The shift of one class's logit with the best mean IoU, and that mean IoU."""
    others = np.delete(np.arange(len(logits)), class_id)
    rival = others[logits[others].argmax(0)].astype(np.uint8)
    lead = logits[class_id] - logits[others].max(0)
    mious = [
        _mean_iou(truth, np.where(lead + shift > 0, np.uint8(class_id), rival), len(logits))
        for shift in tried
    ]
    best = int(np.argmax(mious))
    return float(tried[best]), mious[best]


def _mean_iou(truth: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int) -> float:
    return float(np.nan_to_num(Scores(confusion_matrix(truth, labels, classes)).mean_iou()))
