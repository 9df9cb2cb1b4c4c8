"""Work that overlaps, with as much of it in memory as is said and not more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice, repeat
from typing import TypeVar, cast

_END = object()

T = TypeVar("T")
R = TypeVar("R")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """`items` in lists of `size`, the last one shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def overlapped(
    executor: Executor, function: Callable[[T], R], items: Iterable[T], *, depth: int = 2
) -> Iterator[R]:
    """``function(item)`` for each item, in order, while up to `depth` more are on their way.

    Around a source it works ahead of whoever asks; around a sink it works behind whoever makes
    the items. At most ``depth + 1`` items or results are held at a time. An exception of
    `function` comes out in its turn.
    """
    running: deque[Future[R]] = deque()
    for item in items:
        running.append(executor.submit(function, item))
        if len(running) > depth:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def ahead(executor: Executor, items: Iterable[T], *, depth: int = 1) -> Iterator[T]:
    """The same items, made by a thread of `executor` while the last one is being used.

    `executor` has one thread and no other work. At most ``depth + 1`` items wait. What goes wrong
    in making an item comes out in its turn.
    """
    source = iter(items)
    for item in overlapped(executor, lambda _: next(source, _END), repeat(None), depth=depth):
        if item is _END:
            return
        yield cast(T, item)
