"""What a step makes smaller: weighted cross-entropy, and beside it what is switched on.

``L = -1/N Σ_i Σ_c w_c q_ic (1 - p_iy)^γ log p_ic + δ D``, over the N pixels that count: p the softmax of the logits, y
a pixel's class, ``q = (1 - ε) y + ε / C`` its smoothed label. With ``γ = ε = δ = 0`` this is the loss of the origin.

- γ, *focal*: pixels that are right already count less (Lin et al. 2017, arXiv 1708.02002).
- ε, *smoothing*: no label is quite certain (Szegedy et al. 2016, arXiv 1512.00567); as in PyTorch, the part that
  goes to a class has that class's weight, so one that weighs nothing gets nothing.
- δ, *dice*: see `dice`.

Unlike in `torch.nn.CrossEntropyLoss`, N is the number of pixels, not the sum of their weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.learn.sections import Loss
from geoseg.legend import IGNORE

Everywhere = Callable[[Tensor], Tensor]
"""Adds up a tensor over the processes that share a batch; a gradient flows to this process's part."""


class Objective:
    """The loss of a run: its class weights (C,) and its switches.

    `everywhere` adds up over the processes that share a batch, so that each of them finds the loss of the
    whole, of which the gradient reaches its own part: summed over processes, it is that of one process
    with all of the batch.
    """

    def __init__(
        self, weights: Tensor, settings: Loss, everywhere: Everywhere = lambda part: part
    ) -> None:
        self.weights, self.settings, self.everywhere = weights, settings, everywhere

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits (N, C, h, w) against labels uint8 (N, H, W); 0 if no pixel counts.

        Labels equal to IGNORE count nowhere. Logits that are coarser than the labels, by a whole factor,
        are compared at the label in the middle of each of their pixels.
        """
        settings, everywhere = self.settings, self.everywhere
        logits, labels = (
            logits.float(),
            labels_of(logits, labels),
        )  # sums of half precision overflow
        total = cross_entropy(
            logits, labels, self.weights, focal=settings.focal, smoothing=settings.smoothing
        )
        count = everywhere((labels != IGNORE).sum())
        loss = everywhere(total) / count.clamp(min=1)
        if settings.dice:
            loss = loss + settings.dice * dice(logits, labels, everywhere)
        return loss


def labels_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels (N, H, W) at the resolution of `logits` (N, C, h, w), as int64 (N, h, w)."""
    factor = labels.shape[-1] // logits.shape[-1]
    return labels[..., factor // 2 :: factor, factor // 2 :: factor].long()


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, *, focal: float = 0, smoothing: float = 0
) -> Tensor:
    """Σ_i Σ_c of the module's formula: the sum, not yet the mean, over the pixels that count.

    `labels` int64 (N, H, W) have the size of `logits` (N, C, H, W).
    """
    each = F.cross_entropy(
        logits,
        labels,
        weights,
        reduction="none" if focal else "sum",
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    if not focal:
        return each
    right = -F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORE)  # log p_iy
    # below a millionth, the slope of a power under 1 has no bound
    wrong = (-torch.expm1(right)).clamp(min=1e-6)
    return (wrong**focal * each).sum()


def dice(logits: Tensor, labels: Tensor, everywhere: Everywhere = lambda part: part) -> Tensor:
    """D, the mean of ``1 - 2 Σ_i p_ic y_ic / (Σ_i p_ic + Σ_i y_ic)`` over the classes c that occur in the labels of
    the batch, 0 to 1 (Drozdzal et al. 2016, arXiv 1608.04117; background is a class like any other).

    A class counts the same however few its pixels, so class weights have no place in it; a class that
    does not occur adds nothing, so no constant is needed below the line. It looks at the probabilities that
    the network gives on its own: what is put right after training (`geoseg.learn.prior`) comes on top.
    """
    counted = (labels != IGNORE).unsqueeze(1)
    truth = labels.unsqueeze(1).where(counted, 0)
    p = logits.softmax(1) * counted
    hits = p.gather(1, truth)  # p_iy
    classes = logits.shape[1]
    flat = truth[counted]
    both = everywhere(p.new_zeros(classes).index_add(0, flat, hits[counted]))
    found = everywhere(p.sum((0, 2, 3)))
    true = everywhere(torch.bincount(flat, minlength=classes))
    occurs = true > 0
    if not bool(occurs.any()):
        return logits.sum() * 0
    return 1 - (2 * both[occurs] / (found[occurs] + true[occurs])).mean()
