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

from geoseg.legend import IGNORE
from geoseg.training.config import LossSection

Everywhere = Callable[[Tensor], Tensor]
"""Adds up a tensor over the processes that share a batch; a gradient flows to this process's part."""


class Objective:
    """The loss of a run: its class weights (C,) and its switches.

    `everywhere` adds up over the processes that share a batch, so that each of them finds the loss of the
    whole, of which the gradient reaches its own part: summed over processes, it is that of one process
    with all of the batch.
    """

    def __init__(
        self, weights: Tensor, settings: LossSection, everywhere: Everywhere = lambda part: part
    ) -> None:
        self.weights, self.settings, self.everywhere = weights, settings, everywhere

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits (N, C, h, w) against labels uint8 (N, H, W); 0 if no pixel counts.

        Labels equal to IGNORE count nowhere. Logits that are coarser than the labels, by a whole factor,
        are compared at the label in the middle of each of their pixels.
        """
        settings, everywhere = self.settings, self.everywhere
        log_p, truth, counted = pixels_of(logits, labels)
        total = cross_entropy(
            log_p,
            truth,
            counted,
            self.weights,
            focal=settings.focal,
            smoothing=settings.smoothing,
        )
        loss = everywhere(total) / everywhere(counted.sum()).clamp(min=1)
        if settings.dice:
            loss = loss + settings.dice * dice(log_p, truth, counted, everywhere)
        return loss


def pixels_of(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities float32 (n, C), labels int64 (n,) and which of them count, bool (n,), of logits (N, C, h, w)
    and labels (N, H, W). A label that does not count becomes 0.

    One row for each pixel is how channels-last logits lie in memory: nothing is copied.
    """
    factor = labels.shape[-1] // logits.shape[-1]
    truth = labels[..., factor // 2 :: factor, factor // 2 :: factor].flatten().long()
    counted = truth != IGNORE
    rows = logits.permute(0, 2, 3, 1).reshape(len(truth), -1)
    rows = rows.float()  # sums of half precision would overflow
    return F.log_softmax(rows, dim=1), truth.where(counted, 0), counted


def cross_entropy(
    log_p: Tensor,
    truth: Tensor,
    counted: Tensor,
    weights: Tensor,
    *,
    focal: float = 0,
    smoothing: float = 0,
) -> Tensor:
    """Σ_i Σ_c of the module's formula, over what `pixels_of` gave: the sum, not yet the mean."""
    right = log_p.gather(1, truth.unsqueeze(1)).squeeze(1)  # log p_iy
    each = (smoothing - 1) * weights[truth] * right
    if smoothing:
        each = each - smoothing / log_p.shape[1] * (log_p @ weights)
    if focal:
        # below a millionth, the slope of a power under 1 has no bound
        each = each * (-torch.expm1(right)).clamp(min=1e-6) ** focal
    return each.where(counted, 0).sum()


def dice(
    log_p: Tensor, truth: Tensor, counted: Tensor, everywhere: Everywhere = lambda part: part
) -> Tensor:
    """D, the mean of ``1 - 2 Σ_i p_ic y_ic / (Σ_i p_ic + Σ_i y_ic)`` over the classes c that occur in the labels of
    the batch, 0 to 1 (Drozdzal et al. 2016, arXiv 1608.04117; background is a class like any other).

    A class counts the same however few its pixels, so class weights have no place in it; a class that
    does not occur adds nothing, so no constant is needed below the line. It looks at the probabilities that
    the network gives on its own: what is put right after training (`geoseg.training.validation`) comes on top.
    """
    p, ones = log_p.exp(), counted.float()
    hits = p.gather(1, truth.unsqueeze(1)).squeeze(1) * ones
    classes = log_p.shape[1]
    both = everywhere(p.new_zeros(classes).index_add(0, truth, hits))
    found = everywhere(ones @ p)
    true = everywhere(torch.bincount(truth[counted], minlength=classes))
    occurs = true > 0
    if not bool(occurs.any()):
        return log_p.sum() * 0
    return 1 - (2 * both[occurs] / (found[occurs] + true[occurs])).mean()
