import numpy as np
import pytest
from scipy.stats import bootstrap

from geoseg.metrics.bootstrap import MIN_SCENES, draw_resamples, percentile_interval, sum_resamples


def test_resamples_are_sums_over_the_drawn_scenes() -> None:
    counts = np.random.default_rng(1).integers(0, 2**40, (7, 3, 2))
    drawn = draw_resamples(7, resamples=20)
    assert (drawn.sum(axis=1) == 7).all()
    sums = sum_resamples(drawn, counts)
    for times, found in zip(drawn.astype(int), sums, strict=True):
        np.testing.assert_array_equal(found, counts[np.repeat(np.arange(7), times)].sum(axis=0))


def test_draws_are_the_same_for_the_same_seed() -> None:
    np.testing.assert_array_equal(draw_resamples(9), draw_resamples(9))
    assert (draw_resamples(9) != draw_resamples(9, seed=1)).any()


def test_the_interval_is_that_of_scipy() -> None:
    hits, of = np.random.default_rng(2).integers(1, 100, (2, 60))
    of += hits
    drawn = draw_resamples(60, resamples=20_000)
    found = percentile_interval(sum_resamples(drawn, hits) / sum_resamples(drawn, of), scenes=60)

    def ratio(hits: np.ndarray, of: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(hits.sum(axis=axis) / of.sum(axis=axis))

    theirs = bootstrap(
        (hits, of), ratio, paired=True, n_resamples=20_000, method="percentile", rng=3
    ).confidence_interval
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_undefined_scores_are_left_out_of_the_interval() -> None:
    values = np.array([np.nan, 0.0, 0.5, 1.0, np.nan])
    assert percentile_interval(values, scenes=9, level=0.5) == (0.25, 0.75)
    assert percentile_interval(np.full(5, np.nan), scenes=9) is None


def test_few_scenes_have_no_interval() -> None:
    assert percentile_interval(np.linspace(0, 1, 100), scenes=MIN_SCENES - 1) is None
    assert percentile_interval(np.linspace(0, 1, 100), scenes=MIN_SCENES) is not None
