import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from geoseg.learn.loss import class_weights, weighted_cross_entropy
from geoseg.legend import IGNORE


def test_inverse_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [70, 25, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights([70, 25, 5]) == pytest.approx(expected)


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=16))
def test_inverse_weights_give_every_class_the_same_say(pixels: list[int]) -> None:
    say = class_weights(pixels) * pixels
    assert say == pytest.approx(np.full(len(pixels), sum(pixels) / len(pixels)))


def test_a_class_that_does_not_occur_weighs_nothing_and_takes_nothing_from_the_others() -> None:
    assert class_weights([90, 0, 10]).tolist() == pytest.approx([100 / 180, 0, 5])


def test_the_root_is_halfway_and_none_is_none() -> None:
    pixels = [900, 90, 10]
    assert class_weights(pixels, "sqrt") ** 2 == pytest.approx(class_weights(pixels))
    assert class_weights(pixels, "none").tolist() == [1, 1, 1]


def test_no_weight_exceeds_the_cap_times_that_of_the_background() -> None:
    weights = class_weights([10**6, 10**3, 1], cap=50)
    assert weights.max() == pytest.approx(50 * weights[0])


def test_nothing_cannot_be_weighed() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        class_weights([0, 0])


def test_the_loss_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 5))
    labels = rng.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    labels[0, 0] = IGNORE
    weights = np.array([0.5, 2.0, 7.0])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    terms = [
        -weights[labels[n, r, c]] * np.log(p[n, labels[n, r, c], r, c])
        for n, r, c in np.argwhere(labels != IGNORE)
    ]
    loss = weighted_cross_entropy(
        torch.tensor(logits, dtype=torch.float32),
        torch.from_numpy(labels),
        torch.tensor(weights, dtype=torch.float32),
    )
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_coarse_logits_are_compared_at_the_middle_of_their_pixels() -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    labels[0, 1::2, 1::2] = 1
    right = torch.tensor([-9.0, 9.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    loss = weighted_cross_entropy(right, torch.from_numpy(labels), torch.ones(2))
    assert loss.item() < 1e-6


def test_a_batch_without_a_pixel_that_counts_has_no_loss() -> None:
    labels = torch.full((1, 2, 2), IGNORE, dtype=torch.uint8)
    assert weighted_cross_entropy(torch.zeros(1, 3, 2, 2), labels, torch.ones(3)).item() == 0
