"""Run geoseg in a subprocess: arguments in, JSON progress lines out.

QGIS and geoseg have separate Python environments, with different versions of GDAL and PROJ. The interpreter of
geoseg's environment therefore runs each command in isolated mode, without the variables that QGIS sets. The subprocess
reads its standard input, which closes when QGIS ends for whatever reason, and then ends as well.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from qgis.core import QgsProcessingException, QgsProcessingFeedback

from .i18n import tr

QGIS_VARIABLES = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_LIB",
    "PROJ_DATA",
    "QT_PLUGIN_PATH",
    "QT_QPA_PLATFORM_PLUGIN_PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
)
"""Environment variables that QGIS sets for its own Python and libraries; removed for geoseg."""

ENTRY_POINT = """\
import json, os, runpy, shutil, signal, sys, threading, time

folders = json.loads(sys.argv.pop(1))
parent_ended = threading.Event()


def remove_folders():
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_parent():
    while os.read(0, 4096):
        pass
    parent_ended.set()
    if callable(signal.getsignal(signal.SIGTERM)):
        if os.name == "nt":
            signal.raise_signal(signal.SIGTERM)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    remove_folders()
    os._exit(143)


threading.Thread(target=wait_for_parent, daemon=True).start()
try:
    runpy.run_module("geoseg", run_name="__main__", alter_sys=True)
finally:
    if parent_ended.is_set():
        remove_folders()
"""
"""Program of the subprocess: run geoseg; if QGIS ends first, end geoseg and delete the folders of its outputs.

Its first argument is the JSON list of these folders, the others are those of geoseg.
"""

TERMINATION_TIMEOUT = 1.5
"""Seconds between SIGTERM and SIGKILL when a run is cancelled, by default."""

ERROR_PREFIX, WARNING_PREFIX = "geoseg: error: ", "geoseg: warning: "
SKIPPED_INPUTS = 6
"""Exit code of a run that wrote its outputs but skipped some inputs."""


def run_geoseg(
    python: str,
    arguments: Sequence[str],
    feedback: QgsProcessingFeedback,
    bounds: Sequence[float],
    names: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
    folders: Sequence[str] = (),
    patience: Callable[[], float] = lambda: TERMINATION_TIMEOUT,
) -> dict[str, Any] | None:
    """Run a geoseg command and wait for it.

    Parameters
    ----------
    python
        Interpreter of the environment in which geoseg is installed.
    arguments
        The command and its arguments, without ``geoseg``.
    feedback
        Receives the command, progress, log lines and warnings; a cancellation stops the command.
    bounds
        Percentages at which the stages of the command begin and end: ``(1, 85, 98)`` for two stages.
    names
        Temporary path to the name that messages show instead.
    labels
        Option of the command, such as ``--gsd``, to the label that messages show instead.
    folders
        Temporary folders that the command deletes if QGIS ends before it.
    patience
        Returns the number of seconds that a cancelled command gets to end, before it is killed.

    Returns
    -------
    dict or None
        The result event of the command. None if the run was cancelled.

    Raises
    ------
    QgsProcessingException
        If the command cannot be started or fails.
    """
    shown = [names.get(argument, argument) for argument in arguments]
    feedback.pushCommandInfo(" ".join(map(shlex.quote, [python, "-m", "geoseg", *shown])))
    child = Child(
        [*geoseg_command(python, folders), *arguments, "--progress", "json"],
        shown=" ".join(map(shlex.quote, ["geoseg", *shown])),
    )
    output = GeosegOutput(feedback, bounds, names, labels or {})
    try:
        for stream, line in child.lines():
            if feedback.isCanceled():
                return None
            if line is not None:
                output.read(stream, line)
        return output.finish(python, child.wait())
    finally:
        child.stop(patience())


def geoseg_command(python: str, folders: Sequence[str] = ()) -> list[str]:
    """Return the start of a command line that runs geoseg, and ends it when its standard input closes.

    `folders` are deleted then. Add the command of geoseg and its arguments.
    """
    return [python, "-I", "-u", "-X", "utf8", "-c", ENTRY_POINT, json.dumps(list(folders))]


class Child:
    """A subprocess in a process group of its own.

    Parameters
    ----------
    command
        The program and its arguments.
    shown
        Command that geoseg records in its products; None: `command`.
    """

    def __init__(self, command: Sequence[str], shown: str | None = None) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in QGIS_VARIABLES}
        if shown is not None:
            environment["GEOSEG_COMMAND"] = shown
        options: dict[str, Any] = {"env": environment, "encoding": "utf-8", "errors": "replace"}
        if sys.platform == "win32":
            options["creationflags"] = (
                subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
            )
        else:
            options["start_new_session"] = True
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, **options
            )
        except OSError as error:
            text = tr("{}: cannot be started ({}). Select the Python that has geoseg.")
            raise QgsProcessingException(text.format(command[0], error.strerror)) from error
        self._lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self._readers = [
            (stream, threading.Thread(target=self._read, args=(name, stream), daemon=True))
            for name, stream in (("out", self._process.stdout), ("err", self._process.stderr))
        ]
        for _, thread in self._readers:
            thread.start()

    def _read(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put((name, line.rstrip("\r\n")))
        self._lines.put((name, None))

    def lines(self) -> Iterator[tuple[str, str | None]]:
        """Yield lines of both streams as ("out" or "err", line), and a None at least every 0.1 s."""
        open_streams = len(self._readers)
        while open_streams:
            try:
                name, line = self._lines.get(timeout=0.1)
            except queue.Empty:
                yield "", None
                continue
            yield name, line
            open_streams -= line is None

    def wait(self) -> int:
        """Wait for the exit code."""
        return self._process.wait()

    def stop(self, patience: float = TERMINATION_TIMEOUT) -> None:
        """Terminate the process group if it still runs, kill it after some seconds, and close the pipes."""
        if self._process.poll() is None:
            self._signal(force=sys.platform == "win32")
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(force=True)
                self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        for stream, thread in self._readers:
            thread.join(1)
            if stream is not None and not thread.is_alive():
                stream.close()

    def _signal(self, *, force: bool) -> None:
        if sys.platform == "win32":
            command = ["taskkill", "/T", "/F", "/PID", str(self._process.pid)]
            flags = subprocess.CREATE_NO_WINDOW
            subprocess.run(command, check=False, capture_output=True, creationflags=flags)
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL if force else signal.SIGTERM)


class GeosegOutput:
    """The output of one geoseg command, forwarded to QGIS line by line."""

    def __init__(
        self,
        feedback: QgsProcessingFeedback,
        bounds: Sequence[float],
        names: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> None:
        self._feedback, self._names, self._labels = feedback, names, labels
        self._progress = StageProgress(feedback, bounds)
        self._result: dict[str, Any] = {}
        self._error = self._last_line = ""
        self._deferred: list[str] = []

    def read(self, stream: str, line: str) -> None:
        """Forward one line of stdout or stderr."""
        if stream == "out":
            self._read_event(line)
        elif line.startswith(ERROR_PREFIX):
            self._error = self._describe(line[len(ERROR_PREFIX) :])
        elif line.startswith(WARNING_PREFIX):
            self._read_warning(line[len(WARNING_PREFIX) :])
        else:
            self._last_line = line
            self._feedback.pushConsoleInfo(line)

    def _read_event(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, KeyError, TypeError):
            self._feedback.pushConsoleInfo(line)
            return
        if kind == "progress":
            self._progress.update(event)
        elif kind == "result":
            self._result = event

    def _read_warning(self, text: str) -> None:
        described = self._describe(text)
        if self._rename(text) == text:
            self._feedback.pushWarning(described)
        else:  # about a temporary file, which is deleted if the command fails
            self._deferred.append(described)

    def _rename(self, text: str) -> str:
        for path, name in self._names.items():
            text = text.replace(path, name)
        return text

    def _describe(self, text: str) -> str:
        """Replace options of the command line by the labels of their parameters."""
        return re.sub(
            r"(?<![\w-])--?[a-z][a-z-]*",
            lambda option: self._labels.get(option[0], option[0]),
            self._rename(text),
        )

    def finish(self, python: str, code: int) -> dict[str, Any]:
        """Return the result event, or raise QgsProcessingException for a non-zero exit code."""
        if code not in (0, SKIPPED_INPUTS):
            raise QgsProcessingException(self._error or self._describe_exit(python, code))
        for warning in self._deferred:
            self._feedback.pushWarning(warning)
        if code == SKIPPED_INPUTS:
            self._feedback.pushWarning(self._error)
        return self._result

    def _describe_exit(self, python: str, code: int) -> str:
        if self._last_line.startswith("ImportError: No module named geoseg"):
            text = tr("{}: has no geoseg. Select another Python under Advanced Parameters.")
            return text.format(python)
        return tr("geoseg ended with code {}. {}").format(code, self._last_line)


class StageProgress:
    """Progress of a command whose stages follow one another, as a percentage of the run."""

    def __init__(self, feedback: QgsProcessingFeedback, bounds: Sequence[float]) -> None:
        self._feedback, self._bounds = feedback, bounds
        self._stages: dict[str, int] = {}
        self._percent, self._text = float(bounds[0]), ""

    def update(self, event: Mapping[str, Any]) -> None:
        """Show a progress event; the percentage never decreases."""
        text = event.get("text") or ""
        stage = self._stages.setdefault(text.partition(",")[0], len(self._stages))
        if event.get("total") and stage + 1 < len(self._bounds):
            begin, end = self._bounds[stage : stage + 2]
            percent = begin + (end - begin) * event["done"] / event["total"]
            self._percent = max(self._percent, percent)
        if text != self._text:
            self._text = text
            self._feedback.setProgressText(text)
        self._feedback.setProgress(self._percent)
