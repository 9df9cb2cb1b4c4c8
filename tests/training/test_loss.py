from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.legend import IGNORE
from geoseg.training.config import LossSection
from geoseg.training.loss import Loss

WEIGHTS = np.array([0.5, 2.0, 7.0, 0.0])  # the last class does not occur in the dataset


def drawn(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Logits (2, 4, 6, 5) and labels (2, 6, 5) of classes 0, 1 and 2, some ignored."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (2, 6, 5)).astype(np.uint8)
    labels[0, 0] = IGNORE
    return rng.normal(scale=2, size=(2, 4, 6, 5)), labels


def objective(**switches: float) -> Loss:
    return Loss(torch.tensor(WEIGHTS, dtype=torch.float32), LossSection(**switches))  # type: ignore[arg-type]


def loss(logits: NDArray[Any], labels: NDArray[np.uint8], **switches: float) -> float:
    images = torch.tensor(logits, dtype=torch.float32)
    return float(objective(**switches)(images, torch.from_numpy(labels)))


def expected(
    logits: NDArray[np.float64],
    labels: NDArray[np.uint8],
    *,
    dice: float = 0,
    focal: float = 0,
    smoothing: float = 0,
) -> float:
    """The formulas, pixel by pixel."""
    classes = logits.shape[1]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total, count = 0.0, 0
    both, found, true = np.zeros((3, classes))
    for n, row, column in np.argwhere(labels != IGNORE):
        y, chances = labels[n, row, column], p[n, :, row, column]
        q = np.full(classes, smoothing / classes)
        q[y] += 1 - smoothing
        total -= (WEIGHTS * q * np.log(chances)).sum() * (1 - chances[y]) ** focal
        count += 1
        both[y] += chances[y]
        found += chances
        true[y] += 1
    occurs = true > 0
    overlap = 2 * both[occurs] / (found + true)[occurs]
    return float(total / count + dice * (1 - overlap.mean()))


switches = st.fixed_dictionaries(
    {
        "dice": st.sampled_from([0.0, 1.0, 0.3]),
        "focal": st.sampled_from([0.0, 0.5, 2.0]),
        "smoothing": st.sampled_from([0.0, 0.1]),
    }
)


@given(st.integers(0, 100), switches)
@settings(max_examples=30)
def test_the_loss_is_the_formula(seed: int, on: dict[str, float]) -> None:
    logits, labels = drawn(seed)
    assert loss(logits, labels, **on) == pytest.approx(expected(logits, labels, **on), rel=1e-4)


@given(st.integers(0, 100), switches)
@settings(max_examples=20)
def test_what_is_ignored_changes_neither_the_loss_nor_its_slope(
    seed: int, on: dict[str, float]
) -> None:
    logits, labels = drawn(seed)
    changed = logits + np.random.default_rng(seed).normal(size=logits.shape) * (
        labels[:, None] == IGNORE
    )
    slopes, losses = [], []
    for images in (logits, changed):
        image = torch.tensor(images, dtype=torch.float32, requires_grad=True)
        value = objective(**on)(image, torch.from_numpy(labels))
        value.backward()  # type: ignore[no-untyped-call]
        assert image.grad is not None
        slopes.append(image.grad.numpy())
        losses.append(value.item())
    ignored = np.broadcast_to(labels[:, None] == IGNORE, logits.shape)
    assert not slopes[1][ignored].any()
    assert losses[0] == losses[1]
    assert (slopes[0] == slopes[1]).all()


def test_dice_is_nothing_where_all_is_right_and_one_where_all_is_wrong() -> None:
    labels = np.array([[[0, 1], [2, IGNORE]]], np.uint8)
    right = np.full((1, 4, 2, 2), -50.0)
    np.put_along_axis(right, np.where(labels == IGNORE, 3, labels)[:, None].astype(int), 50.0, 1)
    assert loss(right, labels, dice=1) == pytest.approx(0, abs=1e-6)
    wrong = (
        right[:, [3, 0, 1, 2]] / 50
    )  # every pixel one class too high; small, so that log p stays
    plain = loss(wrong, labels)
    assert loss(wrong * 50, labels, dice=1) - loss(wrong * 50, labels) == pytest.approx(1, abs=1e-4)
    assert loss(wrong, labels, dice=1) > plain


@pytest.mark.parametrize("focal", [0.5, 1.0, 2.0])
def test_the_slope_is_finite_where_a_pixel_is_right_beyond_doubt(focal: float) -> None:
    image = torch.tensor([200.0, -200, 0, 0]).reshape(1, 4, 1, 1).requires_grad_()
    labels = torch.zeros(1, 1, 1, dtype=torch.uint8)
    objective(focal=focal, dice=1, smoothing=0.1)(image, labels).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_coarse_logits_are_compared_at_the_middle_of_their_pixels() -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    labels[0, 1::2, 1::2] = 1
    right = np.broadcast_to(np.array([-20.0, 20, -20, -20]).reshape(1, 4, 1, 1), (1, 4, 2, 2))
    assert loss(right, labels, dice=1) < 1e-6


@pytest.mark.parametrize("on", [{}, {"dice": 1.0}, {"focal": 2.0, "smoothing": 0.1, "dice": 1.0}])
def test_a_batch_without_a_pixel_that_counts_has_no_loss_and_no_slope(
    on: dict[str, float],
) -> None:
    image = torch.zeros(1, 4, 2, 2, requires_grad=True)
    value = objective(**on)(image, torch.full((1, 2, 2), IGNORE, dtype=torch.uint8))
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == 0
    assert image.grad is not None
    assert not image.grad.any()


def test_logits_of_half_precision_are_added_up_in_full() -> None:
    logits = torch.zeros(1, 4, 256, 256, dtype=torch.float16)
    labels = torch.ones(1, 256, 256, dtype=torch.uint8)
    assert objective(dice=1)(logits, labels).item() == pytest.approx(
        2 * np.log(4) + 1 - 2 * 0.25 / 1.25, rel=1e-3
    )
