"""geoseg's commands for scenes inside rasterio's ``rio``: ``rio segment`` and ``rio vectorize``."""

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


def guest(command: click.Command) -> click.Command:
    """A copy of `command` that reports errors and ends on signals as ``geoseg`` does, whoever calls it."""
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
        if code := boundary.guarded(work):
            sys.exit(code)

    return call


segment = guest(_segment)
vectorize = guest(_vectorize)
