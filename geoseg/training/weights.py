"""Class weights: how much a pixel of each class counts in the loss, from how many of them there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weighting = Literal["none", "inverse", "sqrt", "enet", "effective"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)

BETA = 1 - 1e-7
"""Of the effective number: pixels of a class beyond some ten million say nothing new."""

Shares = NDArray[np.float64]


def class_weights(
    pixels: ArrayLike,
    weighting: Weighting = "inverse",
    *,
    cap: float | None = None,
    beta: float = BETA,
) -> NDArray[np.float64]:
    """Weight of each class from its number of pixels, background first.

    With N pixels in all, n of the class, p = n / N and C classes that occur:

    - *none*: 1
    - *inverse*: ``N / (C n)``, so that every class has the same total weight and the mean weight of a pixel
      is 1 (King and Zeng 2001; scikit-learn's "balanced")
    - *sqrt*: the square root of that
    - *enet*: ``1 / ln(1.02 + p)``, never above 50.5 (Paszke et al. 2016, arXiv 1606.02147)
    - *effective*: ``(1 - beta) / (1 - beta**n)``, scaled so that the weights add up to C (Cui et al. 2019,
      arXiv 1901.05555)

    A class that does not occur weighs 0. No weight exceeds `cap` times that of the background (of the lightest
    class, where no pixel is background). Raises ValueError if no pixel is counted.
    """
    counts = np.asarray(pixels, np.float64)
    occurs = counts > 0
    if not occurs.any():
        raise ValueError("no pixels to weigh")
    weights = np.zeros_like(counts)
    weights[occurs] = _formula(weighting, beta)(counts[occurs])
    if cap is not None:
        least = weights[0] if occurs[0] else weights[occurs].min()
        weights = np.minimum(weights, cap * least)
    return weights


def _formula(weighting: Weighting, beta: float) -> Callable[[Shares], Shares]:
    def inverse(n: Shares) -> Shares:
        shares: Shares = n.sum() / (len(n) * n)
        return shares

    def effective(n: Shares) -> Shares:
        weights = -1 / np.expm1(n * np.log(beta))  # beta**n would be rounded to 1
        scaled: Shares = weights * len(n) / weights.sum()
        return scaled

    formulas: dict[Weighting, Callable[[Shares], Shares]] = {
        "none": np.ones_like,
        "inverse": inverse,
        "sqrt": lambda n: np.sqrt(inverse(n)),
        "enet": lambda n: 1 / np.log(1.02 + n / n.sum()),
        "effective": effective,
    }
    return formulas[weighting]
