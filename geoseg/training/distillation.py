"""Distillation: a trained network keeps the predictions of the model it started from, where pixels have no label.

``L = Σ_i KL(t_i || p_i) / n + Σ_i KL(o_i || q_i) / n`` over the n valid pixels without a label, where t and p are the
probabilities of the model and of the network, and o and q those of the object outputs (Li and Hoiem 2016, arXiv
1606.09282). Classes are compared by name. All classes that only one of both has count as background, in sum.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.legend import BACKGROUND, Legend


class Distillation:
    """Loss between the outputs of a network and those of the model that it started from.

    Parameters
    ----------
    teacher
        The model, for the bands of the network. It is not trained.
    theirs, ours
        Classes of the model and of the network.
    objects
        Both have object outputs after those of the classes.
    device
        Device of the network.
    reduce
        Sums over the processes of a run, as in `geoseg.training.loss.Loss`.
    """

    def __init__(
        self,
        teacher: nn.Module,
        theirs: Legend,
        ours: Legend,
        *,
        objects: bool,
        device: str,
        reduce: Callable[[Tensor], Tensor] = lambda part: part,
    ) -> None:
        teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._teacher = teacher.eval().requires_grad_(False)
        self._objects, self._reduce = objects, reduce
        shared = [name for name in ours.names[1:] if name in theirs.names]
        self._theirs = _assign_groups(theirs, shared).to(device)
        self._ours = _assign_groups(ours, shared).to(device)
        self.groups = 1 + len(shared)
        """Background and the classes of both."""

    def __call__(self, inputs: Tensor, outputs: Tensor, unlabelled: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        inputs
            (N, bands, H, W) input of both networks.
        outputs
            (N, classes + object outputs, h, w) of the network.
        unlabelled
            bool (N, H, W) valid pixels without a label.

        Returns
        -------
        Tensor
            Scalar; 0 if there are none.
        """
        total, counted = outputs.sum() * 0, unlabelled.sum()
        if bool(counted):
            total, counted = self._sum_divergence(inputs, outputs, unlabelled)
        # both sums in every process, also in one without such pixels: the others wait for it
        return self._reduce(total) / self._reduce(counted).clamp(min=1)

    def _sum_divergence(
        self, inputs: Tensor, outputs: Tensor, unlabelled: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the divergences over the pixels, and the number of pixels."""
        with torch.no_grad():
            expected = self._teacher(inputs).detach()
        factor = expected.shape[-1] // outputs.shape[-1]  # training logits may be coarser
        if factor > 1:
            every = slice(factor // 2, None, factor)
            expected, unlabelled = expected[..., every, every], unlabelled[..., every, every]
        rows = unlabelled.flatten()
        t = _group(_select(expected[:, : len(self._theirs)], rows), self._theirs, self.groups)
        p = _group(_select(outputs[:, : len(self._ours)], rows), self._ours, self.groups)
        total = (t.exp() * (t - p)).sum()
        if self._objects:
            o = _select(expected[:, len(self._theirs) :], rows).sigmoid()
            q = _select(outputs[:, len(self._ours) :], rows)
            total = total + (_binary_cross_entropy(q, o) - _binary_cross_entropy(o.logit(1e-6), o))
        return total, rows.sum()


def _assign_groups(legend: Legend, shared: list[str]) -> Tensor:
    """Return the (classes,) index of the group of each class: 0 for the background and for classes of one side."""
    groups = [1 + shared.index(name) if name in shared else BACKGROUND for name in legend.names]
    return torch.tensor(groups)


def _select(values: Tensor, rows: Tensor) -> Tensor:
    """(N, C, h, w) → float32 (n, C) of the pixels in `rows`."""
    return values.permute(0, 2, 3, 1).flatten(0, 2)[rows].float()


def _group(logits: Tensor, groups: Tensor, count: int) -> Tensor:
    """(n, C) logits → (n, count) log-probabilities of the groups."""
    log_p = F.log_softmax(logits, dim=1)
    of_group = [torch.logsumexp(log_p[:, groups == group], dim=1) for group in range(count)]
    return torch.stack(of_group, dim=1)


def _binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
