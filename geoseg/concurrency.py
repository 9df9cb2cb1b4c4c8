"""Iterators that overlap work of several threads, with a bounded number of items in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice, repeat
from typing import TypeVar, cast

_END = object()

T = TypeVar("T")
R = TypeVar("R")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last one may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def map_buffered(
    executor: Executor, function: Callable[[T], R], items: Iterable[T], *, depth: int = 2
) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order, while up to `depth` more are computed.

    At most ``depth + 1`` items or results are in memory. An exception of `function` is raised in place of its result.
    """
    running: deque[Future[R]] = deque()
    for item in items:
        running.append(executor.submit(function, item))
        if len(running) > depth:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def prefetch(executor: Executor, items: Iterable[T], *, depth: int = 1) -> Iterator[T]:
    """Yield `items`, computed ahead of the consumer by a thread of `executor`.

    Parameters
    ----------
    executor
        Executor with one thread and no other work.
    items
        Items; an exception of theirs is raised in its place.
    depth
        At most ``depth + 1`` items are in memory.
    """
    source = iter(items)
    for item in map_buffered(executor, lambda _: next(source, _END), repeat(None), depth=depth):
        if item is _END:
            return
        yield cast(T, item)
