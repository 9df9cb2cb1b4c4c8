"""Weighted cross-entropy.

``L = -1/N Σ_i Σ_c w_c y_ic log p_ic``: the mean over the N pixels that count, each weighed by its class.
Unlike `torch.nn.CrossEntropyLoss`, N is the number of pixels, not the sum of their weights.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from geoseg.legend import IGNORE

Weighting = Literal["none", "inverse", "sqrt"]


def class_weights(
    pixels: ArrayLike, weighting: Weighting = "inverse", *, cap: float | None = None
) -> NDArray[np.float64]:
    """Weight of each class from its number of pixels.

    *inverse*: ``w_c = N / (C n_c)`` with N pixels in all, C classes that occur and n_c pixels of class c, so
    that every class has the same total weight and the mean weight of a pixel is 1; *sqrt*: the square root
    of that. A class that does not occur weighs 0. No weight exceeds `cap` times that of class 0. Raises
    ValueError if no pixel is counted.
    """
    counts = np.asarray(pixels, np.float64)
    present = counts > 0
    if not present.any():
        raise ValueError("no pixels to weigh")
    power = {"none": 0.0, "inverse": 1.0, "sqrt": 0.5}[weighting]
    weights = np.zeros_like(counts)
    weights[present] = (counts.sum() / (present.sum() * counts[present])) ** power
    if cap is not None and present[0]:
        weights = np.minimum(weights, cap * weights[0])
    return weights


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The loss of logits (N, C, h, w) against labels uint8 (N, H, W), with weights (C,); 0 if no pixel
    counts.

    Labels equal to IGNORE count nowhere. Logits that are coarser than the labels, by a whole factor, are
    compared at the label in the middle of each of their pixels.
    """
    factor = labels.shape[-1] // logits.shape[-1]
    labels = labels[..., factor // 2 :: factor, factor // 2 :: factor].long()
    count = (labels != IGNORE).sum().clamp(min=1)
    total = F.cross_entropy(logits, labels, weights, reduction="sum", ignore_index=IGNORE)
    return total / count
