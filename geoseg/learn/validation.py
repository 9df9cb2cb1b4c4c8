"""How well a network does on plain windows of a split: not turned, not zoomed, evenly spread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import nn

from geoseg.learn.batches import Batch, Scaling, batches
from geoseg.learn.parallel import Processes
from geoseg.learn.readers import threads
from geoseg.learn.scenes import Scenes
from geoseg.score.metrics import Scores, confusion


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
            matrix += confusion(truth.cpu().numpy(), labels.cpu().numpy(), classes)
    whole = processes.everywhere(torch.from_numpy(matrix).to(windows.device))
    return Scores(whole.cpu().numpy())
