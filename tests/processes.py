"""geoseg in child processes that pause or die at a given point of their work, not at a given time.

    python -m tests.processes tile NUMBER geoseg|rio ARGUMENTS
    python -m tests.processes checkpoint NUMBER CALLS kill|stop ARGUMENTS

The first form, with ``--progress json``, waits for a signal once it has reported that many tiles. The second sends
itself SIGKILL or SIGSTOP a number of function calls after it began to move a checkpoint of a training to its place.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

HANG = 600
"""Seconds that nothing takes unless it hangs, however busy the machine is."""


def paused_at_tile(number: int, program: str = "geoseg") -> list[str]:
    """Return the command of a geoseg or rio that waits for a signal at a tile."""
    return [sys.executable, "-m", "tests.processes", "tile", str(number), program]


def at_checkpoint(number: int, calls: int = 0, action: str = "kill") -> list[str]:
    """Return the arguments of Python for a geoseg that ends or stops itself at a checkpoint."""
    return ["-m", "tests.processes", "checkpoint", str(number), str(calls), action]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and fail only if it does not come true before `HANG`."""
    for _ in polls():
        if condition():
            return


def polls() -> Iterator[None]:
    """Yield every 20 ms, and raise after `HANG`."""
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        yield
        time.sleep(0.02)
    raise AssertionError(f"waited for {HANG} seconds")


def _wait_at_tile(number: int) -> None:
    import click

    from geoseg.cli import progress

    echo = click.echo

    def echo_and_wait(message: Any = None, *args: Any, **options: Any) -> None:
        echo(message, *args, **options)
        if isinstance(message, str) and f'"done": {number}, ' in message:
            time.sleep(2 * HANG)

    progress.JSON_SECONDS = 0
    click.echo = echo_and_wait


def _signal_at_checkpoint(number: int, calls: int, action: str) -> None:
    sent = signal.SIGKILL if action == "kill" else signal.SIGSTOP
    moves = 0

    def watch_files(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal moves
        if event != "os.rename" or not str(arguments[1]).endswith(".checkpoint.safetensors"):
            return
        moves += 1
        if moves == number and calls == 0:
            os.kill(os.getpid(), sent)
        elif moves == number:
            sys.setprofile(count_calls)

    def count_calls(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls -= event in ("call", "c_call")
        if calls == 0:
            os.kill(os.getpid(), sent)

    sys.addaudithook(watch_files)


def _main(kind: str, number: str, *rest: str) -> None:
    from geoseg.cli import main

    if kind == "tile":
        program, *arguments = rest
        _wait_at_tile(int(number))
    else:
        calls, action, *arguments = rest
        program = "geoseg"
        _signal_at_checkpoint(int(number), int(calls), action)
    sys.argv = [program, *arguments]
    if program == "rio":
        from rasterio.rio.main import main_group

        main_group()
    main()


if __name__ == "__main__":
    _main(*sys.argv[1:])
