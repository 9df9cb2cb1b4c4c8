"""Commands of geoseg as plugins of rasterio's ``rio``: ``rio segment`` and ``rio vectorize``."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from geoseg.cli import boundary
from geoseg.cli.process import request_huge_pages
from geoseg.cli.segment import segment as _segment
from geoseg.cli.vectorize import vectorize as _vectorize


def as_plugin(command: click.Command) -> click.Command:
    """Return a copy of `command` with the error boundary of ``geoseg``."""
    guarded = copy.copy(command)
    if command.callback is not None:
        guarded.callback = _guarded(command.callback)
    return guarded


def _guarded(callback: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(callback)
    def call(*args: Any, **kwargs: Any) -> None:
        def work() -> int:
            callback(*args, **kwargs)
            return 0

        request_huge_pages()
        if code := boundary.run_guarded(work):
            sys.exit(code)

    return call


segment = as_plugin(_segment)
vectorize = as_plugin(_vectorize)
