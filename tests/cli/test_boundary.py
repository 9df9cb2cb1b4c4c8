"""Errors are one line and an exit code; signals end a command with its clean-up done; bugs keep their traceback."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from geoseg import errors
from geoseg.cli import boundary, geoseg
from tests.processes import HANG

posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")

CODES = {
    "ConfigError": 2,
    "SceneError": 3,
    "AnnotationError": 3,
    "DatasetError": 3,
    "OutputError": 4,
    "ModelError": 5,
    "SkippedInputsError": 6,
}


def run(body: Callable[[], object], *args: str) -> int:
    """Exit code of a group with one command, `work`, that calls `body`."""

    @click.group()
    @click.option("--debug", is_flag=True)
    def group(debug: bool) -> None:
        if debug:
            boundary.log_debug_messages()

    @group.command()
    @click.option("--number", type=int)
    def work(number: int | None) -> None:
        body()

    return boundary.run(group, args or ["work"])


def raising(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def child(code: str) -> subprocess.Popen[str]:
    head = (
        "import signal, sys, time, click\nfrom geoseg.cli import boundary\n"
        # what started the tests in the background may have had them ignored, which children inherit
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "if hasattr(signal, 'SIGHUP'): signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "@click.command()\ndef work():\n"
    )
    body = "".join(f"    {line}\n" for line in code.splitlines())
    script = head + body + "sys.exit(boundary.run(work, []))"
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_an_error_is_one_line_on_stderr_and_the_exit_code_of_its_kind(
    name: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = getattr(errors, name)("roof.tif: has 4 bands. use --bands")
    assert run(raising(error)) == code
    assert capsys.readouterr() == ("", "geoseg: error: roof.tif: has 4 bands. use --bands\n")


def test_a_message_of_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    run(raising(errors.AnnotationError("a.txt:1: short\n  a.txt:7: long\n")))
    assert capsys.readouterr().err == "geoseg: error: a.txt:1: short; a.txt:7: long\n"


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(errors.SceneError("what")), "--debug", "work") == 3
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("geoseg: error: what\n")


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["work", "--number", "two"], "'two' is not a valid integer"),
        (["work", "--nunber", "2"], "--number"),
        (["work", "extra"], "extra"),
        (["wrok"], "wrok"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    args: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda: None, *args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("geoseg: error: ")
    assert err.count("\n") == 1
    assert part in err
    assert "--help'" in err


def test_an_unknown_command_is_told_its_nearest_neighbour(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert boundary.run(geoseg, ["segmnt", "a.tif"]) == 2
    assert "did you mean 'segment'?" in capsys.readouterr().err
    assert boundary.run(geoseg, ["xyz"]) == 2
    assert "known: prepare, " in capsys.readouterr().err


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


def test_a_bug_in_a_process_leaves_its_traceback_and_1() -> None:
    out, err = (bug := child("1 // 0")).communicate(timeout=HANG)
    assert bug.returncode == 1
    assert out == ""
    assert err.startswith("Traceback")


def test_what_a_command_returns_is_no_exit_code() -> None:
    assert run(lambda: 17) == 0


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "geoseg: interrupted\n"


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_process_after_its_clean_up(name: str) -> None:
    number = getattr(signal, name)
    process = child(
        "try:\n    print('ready', flush=True)\n    time.sleep(600)\nfinally:\n    print('clean', flush=True)"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 128 + number
    assert out == "clean\n"
    assert err.count("\n") == 1


@posix
def test_a_forked_worker_ends_at_once_on_sigterm() -> None:
    def body() -> None:
        ready, begun = os.pipe()
        worker = os.fork()
        if worker == 0:
            try:
                os.write(begun, b"x")  # a signal that comes before Python has forked is lost
                # no pause(): a signal just before it would be slept through
                for _ in range(10 * HANG):
                    time.sleep(0.1)
            finally:
                os._exit(7)  # a clean-up here would be the parent's
        os.read(ready, 1)
        os.close(ready)
        os.close(begun)
        os.kill(worker, signal.SIGTERM)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))

    statuses: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
        assert run(body) == 0
    assert statuses == [128 + signal.SIGTERM]


@posix
def test_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(lambda: None)
    assert signal.getsignal(signal.SIGTERM) == before


@posix
def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    process = child("for i in range(10**6):\n    click.echo(i)")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=HANG) == 141
    process.stderr.close()


def test_a_full_disk_is_an_output_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(OSError(errno.ENOSPC, "No space left on device", "out.tif"))) == 4
    assert "out.tif: No space left on device" in capsys.readouterr().err


def test_other_os_errors_are_bugs() -> None:
    with pytest.raises(PermissionError):
        run(raising(PermissionError(errno.EACCES, "Permission denied")))


@posix
def test_a_path_goes_to_stdout_with_the_bytes_it_came_in_with() -> None:
    code = (
        "import os, sys, click\nfrom pathlib import Path\nfrom geoseg.cli import boundary\n"
        "@click.command()\n@click.argument('p', type=click.Path(path_type=Path))\ndef work(p):\n    click.echo(p)\n"
        "sys.exit(boundary.run(work))"
    )
    odd = b"d\xe4ch er.gpkg"
    for locale in ({"LC_ALL": "C"}, {"PYTHONIOENCODING": "utf-8:strict"}):
        done = subprocess.run(
            [sys.executable, "-c", code, odd],
            capture_output=True,
            env={**os.environ, **locale},
            timeout=HANG,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, odd + b"\n"), done.stderr


def test_the_library_s_log_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        logging.getLogger("geoseg.raster.scene").warning("no CRS")
        logging.getLogger("geoseg.raster.scene").info("reading")
        logging.getLogger("geoseg.raster.scene").debug("not shown")

    assert run(body) == 0
    assert capsys.readouterr() == ("", "geoseg: warning: no CRS\ngeoseg: reading\n")


@pytest.mark.parametrize(
    ("more", "shown"), [("", False), ("boundary.log_debug_messages()\n", True)]
)
def test_warnings_of_other_libraries_are_for_debugging(more: str, shown: bool) -> None:
    process = child(f"{more}import warnings\nwarnings.warn('advice')")
    err = process.communicate(timeout=HANG)[1]
    assert ("advice" in err) is shown


def test_geoseg_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("geoseg: error: no command 'nonsense'")
