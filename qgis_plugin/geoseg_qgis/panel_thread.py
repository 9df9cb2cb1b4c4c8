"""Commands of the panel, each in a thread of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from qgis.core import QgsProcessingException, QgsProcessingFeedback
from qgis.PyQt.QtCore import QThread, pyqtSignal

from .i18n import tr
from .interpreter import find_configured_python
from .process import ERROR_PREFIX, TERMINATION_TIMEOUT, Child, geoseg_command, run_geoseg


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


class ThreadFeedback(QgsProcessingFeedback):
    """Feedback that forwards texts and lines as signals, from another thread."""

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


class PanelThread(QThread):
    """A geoseg command in a thread; subclasses implement `execute`.

    It is no task of QGIS, as QGIS shows a message at the end of every task. One of the signals `succeeded`, with the
    result, `failed` and `cancelled` is emitted at the end.
    """

    succeeded = pyqtSignal(object)
    failed = pyqtSignal(str)
    cancelled = pyqtSignal()

    def __init__(self) -> None:
        """Create a thread. Raises as `find_python`."""
        super().__init__()
        self.python = find_python()
        self.feedback = ThreadFeedback()
        self.patience = TERMINATION_TIMEOUT

    def cancel(self) -> None:
        """End the command, which gets `patience` seconds to save its state."""
        self.feedback.cancel()

    def end(self) -> None:
        """End the command at once."""
        self.patience = TERMINATION_TIMEOUT
        self.feedback.cancel()

    def run(self) -> None:
        try:
            result = self.execute()
        except QgsProcessingException as error:
            self.failed.emit(str(error))
        except Exception as error:
            # PyQt ends QGIS at an exception that leaves a thread
            self.failed.emit(repr(error))
        else:
            if result is None:
                self.cancelled.emit()
            else:
                self.succeeded.emit(result)

    def execute(self) -> dict[str, Any] | None:
        """Run the command and return its result, or None if it was cancelled."""
        raise NotImplementedError


class CommandThread(PanelThread):
    """A geoseg command with progress.

    Parameters
    ----------
    arguments, bounds, names
        As for `run_geoseg`.
    folder
        Temporary folder, which is deleted at the end; "" for none.
    patience
        Seconds that the command gets to end when it is cancelled.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        bounds: Sequence[float],
        names: Mapping[str, str] | None = None,
        folder: str = "",
        patience: float = TERMINATION_TIMEOUT,
    ) -> None:
        super().__init__()
        self.patience = patience
        self._arguments, self._bounds = list(arguments), bounds
        self._names, self._folder = dict(names or {}), folder

    def execute(self) -> dict[str, Any] | None:
        try:
            return run_geoseg(
                self.python,
                self._arguments,
                self.feedback,
                self._bounds,
                self._names,
                option_labels(),
                folders=[self._folder] if self._folder else [],
                patience=lambda: self.patience,
            )
        finally:
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)


class InfoThread(PanelThread):
    """``geoseg info`` of a file, or of the shipped model if the path is empty; its result is the JSON data."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._arguments = ["info", *([path] if path else []), "--json"]

    def execute(self) -> dict[str, Any] | None:
        child = Child([*geoseg_command(self.python), *self._arguments])
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
        return dict(json.loads("\n".join(lines)))
