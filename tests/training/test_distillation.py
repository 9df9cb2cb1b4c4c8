"""The loss that keeps the predictions of the initial model."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.legend import Legend
from geoseg.training.distillation import Distillation

THEIRS = Legend.of({"plane": "#ff0000", "ship": "#00ff00"})
OURS = Legend.of({"shed": "#0000ff", "ship": "#00ff00"})
EVERYWHERE = torch.ones(2, 5, 6, dtype=torch.bool)


class Fixed(nn.Module):
    """A network that always returns the same logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, _: Tensor) -> Tensor:
        return self.logits


def draw(outputs: int, seed: int) -> Tensor:
    return torch.randn(2, outputs, 5, 6, generator=torch.Generator().manual_seed(seed))


def loss(
    theirs: Tensor, ours: Tensor, where: Tensor = EVERYWHERE, *, objects: bool = False
) -> float:
    distillation = Distillation(Fixed(theirs), THEIRS, OURS, objects=objects, device="cpu")
    return float(distillation(torch.zeros(2, 3, 5, 6), ours, where))


def test_it_is_the_divergence_of_the_classes_of_both() -> None:
    theirs, ours = draw(3, 0), draw(3, 1)
    t, p = theirs.softmax(1)[:, 2], ours.softmax(1)[:, 2]  # ship; all others are background
    kl = t * (t / p).log() + (1 - t) * ((1 - t) / (1 - p)).log()
    assert loss(theirs, ours) == pytest.approx(float(kl.mean()), rel=1e-4)


def test_the_same_outputs_cost_nothing() -> None:
    theirs = draw(5, 0)
    swapped = theirs[:, [0, 1, 2, 3, 4]]  # plane counts as background, as shed does
    assert loss(theirs, swapped, objects=True) == pytest.approx(0, abs=1e-5)
    assert loss(theirs, draw(5, 1), objects=True) > 0.01


def test_object_outputs_are_compared_as_probabilities() -> None:
    theirs, ours = draw(5, 0), draw(5, 1)
    ours[:, :3] = theirs[:, :3]
    o, q = theirs[:, 3:].sigmoid(), ours[:, 3:].sigmoid()
    kl = F.binary_cross_entropy(q, o) - F.binary_cross_entropy(o, o)
    assert loss(theirs, ours, objects=True) == pytest.approx(2 * float(kl), rel=1e-4)


def test_only_pixels_without_a_label_count() -> None:
    theirs, ours = draw(3, 0), draw(3, 1)
    where = torch.zeros_like(EVERYWHERE)
    assert loss(theirs, ours, where) == 0
    where[0, 2, 3] = True
    one = loss(theirs, ours, where)
    ours[1] += draw(3, 2)[1]
    assert loss(theirs, ours, where) == one


def test_the_model_is_not_trained() -> None:
    theirs = draw(3, 0).requires_grad_()
    ours = draw(3, 1).requires_grad_()
    distillation = Distillation(Fixed(theirs), THEIRS, OURS, objects=False, device="cpu")
    total = distillation(torch.zeros(2, 3, 5, 6), ours, EVERYWHERE)
    total.backward()  # type: ignore[no-untyped-call]
    assert theirs.grad is None
    assert ours.grad is not None


def test_a_process_without_such_pixels_takes_part_in_the_sums() -> None:
    sums: list[float] = []

    def add_of_other_process(part: Tensor) -> Tensor:
        sums.append(float(part.detach()))
        return part + 3

    distillation = Distillation(
        Fixed(draw(3, 0)), THEIRS, OURS, objects=False, device="cpu", reduce=add_of_other_process
    )
    nowhere = torch.zeros_like(EVERYWHERE)
    assert float(distillation(torch.zeros(2, 3, 5, 6), draw(3, 1), nowhere)) == 1
    assert sums == [0, 0]
