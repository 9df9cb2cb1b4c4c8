"""Commands of the panel, run in the background of QGIS."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from qgis.core import QgsProcessingException, QgsProcessingFeedback, QgsTask
from qgis.PyQt.QtCore import QThread, pyqtSignal

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


def option_labels() -> dict[str, str]:
    """Return the labels in the panel of options of the commands, for messages."""
    return {
        "-m": tr("Model"),
        "--model": tr("Model"),
        "--bands": tr("Bands"),
        "--pixel-size": tr("Pixel size"),
        "--annotations": tr("Annotations"),
        "--annotated-area": tr("Frames"),
        "--minutes": tr("Time limit"),
        "--resume": tr("Resume"),
        "--stop-file": tr("Stop and keep best"),
    }


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


class CommandTask(QgsTask):
    """A geoseg command with progress, in the background.

    One of the signals `succeeded`, with its result, `failed` and `cancelled` is emitted in the main thread at the end.
    """

    succeeded = pyqtSignal(object)
    failed = pyqtSignal(str)
    cancelled = pyqtSignal()

    def __init__(
        self,
        title: str,
        arguments: Sequence[str],
        bounds: Sequence[float],
        names: Mapping[str, str],
        folder: str = "",
    ) -> None:
        """Create a task; `folder` is a temporary folder, which is deleted at the end. Raises as `find_python`."""
        super().__init__(title, QgsTask.Flag.CanCancel)
        self.feedback = TaskFeedback()
        self.feedback.progressChanged.connect(self.setProgress)
        self._python, self._arguments, self._bounds = find_python(), list(arguments), bounds
        self._names, self._folder = dict(names), folder
        self._result: dict[str, Any] = {}
        self._error = ""

    def run(self) -> bool:
        try:
            result = run_geoseg(
                self._python,
                self._arguments,
                self.feedback,
                self._bounds,
                self._names,
                option_labels(),
                folders=[self._folder] if self._folder else [],
            )
        except QgsProcessingException as error:
            self._error = str(error)
            return False
        except Exception as error:
            # an exception must not leave a thread of QGIS
            self._error = repr(error)
            return False
        finally:
            self.clean()
        self._result = result or {}
        return result is not None

    def clean(self) -> None:
        """Delete the temporary folder."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def cancel(self) -> None:
        self.feedback.cancel()
        super().cancel()

    def finished(self, result: bool) -> None:
        self.clean()  # of a task that was cancelled before it ran
        if self.isCanceled():
            self.cancelled.emit()
        elif result:
            self.succeeded.emit(self._result)
        else:
            self.failed.emit(self._error)


class InfoThread(QThread):
    """``geoseg info``, in a thread instead of a task, as QGIS shows a message at the end of every task."""

    succeeded = pyqtSignal(object)
    failed = pyqtSignal(str)

    def __init__(self, path: str) -> None:
        """Describe a file, or the shipped model if `path` is empty. Raises as `find_python`."""
        super().__init__()
        arguments = ["info", *([path] if path else []), "--json"]
        self._command = [*geoseg_command(find_python()), *arguments]
        self._is_cancelled = False

    def cancel(self) -> None:
        """End the command, without a signal of success or failure."""
        self._is_cancelled = True

    def run(self) -> None:
        try:
            facts = self._read()
        except (QgsProcessingException, ValueError) as error:
            if not self._is_cancelled:
                self.failed.emit(str(error))
        else:
            if not self._is_cancelled:
                self.succeeded.emit(facts)

    def _read(self) -> dict[str, Any]:
        child = Child(self._command)
        lines: list[str] = []
        error = ""
        try:
            for stream, line in child.lines():
                if self._is_cancelled:
                    return {}
                if line is not None and stream == "out":
                    lines.append(line)
                elif line:
                    error = line[len(ERROR_PREFIX) :] if line.startswith(ERROR_PREFIX) else line
            if child.wait() != 0:
                raise QgsProcessingException(error)
        finally:
            child.stop()
        return dict(json.loads("\n".join(lines)))
