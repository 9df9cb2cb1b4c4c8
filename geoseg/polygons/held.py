"""Rows that wait until it is known what becomes of them.

Whether a region is too small, or a hole to be filled, shows only when it ends. So a *decision*
sees a window of rows, changes what is decided, and says how many of the rows may go; the others
wait for the next strip. That makes the result independent of strips, and the memory that of the
rows which the regions in question span, not of the scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.trace import Labels

Strip = tuple[Labels, NDArray[np.uint8] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Rows of which some have been waiting."""

    labels: Labels
    """(h, w), to be changed in place."""

    confidence: NDArray[np.uint8] | None

    above: Labels | None
    """(w,) the row before them, as it went; None at the top of the scene."""

    first: int
    """The row of the scene that is the first of them."""

    last: bool
    """The scene ends with them."""


class Decision(Protocol):
    """Changes what can be decided and returns the number of rows that may go."""

    def __call__(self, rows: Waiting) -> int: ...


def held(strips: Iterable[Strip], decide: Decision) -> Iterator[Strip]:
    """Pass strips on after `decide` has changed them, in other heights."""
    labels: Labels | None = None
    confidence: NDArray[np.uint8] | None = None
    above: Labels | None = None
    first = 0
    for more, sureness in strips:
        labels = more.copy() if labels is None else np.concatenate([labels, more])
        if sureness is not None:
            waiting = [] if confidence is None else [confidence]
            confidence = np.concatenate([*waiting, sureness])
        go = decide(Waiting(labels, confidence, above, first, last=False))
        if go:
            yield labels[:go], None if confidence is None else confidence[:go]
            above = labels[go - 1].copy()
            labels = labels[go:].copy()
            confidence = None if confidence is None else confidence[go:].copy()
            first += go
    if labels is not None and len(labels):
        decide(Waiting(labels, confidence, above, first, last=True))
        yield labels, confidence
