"""The loss of object outputs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geoseg.training.config import ObjectsSection
from geoseg.training.object_loss import ObjectLoss, ObjectTensors

SIZE = 32


def square() -> tuple[ObjectTensors, Tensor]:
    """One object of 8 by 8 pixels, and labels with a column to ignore."""
    values = torch.zeros(1, 2, SIZE, SIZE, dtype=torch.bool)
    values[:, 0, 13:19, 13:19] = True
    weight = torch.zeros(1, SIZE, SIZE, dtype=torch.float16)
    weight[:, 12:20, 12:20] = 1.5
    labels = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    labels[:, 12:20, 12:20] = 1
    labels[:, :, :4] = 255
    return ObjectTensors(values, weight), labels


def test_the_loss_of_undecided_outputs_is_that_of_the_formula() -> None:
    objects, labels = square()
    loss = ObjectLoss(ObjectsSection(interior=1, touching=0))
    counted = SIZE * (SIZE - 4)
    near = 18 * 18 - 8 * 8
    weights = 1.5 * 64 + 0.5 * near + 0.05 * (counted - near - 64)
    expected = math.log(2) * weights / (1.5 * 64 + 0.02 * counted + 1)
    found = loss(torch.zeros(1, 2, SIZE, SIZE), objects, labels)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_outputs_that_match_the_targets_cost_nothing() -> None:
    objects, labels = square()
    outputs = torch.where(objects.values, 20.0, -20.0)
    assert ObjectLoss(ObjectsSection())(outputs, objects, labels).item() < 1e-6
    outputs[:, :, :, :4] = 20.0  # ignored
    assert ObjectLoss(ObjectsSection())(outputs, objects, labels).item() < 1e-6


def test_a_missed_touching_border_costs_three_times_a_missed_pixel() -> None:
    objects, labels = square()
    costs = []
    for channel, settings in enumerate(
        (ObjectsSection(interior=1, touching=0), ObjectsSection(interior=0, touching=1))
    ):
        objects.values[:] = False
        objects.values[:, channel, 15, 15] = True
        outputs = torch.full((1, 2, SIZE, SIZE), -20.0)
        costs.append(ObjectLoss(settings)(outputs, objects, labels).item())
    assert costs[1] == pytest.approx(3 * costs[0], rel=1e-5)


def test_two_processes_have_the_loss_of_the_whole_batch() -> None:
    objects, labels = square()
    outputs = torch.randn(1, 2, SIZE, SIZE)
    doubled = ObjectTensors(objects.values.repeat(2, 1, 1, 1), objects.weight.repeat(2, 1, 1))
    whole = ObjectLoss(ObjectsSection())(
        outputs.repeat(2, 1, 1, 1), doubled, labels.repeat(2, 1, 1)
    )
    part = ObjectLoss(ObjectsSection(), lambda sums: 2 * sums)(outputs, objects, labels)
    assert part.item() == pytest.approx(whole.item())
