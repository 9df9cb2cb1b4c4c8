"""Error boundary: convert exceptions to one line on stderr and an exit code.

0 done · 1 a bug in geoseg, with its traceback · 2 usage or configuration · 3 input · 4 output · 5 model
6 done, but inputs were skipped · 128 + n ended by signal n (130 Ctrl-C, 143 SIGTERM, 141 stdout closed)
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from geoseg.errors import ConfigError, GeosegError, OutputError
from geoseg.files import DISK_FULL

NAME = "geoseg"
COMPLETE = "_GEOSEG_COMPLETE"

log = logging.getLogger(NAME)


class Terminated(SystemExit):
    """End of the process by a signal, as an exception, so that every ``finally`` still runs."""


def run(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Run `command` with `args` (default: those of the process) and return the exit code.

    Exceptions other than GeosegError, usage errors and signals are bugs and are not caught.
    """
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, NAME, COMPLETE, instruction)
    log_to_stderr()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # paths keep their bytes
    return run_guarded(lambda: _invoke(command, list(sys.argv[1:] if args is None else args)))


def run_guarded(work: Callable[[], int]) -> int:
    """Call `work` and return its result, or print its error and return the exit code."""
    with signals():
        try:
            return work()
        except GeosegError as error:
            log.debug("traceback", exc_info=True)
            return print_error(error)
        except click.ClickException as error:
            return print_error(_as_config_error(error))
        except (KeyboardInterrupt, click.Abort):
            return print_error("interrupted", 128 + signal.SIGINT)
        except Terminated as stop:
            return print_error("terminated", int(stop.code or 0))
        except BrokenPipeError:
            return _discard_stdout()
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            log.debug("traceback", exc_info=True)
            what = f"{error.filename or 'output'}: {error.strerror}. Free disk space"
            return print_error(OutputError(what))


def print_error(error: GeosegError | str, code: int = 1) -> int:
    """Print `error` as one line, and return its exit code."""
    if isinstance(error, GeosegError):
        code = error.exit_code
        line = "; ".join(part.strip() for part in str(error).splitlines() if part.strip())
        line = f"error: {line}"
    else:
        line = error
    click.echo(f"{NAME}: {line}", err=True)
    return code


@contextmanager
def signals() -> Iterator[None]:
    """Raise Terminated, in this process only, on signals that otherwise end Python without clean-up."""
    owner = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker ends at once, as without this handler
            os._exit(128 + number)
        raise Terminated(128 + number)

    before = {}
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup stays nohup
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def log_to_stderr() -> None:
    """Write log messages of the library to stderr, one line each."""
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # warnings of other libraries are meant for programmers
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    root = logging.getLogger()
    if not any(isinstance(handler, _Stderr) for handler in root.handlers):
        root.addHandler(_Stderr())


def log_debug_messages() -> None:
    """Log tracebacks of errors, debug messages, and warnings of other libraries too."""
    log.setLevel(logging.DEBUG)
    logging.getLogger("py.warnings").setLevel(logging.NOTSET)


class _Stderr(logging.Handler):
    """Handler that looks up sys.stderr for every message, since a progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        click.echo(f"{NAME}: {level}{self.format(record)}", err=True)


def _invoke(command: click.Command, args: list[str]) -> int:
    try:
        with command.make_context(NAME, args) as context:
            command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    return 0


def _as_config_error(error: click.ClickException) -> ConfigError:
    message = error.format_message().replace("\n", " ").rstrip(". ")
    context = getattr(error, "ctx", None)
    return ConfigError(f"{message}. See '{context.command_path if context else NAME} --help'")


def _discard_stdout() -> int:
    """Discard stdout, whose pipe is closed, so that Python does not flush into it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # SIGPIPE, which has no name on Windows
