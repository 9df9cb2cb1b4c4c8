"""The training loss: weighted cross-entropy, with optional focal, label smoothing and Dice terms.

``L = -1/N Σ_i Σ_c w_c q_ic (1 - p_iy)^γ log p_ic + δ D`` over the N labelled pixels, where p is the softmax of the
logits, y the class of a pixel, and ``q = (1 - ε) y + ε / C`` its smoothed label. ``γ = ε = δ = 0`` is weighted
cross-entropy.

- γ, *focal*: down-weights pixels that are predicted well (Lin et al. 2017, arXiv 1708.02002).
- ε, *smoothing*: label smoothing (Szegedy et al. 2016, arXiv 1512.00567). As in PyTorch, the part of each class has
  that class's weight.
- δ, *dice*: see `dice_loss`.

Unlike in `torch.nn.CrossEntropyLoss`, N is the number of pixels, not the sum of their weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.legend import IGNORE
from geoseg.training.config import LossSection

Reduce = Callable[[Tensor], Tensor]
"""Sum of a tensor over the processes of a run; the gradient flows to this process's part."""


class Loss:
    """The loss of a run.

    Parameters
    ----------
    weights
        (C,) class weights.
    settings
        Terms of the loss.
    reduce
        Sums over the processes of a run. Each process then has the loss of the whole batch and the gradient of its
        part; the gradients of all processes add up to that of a single process with the whole batch.
    """

    def __init__(
        self, weights: Tensor, settings: LossSection, reduce: Reduce = lambda part: part
    ) -> None:
        self.weights, self.settings, self.reduce = weights, settings, reduce

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        logits
            (N, C, h, w). If they are coarser than the labels by a whole factor, each is compared with the label at
            its centre.
        labels
            uint8 (N, H, W). Pixels of IGNORE do not count.

        Returns
        -------
        Tensor
            Scalar; 0 if no pixel counts.
        """
        settings, reduce = self.settings, self.reduce
        log_p, target, labelled = flatten_pixels(logits, labels)
        total = cross_entropy_sum(
            log_p,
            target,
            labelled,
            self.weights,
            focal=settings.focal,
            smoothing=settings.smoothing,
        )
        loss = reduce(total) / reduce(labelled.sum()).clamp(min=1)
        if settings.dice:
            loss = loss + settings.dice * dice_loss(log_p, target, labelled, reduce)
        return loss


def flatten_pixels(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flatten a batch to one row per pixel, which for channels-last logits copies nothing.

    Returns
    -------
    log_p
        float32 (n, C) log-probabilities.
    target
        int64 (n,) labels, 0 where not labelled.
    labelled
        bool (n,) False where the label is IGNORE.
    """
    factor = labels.shape[-1] // logits.shape[-1]
    target = labels[..., factor // 2 :: factor, factor // 2 :: factor].flatten().long()  # (n,)
    labelled = target != IGNORE
    rows = logits.permute(0, 2, 3, 1).reshape(len(target), -1)  # (n, C)
    rows = rows.float()  # sums in half precision would overflow
    return F.log_softmax(rows, dim=1), target.where(labelled, 0), labelled


def cross_entropy_sum(
    log_p: Tensor,
    target: Tensor,
    labelled: Tensor,
    weights: Tensor,
    *,
    focal: float = 0,
    smoothing: float = 0,
) -> Tensor:
    """Compute Σ_i Σ_c of the module's formula, from the results of `flatten_pixels`."""
    log_p_target = log_p.gather(1, target.unsqueeze(1)).squeeze(1)  # (n,) log p_iy
    each = (smoothing - 1) * weights[target] * log_p_target
    if smoothing:
        each = each - smoothing / log_p.shape[1] * (log_p @ weights)
    if focal:
        # the gradient of a power below 1 is unbounded at 0
        each = each * (-torch.expm1(log_p_target)).clamp(min=1e-6) ** focal
    return each.where(labelled, 0).sum()


def dice_loss(
    log_p: Tensor, target: Tensor, labelled: Tensor, reduce: Reduce = lambda part: part
) -> Tensor:
    """Compute D, the mean of ``1 - 2 Σ_i p_ic y_ic / (Σ_i p_ic + Σ_i y_ic)`` over the classes c in the batch's labels.

    Notes
    -----
    Drozdzal et al. 2016, arXiv 1608.04117, with background as a class like any other. Every class counts the same
    whatever its number of pixels, so class weights do not enter. Classes that do not occur are left out, so the
    denominator needs no constant. Logit adjustment is applied after training and does not enter either.
    """
    p, ones = log_p.exp(), labelled.float()
    p_target = p.gather(1, target.unsqueeze(1)).squeeze(1) * ones  # (n,)
    classes = log_p.shape[1]
    intersection = reduce(p.new_zeros(classes).index_add(0, target, p_target))
    predicted = reduce(ones @ p)
    reference = reduce(torch.bincount(target[labelled], minlength=classes))
    occurs = reference > 0
    if not bool(occurs.any()):
        return log_p.sum() * 0
    return 1 - (2 * intersection[occurs] / (predicted[occurs] + reference[occurs])).mean()
