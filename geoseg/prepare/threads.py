"""The same work on many files at once, and what becomes of those at fault."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from geoseg.errors import AnnotationError, SceneError, SkippedInputsError
from geoseg.progress import Track

T = TypeVar("T")
R = TypeVar("R")

Fault = AnnotationError | SceneError
"""What is wrong with one input and says nothing about the others."""

_FAULTS = (AnnotationError, SceneError)

_NAMED = 20
log = logging.getLogger(__name__)


class Faults:
    """Inputs that cannot be used: they stop the work, or are left out of it."""

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip
        self.found: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Take note of an input at fault."""
        self.found.append(fault)
        if self._skip:
            log.warning("left out: %s", fault)

    def stop(self) -> None:
        """Raise what was found as one error, unless it is to be left out."""
        if self.found and not self._skip:
            several = f"{len(self.found)} inputs are at fault: " if len(self.found) > 1 else ""
            raise type(self.found[0])(f"{several}{self} (--skip-bad leaves such input out)")

    def tell(self, output: Path) -> None:
        """Raise a SkippedInputsError once `output` is complete but for them."""
        if self.found:
            raise SkippedInputsError(
                f"{output}: complete, but {len(self.found)} inputs were left out: {self}"
            )

    def __str__(self) -> str:
        """All of them in one line; of very many only the first."""
        named = " | ".join(str(fault) for fault in self.found[:_NAMED])
        more = len(self.found) - _NAMED
        return f"{named} | and {more} more" if more > 0 else named


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
        faults: Faults,
        *,
        at_once: bool = False,
    ) -> list[R]:
        """What `function` makes of the items, in their order, but for those at fault.

        These go to `faults`, which with `at_once` may stop the work at the first of them.
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
            faults.add(result)
            if at_once:
                faults.stop()
        return results
