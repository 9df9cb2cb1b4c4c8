"""How far a score may be off by the choice of scenes: the percentile bootstrap (Efron 1979).

Scenes, not pixels, are drawn anew: pixels of one scene are alike, and count as one piece of evidence. A
resample is how often each scene was drawn, so that all resamples of all counts are one matrix product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
LEAST = 5
"""Scenes that an interval takes."""


def draws(scenes: int, *, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """(resamples, scenes) how often each scene is drawn; every row adds up to `scenes`."""
    drawn = np.random.default_rng(seed).multinomial(
        scenes, np.full(scenes, 1 / scenes), size=resamples
    )
    return drawn.astype(np.float64)


def resampled(drawn: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(resamples, ...) sums of counts (scenes, ...) over the scenes of each resample."""
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    return (drawn @ flat).reshape(len(drawn), *counts.shape[1:])


def interval(
    values: NDArray[np.float64], *, scenes: int, level: float = LEVEL
) -> tuple[float, float] | None:
    """Between which the middle `level` of (resamples,) scores lie; those that are not defined do not count.

    None if none is, or if fewer than 5 scenes have what is scored: so few say nothing of others.
    """
    values = values[~np.isnan(values)]
    if scenes < LEAST or not len(values):
        return None
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
