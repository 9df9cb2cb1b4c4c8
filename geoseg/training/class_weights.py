"""Class weights of the loss from pixel counts."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weighting = Literal["none", "inverse", "sqrt", "enet", "effective"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)

BETA = 1 - 1e-7
"""Default β of the effective number of pixels, which saturates at about 1 / (1 - β) = 10 million."""


def class_weights(
    pixels: ArrayLike,
    weighting: Weighting = "inverse",
    *,
    cap: float | None = None,
    beta: float = BETA,
) -> NDArray[np.float64]:
    """Compute the weight of each class.

    Parameters
    ----------
    pixels
        (classes,) number of pixels of each class, background first.
    weighting
        Formula, see Notes.
    cap
        Largest weight, as a multiple of the background's (of the lightest class's, if no pixel is background).
    beta
        β of "effective".

    Returns
    -------
    (classes,) array
        Weights; 0 for a class that does not occur.

    Raises
    ------
    ValueError
        If all counts are 0.

    Notes
    -----
    With N pixels in all, n of the class, and C classes that occur:

    - *none*: 1
    - *inverse*: ``N / (C n)``; every class has the same total weight, and the mean weight of a pixel is 1 (King and
      Zeng 2001; scikit-learn's "balanced")
    - *sqrt*: the square root of *inverse*
    - *enet*: ``1 / ln(1.02 + n / N)``, at most 50.5 (Paszke et al. 2016, arXiv 1606.02147)
    - *effective*: ``(1 - β) / (1 - β**n)``, scaled to a sum of C (Cui et al. 2019, arXiv 1901.05555)

    Examples
    --------
    >>> class_weights([90, 10]).round(3).tolist()
    [0.556, 5.0]
    """
    counts = np.asarray(pixels, np.float64)
    occurs = counts > 0
    if not occurs.any():
        raise ValueError("all classes have 0 pixels")
    weights = np.zeros_like(counts)
    weights[occurs] = _compute_weights(counts[occurs], weighting, beta)
    if cap is not None:
        least = weights[0] if occurs[0] else weights[occurs].min()
        weights = np.minimum(weights, cap * least)
    return weights


def _compute_weights(
    n: NDArray[np.float64], weighting: Weighting, beta: float
) -> NDArray[np.float64]:
    """Compute the formulas of `class_weights` for counts above 0."""
    weights: NDArray[np.float64]
    if weighting == "none":
        weights = np.ones_like(n)
    elif weighting == "enet":
        weights = 1 / np.log(1.02 + n / n.sum())
    elif weighting == "effective":
        weights = -1 / np.expm1(n * np.log(beta))  # 1 - beta**n would lose its digits
        weights = weights * len(n) / weights.sum()
    else:
        weights = n.sum() / (len(n) * n)
        weights = np.sqrt(weights) if weighting == "sqrt" else weights
    return weights
