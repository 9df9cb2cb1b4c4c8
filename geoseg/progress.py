"""Progress is an iterator from outside: tools say ``for tile in track(tiles, "segment")``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")

Text = str | Callable[[], str]
"""What a stage is called, or a function that says how it stands just now."""


class Track(Protocol):
    """Passes items through, one by one, and tells somebody how far they have come."""

    def __call__(
        self, items: Iterable[T], /, text: Text = "", total: int | None = None
    ) -> Iterable[T]:
        """Yield `items`; `text` names the stage, `total` their number where `len` cannot tell."""
        ...


def silent(
    items: Iterable[T],
    /,
    text: Text = "",  # noqa: ARG001
    total: int | None = None,  # noqa: ARG001
) -> Iterable[T]:
    """The default: tell nobody."""
    return items
