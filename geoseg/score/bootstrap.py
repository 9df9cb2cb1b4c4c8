"""How far a score may be off by the choice of scenes: the percentile bootstrap (Efron 1979).

Scenes, not pixels, are drawn anew: pixels of one scene are alike, and count as one piece of evidence. A
resample is how often each scene was drawn, so that all resamples of all counts are one matrix product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95


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


def interval(values: NDArray[np.float64], *, level: float = LEVEL) -> NDArray[np.float64]:
    """(2, ...) between which the middle `level` of (resamples, ...) scores lie; those that are not defined
    do not count, NaN where none is."""
    tail = 100 * (1 - level) / 2
    bounds: NDArray[np.float64] = np.full((2, *values.shape[1:]), np.nan)
    known = ~np.isnan(values).all(axis=0)
    bounds[:, known] = np.nanpercentile(values[:, known], [tail, 100 - tail], axis=0)
    return bounds
