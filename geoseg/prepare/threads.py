"""The same work on many files at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from geoseg.errors import AnnotationError, SceneError
from geoseg.prepare.findings import Fault, Findings
from geoseg.progress import Track

T = TypeVar("T")
R = TypeVar("R")

_FAULTS = (AnnotationError, SceneError)


class Threads:
    """A pool whose tasks end early when its block is left by an exception."""

    def __init__(self, jobs: int | None, track: Track) -> None:
        self._pool = ThreadPoolExecutor(jobs or os.cpu_count() or 1)
        self._track = track
        self._left = threading.Event()

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        self._pool.shutdown(cancel_futures=True)

    def check(self) -> None:
        """To be called by long tasks now and then: raises when nobody waits for them any more."""
        if self._left.is_set():
            raise InterruptedError("the work was given up")

    def run(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        text: str,
        findings: Findings,
        *,
        at_once: bool = False,
    ) -> list[R]:
        """What `function` makes of the items, in their order, but for those at fault.

        These go to `findings`, which with `at_once` may stop the work at the first of them.
        """

        def attempt(item: T) -> R | Fault:
            try:
                return function(item)
            except _FAULTS as fault:
                return fault

        results: list[R] = []
        for result in self._track(self._pool.map(attempt, items), text, len(items)):
            if not isinstance(result, _FAULTS):
                results.append(result)
                continue
            findings.fault(result)
            if at_once:
                findings.stop()
        return results
