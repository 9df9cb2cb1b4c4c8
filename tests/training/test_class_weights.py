import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from geoseg.training.class_weights import WEIGHTINGS, Weighting, class_weights

PIXELS = np.array([9_000_000, 400_000, 30_000, 2_000])

counts = st.lists(st.integers(1, 10**9), min_size=2, max_size=16)


def test_inverse_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [70, 25, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights([70, 25, 5]) == pytest.approx(expected)


@given(counts)
def test_inverse_weights_give_every_class_the_same_say(pixels: list[int]) -> None:
    say = class_weights(pixels) * pixels
    assert say == pytest.approx(np.full(len(pixels), sum(pixels) / len(pixels)))


def test_the_root_is_halfway_and_none_is_none() -> None:
    assert class_weights(PIXELS, "sqrt") ** 2 == pytest.approx(class_weights(PIXELS))
    assert class_weights(PIXELS, "none").tolist() == [1, 1, 1, 1]


def test_enet_weights_are_the_formula_of_the_paper() -> None:
    p = PIXELS / PIXELS.sum()
    assert class_weights(PIXELS, "enet") == pytest.approx(1 / np.log(1.02 + p))
    assert class_weights(PIXELS, "enet").max() < 50.5


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.999999])
def test_effective_numbers_are_the_sum_that_the_paper_counts(beta: float) -> None:
    pixels = np.array([2000, 300, 20, 1])
    numbers = np.array([(beta ** np.arange(n)).sum() for n in pixels])  # 1 + β + … + β^(n-1)
    weights = 1 / numbers
    expected = weights * len(pixels) / weights.sum()
    assert class_weights(pixels, "effective", beta=beta) == pytest.approx(expected)


def test_effective_weights_run_from_none_to_inverse_frequency() -> None:
    few, many = (class_weights(PIXELS, "effective", beta=b) for b in (1e-9, 1 - 1e-14))
    assert few == pytest.approx(np.ones(4))
    inverse = class_weights(PIXELS)
    assert many / many[0] == pytest.approx(inverse / inverse[0], rel=0.05)


@given(counts, st.sampled_from(WEIGHTINGS))
def test_a_rarer_class_never_weighs_less(pixels: list[int], weighting: Weighting) -> None:
    by_frequency = class_weights(pixels, weighting)[np.argsort(pixels)]
    assert (np.diff(by_frequency) <= 1e-12 * by_frequency[:-1]).all()
    assert np.isfinite(by_frequency).all()
    assert (by_frequency > 0).all()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_class_that_does_not_occur_weighs_nothing_and_takes_nothing_from_the_others(
    weighting: Weighting,
) -> None:
    with_it = class_weights([*PIXELS, 0], weighting)
    assert with_it.tolist() == [*class_weights(PIXELS, weighting), 0]


@given(counts, st.sampled_from(WEIGHTINGS), st.floats(1, 1000))
def test_no_weight_exceeds_the_cap_times_that_of_the_background(
    pixels: list[int], weighting: Weighting, cap: float
) -> None:
    capped, free = class_weights(pixels, weighting, cap=cap), class_weights(pixels, weighting)
    assert capped == pytest.approx(np.minimum(free, cap * free[0]))


def test_without_background_the_lightest_class_is_the_measure_of_the_cap() -> None:
    assert class_weights([0, 1000, 1], cap=10).tolist() == pytest.approx([0, 0.5005, 5.005])


def test_counts_of_zero_are_an_error() -> None:
    with pytest.raises(ValueError, match="0 pixels"):
        class_weights([0, 0])
