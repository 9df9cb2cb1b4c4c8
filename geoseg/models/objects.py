"""Object outputs of a network: where one object ends and the next begins."""

from __future__ import annotations

from torch import Tensor

OBJECT_OUTPUTS = ("interior", "touching")
"""Channels after the class logits, as logits of probabilities at full resolution.

- interior: the pixel is on an object of a countable class, and not its outermost pixel
- touching: two such objects lie within 5 x 5 pixels around it
"""


def interior_probability(logits: Tensor) -> Tensor:
    """Compute the probability that a pixel is in the interior of an object.

    Parameters
    ----------
    logits
        (..., 2, h, w) `OBJECT_OUTPUTS`.

    Returns
    -------
    Tensor
        (..., h, w), 0 to 1.

    Notes
    -----
    The output *touching* is not used. The winners of SpaceNet 4 and of the 2018 Data Science Bowl multiply by its
    complement, which removes the interior of cars of 5 pixels width that stand side by side: ``docs/objects.md``.
    """
    return logits.select(-3, 0).sigmoid()
