"""The background's share, put right after training.

Class weights and balanced windows teach a network that objects are common, so it sees too many of them. One
number mends most of that: what is added to the background's logit (logit adjustment, Menon et al. 2021,
arXiv 2007.07314, with a measured instead of a computed offset).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.learn.metrics import Scores, confusion

SHIFTS = np.arange(-2.0, 8.25, 0.25)
"""What is tried."""


def background_shift(
    network: nn.Module,
    batches: Iterable[tuple[NDArray[np.float32], NDArray[np.uint8]]],
    classes: int,
    device: str,
) -> tuple[float, float]:
    """The shift of SHIFTS with the best mean IoU (without background) over `batches` of inputs and labels,
    and that mIoU.

    `network` is in eval mode; its logits have the size of the labels.
    """
    matrices = np.zeros((len(SHIFTS), classes, classes), np.int64)
    for inputs, truth in batches:
        images = torch.from_numpy(inputs).to(device, memory_format=torch.channels_last)
        with torch.inference_mode():
            logits: Tensor = network(images)
            score, object_id = logits[:, 1:].max(dim=1)
            lead = (score - logits[:, 0]).cpu().numpy()
        labels = (object_id + 1).byte().cpu().numpy()
        for number, shift in enumerate(SHIFTS):
            matrices[number] += confusion(truth, np.where(lead > shift, labels, 0), classes)
    mious = np.nan_to_num([Scores(matrix).mean_iou() for matrix in matrices])
    best = int(mious.argmax())
    return float(SHIFTS[best]), float(mious[best])
