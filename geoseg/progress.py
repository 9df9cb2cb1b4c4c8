"""Progress reports: tools iterate over ``track(items, stage)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")

Text = str | Callable[[], str]
"""Name of a stage, or a function that returns its current status."""


def format_duration(seconds: float) -> str:
    """Return a duration in seconds, minutes, or hours and minutes, as all progress shows it.

    >>> format_duration(25), format_duration(305), format_duration(3900)
    ('25 s', '5 min', '1 h 05 min')
    """
    if round(seconds) < 60:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class Track(Protocol):
    """Iterate over items and report how many have been processed."""

    def __call__(
        self, items: Iterable[T], /, text: Text = "", total: int | None = None
    ) -> Iterable[T]:
        """Yield `items`.

        Parameters
        ----------
        items
            Work of one stage.
        text
            Name or status of the stage.
        total
            Number of items, if `items` has no length.
        """
        ...


def silent(
    items: Iterable[T],
    /,
    text: Text = "",  # noqa: ARG001
    total: int | None = None,  # noqa: ARG001
) -> Iterable[T]:
    """Return `items` without reporting progress; the default of all tools."""
    return items
