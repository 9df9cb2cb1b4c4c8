"""Object outputs of a network: where one object ends and the next begins."""

from __future__ import annotations

from torch import Tensor

OBJECT_OUTPUTS = ("interior", "touching")
"""Channels after the class logits, as logits of probabilities at full resolution.

- interior: the pixel is on an object of a countable class, and not its outermost pixel
- touching: two such objects lie within 5 x 5 pixels around it
"""


def interior_probability(logits: Tensor) -> Tensor:
    """Compute the probability that a pixel is in the interior of one object: interior and not touching.

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
    Seeds of the winner of SpaceNet 4 and of the 2018 Data Science Bowl: body times (1 - separation).
    """
    interior, touching = logits.sigmoid().unbind(-3)
    return interior * (1 - touching)
