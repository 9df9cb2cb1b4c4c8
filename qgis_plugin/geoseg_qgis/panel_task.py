"""Commands of the panel, run in the background of QGIS."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from qgis.core import QgsProcessingException, QgsProcessingFeedback, QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from .i18n import tr
from .interpreter import find_configured_python
from .process import ERROR_PREFIX, Child, geoseg_command, run_geoseg


def find_python() -> str:
    """Return the Python that has geoseg, as the algorithms find it.

    Raises
    ------
    QgsProcessingException
        If none is configured, or it does not exist.
    """
    python = find_configured_python()
    if not python:
        text = tr(
            "No Python with geoseg is configured. Open Plugins > geoseg > Settings and set it up."
        )
        raise QgsProcessingException(text)
    if not os.path.isfile(python):
        text = tr("{}: no such Python. Select another one in Plugins > geoseg > Settings.")
        raise QgsProcessingException(text.format(python))
    return python


class TaskFeedback(QgsProcessingFeedback):
    """Feedback that forwards texts and lines as signals, from the thread of a task."""

    text_changed = pyqtSignal(str)
    line_added = pyqtSignal(str)
    warned = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__(False)

    def setProgressText(self, text: str) -> None:
        self.text_changed.emit(text)

    def pushCommandInfo(self, info: str) -> None:
        self.line_added.emit(info)

    def pushConsoleInfo(self, info: str) -> None:
        self.line_added.emit(info)

    def pushInfo(self, info: str) -> None:
        self.line_added.emit(info)

    def pushWarning(self, warning: str) -> None:
        self.warned.emit(warning)


class PanelTask(QgsTask):
    """A geoseg command in a thread of its own; subclasses implement `execute`.

    One of the signals `succeeded`, `failed` and `cancelled` is emitted in the main thread at the end.
    """

    succeeded = pyqtSignal(object)
    failed = pyqtSignal(str)
    cancelled = pyqtSignal()

    def __init__(self, title: str, python: str, arguments: Sequence[str]) -> None:
        super().__init__(title, QgsTask.Flag.CanCancel)
        self.python, self.arguments = python, list(arguments)
        self.feedback = TaskFeedback()
        self.feedback.progressChanged.connect(self.setProgress)
        self._result: dict[str, Any] = {}
        self._error = ""

    def run(self) -> bool:
        try:
            result = self.execute()
        except QgsProcessingException as error:
            self._error = str(error)
            return False
        except Exception as error:
            # an exception must not leave a thread of QGIS
            self._error = repr(error)
            return False
        self._result = result or {}
        return result is not None

    def execute(self) -> dict[str, Any] | None:
        """Run the command; return its result, or None if it was cancelled."""
        raise NotImplementedError

    def cancel(self) -> None:
        self.feedback.cancel()
        super().cancel()

    def finished(self, result: bool) -> None:
        if self.isCanceled():
            self.cancelled.emit()
        elif result:
            self.succeeded.emit(self._result)
        else:
            self.failed.emit(self._error)


class CommandTask(PanelTask):
    """A geoseg command with progress, and temporary files that are deleted at the end."""

    def __init__(
        self,
        title: str,
        python: str,
        arguments: Sequence[str],
        bounds: Sequence[float],
        names: Mapping[str, str],
        folder: str = "",
    ) -> None:
        super().__init__(title, python, arguments)
        self._bounds, self._names, self._folder = bounds, dict(names), folder

    def execute(self) -> dict[str, Any] | None:
        try:
            return run_geoseg(
                self.python,
                self.arguments,
                self.feedback,
                self._bounds,
                self._names,
                folders=[self._folder] if self._folder else [],
            )
        finally:
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)


class InfoTask(PanelTask):
    """``geoseg info``, whose result is the JSON data on stdout."""

    def execute(self) -> dict[str, Any] | None:
        child = Child([*geoseg_command(self.python), *self.arguments])
        lines: list[str] = []
        error = ""
        try:
            for stream, line in child.lines():
                if self.feedback.isCanceled():
                    return None
                if line is not None and stream == "out":
                    lines.append(line)
                elif line:
                    error = line[len(ERROR_PREFIX) :] if line.startswith(ERROR_PREFIX) else line
            if child.wait() != 0:
                raise QgsProcessingException(error)
        finally:
            child.stop()
        facts = json.loads("\n".join(lines))
        return dict(facts)


def make_scratch_folder() -> str:
    """Create a temporary folder for the files of one command."""
    return tempfile.mkdtemp(prefix="geoseg-panel-")
