"""Thread pool over input files whose errors go to the validation report."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

from rasterio.errors import NotGeoreferencedWarning

from geoseg.annotations.validation import InputError, ValidationReport
from geoseg.errors import AnnotationError, SceneError
from geoseg.progress import Track

T = TypeVar("T")
R = TypeVar("R")

_INPUT_ERRORS = (AnnotationError, SceneError)


class InputPool:
    """Thread pool whose tasks end early when its block is left by an exception.

    Parameters
    ----------
    jobs
        Number of threads; None for the number of cores.
    track
        Progress of an iterable.
    """

    def __init__(self, jobs: int | None, track: Track) -> None:
        self._pool = ThreadPoolExecutor(jobs or os.cpu_count() or 1)
        self._track = track
        self._cancelled = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> InputPool:
        # set once here: filters changed by several threads interfere
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancelled.set()
        self._pool.shutdown(cancel_futures=True)
        self._stack.close()

    def raise_if_cancelled(self) -> None:
        """Raise InterruptedError after the block was left; long tasks call it often."""
        if self._cancelled.is_set():
            raise InterruptedError("cancelled")

    def map(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        text: str,
        report: ValidationReport,
        *,
        stop_at_first: bool = False,
    ) -> list[R]:
        """Apply `function` to the items.

        Parameters
        ----------
        function
            Called in the threads. AnnotationError and SceneError reject its item.
        items
            Inputs.
        text
            Name of the step, for progress.
        report
            Collects the errors.
        stop_at_first
            Raise the first error at once, unless the report skips invalid inputs.

        Returns
        -------
        list
            Results in the order of the items, without rejected ones.
        """

        def attempt(item: T) -> R | InputError:
            try:
                return function(item)
            except _INPUT_ERRORS as error:
                return error

        results: list[R] = []
        for result in self._track(self._pool.map(attempt, items), text, len(items)):
            if not isinstance(result, _INPUT_ERRORS):
                results.append(result)
                continue
            report.reject(result)
            if stop_at_first:
                report.raise_rejected()
        return results
