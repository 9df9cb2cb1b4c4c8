"""Buffered work keeps its order, its bounds and its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.concurrency import map_buffered, prefetch
from tests.processes import HANG


@given(items=st.lists(st.integers()), depth=st.integers(0, 5), workers=st.integers(1, 3))
def test_results_come_in_the_order_of_the_items(items: list[int], depth: int, workers: int) -> None:
    with ThreadPoolExecutor(workers) as executor:
        found = list(map_buffered(executor, lambda item: item * 2, items, depth=depth))
    assert found == [item * 2 for item in items]


@given(depth=st.integers(0, 4))
def test_no_more_items_are_taken_than_the_depth_allows(depth: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield number

    with ThreadPoolExecutor(1) as executor:
        for number, _ in enumerate(map_buffered(executor, str, items(), depth=depth)):
            assert taken <= number + depth + 1


def test_the_next_item_is_made_while_the_last_is_worked_on() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        made.set()
        yield 1

    def work(item: int) -> bool:
        return item != 0 or made.wait(timeout=HANG)

    with ThreadPoolExecutor(1) as executor:
        assert list(map_buffered(executor, work, items())) == [True, True]


def test_an_error_is_raised_in_order() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise OSError("disk")
        return item

    with ThreadPoolExecutor(1) as executor:
        results = map_buffered(executor, work, range(9))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(OSError, match="disk"):
            next(results)


def test_items_are_made_ahead_one_by_one_and_in_order() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            yield number

    with ThreadPoolExecutor(1) as executor:
        seen = []
        for item in prefetch(executor, source(), depth=2):
            seen.append(item)
            assert len(made) <= len(seen) + 3
    assert seen == made == list(range(9))


def test_an_error_of_a_prefetched_item_is_raised_in_order() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    with ThreadPoolExecutor(1) as executor:
        items = prefetch(executor, source())
        assert next(items) == 1
        with pytest.raises(KeyError, match="two"):
            next(items)
