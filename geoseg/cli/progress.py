"""Progress of a command: a bar on a terminal, lines in a log file, JSON lines for a program.

With `json`, stdout gets one object per line: ``{"event": "progress", "done": 3, "total": 20, "text": "segment"}``
(total is null where it is unknown), before a longer prediction one with its size and expected duration:
``{"event": "plan", "scene": …, "pixel_size_m": 0.3, "tiles": 20, "seconds": 250, …}``, and at the end
``{"event": "result", "path": …}``. Otherwise stdout gets only the path of the product.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import click

from geoseg.progress import Text, Track, format_duration, silent

if TYPE_CHECKING:
    from rich.progress import Progress


T = TypeVar("T")

_LEFT = " left"
"""End of a text with the remaining time."""

JSON_SECONDS = 0.25
LOG_SECONDS = 10.0

log = logging.getLogger("geoseg")


def tracker(mode: str) -> Track:
    """Return the `track` argument of a tool for a value of ``--progress``: auto, json or none."""
    for handler in [h for h in log.handlers if isinstance(h, _PlanEvents)]:
        log.removeHandler(handler)
    if mode == "none":
        return silent
    if mode == "json":
        log.addHandler(_PlanEvents())
        return _Lines(_write_json, JSON_SECONDS)
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _Bars()
    return _Lines(_write_log, LOG_SECONDS, ends=False)


def report(product: Path, mode: str, **facts: object) -> None:
    """Print the path of the product; with ``--progress json`` a result line with `facts`."""
    if mode == "json":
        _emit({"event": "result", "path": os.fspath(product), **facts})
    else:
        click.echo(os.fspath(product))


class _PlanEvents(logging.Handler):
    """Write the facts of a prediction, which its log record has, as JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        if plan := getattr(record, "plan", None):
            _emit({"event": "plan", **plan})


class _Lines:
    """Write a line at most every `seconds` and, with `ends`, at the start and end of a stage."""

    def __init__(
        self, write: Callable[[int, int | None, str], None], seconds: float, *, ends: bool = True
    ) -> None:
        self._write = write
        self._seconds = seconds
        self._ends = ends

    def __call__(
        self, items: Iterable[T], /, text: Text = "", total: int | None = None
    ) -> Iterator[T]:
        total = _length(items) if total is None else total
        done = 0
        if self._ends:
            self._write(done, total, _resolve_text(text))
        written_at, written = monotonic(), 0
        for item in items:
            yield item
            done += 1
            if (now := monotonic()) - written_at >= self._seconds:
                self._write(done, total, _resolve_text(text))
                written_at, written = now, done
        if self._ends and written != done:
            self._write(done, total, _resolve_text(text))


class _Bars:
    """Bars on stderr; nested stages share one display."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._open = 0

    def __call__(
        self, items: Iterable[T], /, text: Text = "", total: int | None = None
    ) -> Iterator[T]:
        progress = self._progress = self._progress or _start_display()
        task = progress.add_task(
            _resolve_text(text), total=_length(items) if total is None else total
        )
        self._open += 1
        try:
            for item in items:
                yield item
                progress.update(task, advance=1, description=_resolve_text(text))
        finally:
            self._open -= 1
            if self._open:
                progress.remove_task(task)
            else:
                progress.stop()
                self._progress = None


def _start_display() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
    )
    from rich.text import Text as RichText

    class Times(ProgressColumn):
        """Elapsed time, and the remaining time unless the stage estimates it itself."""

        def render(self, task: Task) -> RichText:
            times = [] if task.elapsed is None else [format_duration(task.elapsed)]
            if task.time_remaining is not None and not task.description.endswith(_LEFT):
                times.append(f"{format_duration(task.time_remaining)}{_LEFT}")
            return RichText(", ".join(times))

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Times(),
        console=Console(stderr=True),
    )
    progress.start()
    return progress


def _write_json(done: int, total: int | None, text: str) -> None:
    _emit({"event": "progress", "done": done, "total": total, "text": text})


def _write_log(done: int, total: int | None, text: str) -> None:
    log.info("%s: %s", text or "progress", done if total is None else f"{done} of {total}")


def _emit(event: dict[str, object]) -> None:
    # ASCII, so that names are safe in any locale; click flushes, so that readers of a pipe get it at once
    click.echo(json.dumps(event))


def _resolve_text(text: Text) -> str:
    return text if isinstance(text, str) else text()


def _length(items: Iterable[object]) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]
    except TypeError:
        return None
