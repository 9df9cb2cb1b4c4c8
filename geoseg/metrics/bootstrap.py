"""Confidence intervals of scores: percentile bootstrap over scenes (Efron 1979).

Scenes are resampled, not pixels: pixels of one scene are correlated and count as one observation. A resample
is stored as the number of times that each scene was drawn, so all resamples of all counts are one matrix
product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
MIN_SCENES = 5
"""Fewest scenes for which an interval is given."""


def draw_resamples(
    scenes: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Draw scenes with replacement.

    Returns
    -------
    (resamples, scenes) array
        Number of times that each scene was drawn; every row sums to `scenes`.
    """
    drawn = np.random.default_rng(seed).multinomial(
        scenes, np.full(scenes, 1 / scenes), size=resamples
    )
    return drawn.astype(np.float64)


def sum_resamples(resamples: NDArray[np.float64], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Sum counts (scenes, ...) over the scenes of each resample, as (resamples, ...)."""
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    return (resamples @ flat).reshape(len(resamples), *counts.shape[1:])


def percentile_interval(
    scores: NDArray[np.float64], *, scenes: int, level: float = LEVEL
) -> tuple[float, float] | None:
    """Compute the interval that holds the middle `level` of resampled scores.

    Parameters
    ----------
    scores
        (resamples,) scores; NaN (undefined) is left out.
    scenes
        Scenes in which the scored class occurs.
    level
        Confidence level, 0 to 1.

    Returns
    -------
    tuple of float or None
        Lower and upper bound. None if every score is undefined or if there are fewer than `MIN_SCENES` scenes.
    """
    scores = scores[~np.isnan(scores)]
    if scenes < MIN_SCENES or not len(scores):
        return None
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(scores, [tail, 100 - tail])
    return float(low), float(high)
