"""Where exceptions become one line on stderr and an exit code.

0 done · 1 a bug in geoseg, with its traceback · 2 usage or configuration · 3 input · 4 output · 5 model
6 done, but inputs were skipped · 128 + n ended by signal n (130 Ctrl-C, 143 SIGTERM, 141 the reader went away)
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from geoseg.errors import ConfigError, GeosegError, OutputError

NAME = "geoseg"
COMPLETE = "_GEOSEG_COMPLETE"

log = logging.getLogger(NAME)


class Terminated(SystemExit):
    """A signal asked the process to end; raised where it was, so that every ``finally`` still runs."""


def run(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Run `command` with `args` (default: those of the process) and return the exit code.

    What is neither a GeosegError, a usage error nor a signal is a bug and is raised as it is.
    """
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, NAME, COMPLETE, instruction)
    talk()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(
            errors="surrogateescape"
        )  # a path goes out with the bytes it came in with
    return guarded(lambda: _invoke(command, list(sys.argv[1:] if args is None else args)))


def guarded(work: Callable[[], int]) -> int:
    """What `work` returns, or the exit code for how it ended, told on stderr."""
    with signals():
        try:
            return work()
        except GeosegError as error:
            log.debug("where it happened", exc_info=True)
            return complain(error)
        except click.ClickException as error:
            return complain(_in_our_words(error))
        except (KeyboardInterrupt, click.Abort):
            return complain("interrupted", 128 + signal.SIGINT)
        except Terminated as stop:
            return complain("terminated", int(stop.code or 0))
        except BrokenPipeError:
            return _reader_went_away()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            log.debug("where it happened", exc_info=True)
            what = f"{error.filename or 'output'}: {error.strerror}. free some disk space"
            return complain(OutputError(what))


def complain(error: GeosegError | str, code: int = 1) -> int:
    """Print `error` as the one line that users see, and return its exit code."""
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
    """Raise Terminated, in this process only, on the signals that otherwise end Python without any clean-up."""
    owner = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker ends at once, as it would without this handler
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


def talk() -> None:
    """Send what the library logs to stderr, a line each."""
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(
        logging.ERROR
    )  # other libraries' advice to programmers
    root = logging.getLogger()
    if not any(isinstance(handler, _Stderr) for handler in root.handlers):
        root.addHandler(_Stderr())


def talk_more() -> None:
    """Also log what helps to find a bug: tracebacks of errors, debug messages, warnings of other libraries."""
    log.setLevel(logging.DEBUG)
    logging.getLogger("py.warnings").setLevel(logging.NOTSET)


class _Stderr(logging.Handler):
    """Writes to whatever sys.stderr is by then: a progress bar replaces it while it is shown."""

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


def _in_our_words(error: click.ClickException) -> ConfigError:
    message = error.format_message().replace("\n", " ").rstrip(". ")
    context = getattr(error, "ctx", None)
    return ConfigError(f"{message}. See '{context.command_path if context else NAME} --help'")


def _reader_went_away() -> int:
    """Leave quietly; stdout must not be flushed into the closed pipe when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # SIGPIPE, which Windows has no name for
