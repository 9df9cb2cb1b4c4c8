"""The page of the plugin in QGIS's options: the Python of geoseg, and the buttons that create and test it."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsSettings
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from .environment import (
    EnvironmentTask,
    Installation,
    create_check_task,
    create_installation_task,
    find_base_pythons,
    find_installation_error,
)
from .i18n import tr
from .interpreter import PYTHON_SETTING, find_configured_python

PAGE = "geosegOptions"
"""Name of the page for `QgisInterface.showOptionsDialog`."""

PYTORCH_CPU = "https://download.pytorch.org/whl/cpu"


class SettingsFactory(QgsOptionsWidgetFactory):
    """Adds the page to the options dialog."""

    def __init__(self, icon: QIcon) -> None:
        super().__init__("geoseg", icon)
        self._icon = icon

    def icon(self) -> QIcon:
        return self._icon

    def createWidget(self, parent: QWidget) -> SettingsPage:
        return SettingsPage(parent)


class SettingsPage(QgsOptionsPageWidget):
    """Path of the interpreter, choices of an installation, and a log.

    A task keeps running if the dialog is closed; an installation then still sets the interpreter.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(PAGE)
        self._task: EnvironmentTask | None = None
        self._new_python = ""
        layout = QVBoxLayout(self)
        layout.addWidget(self._build_interpreter())
        layout.addWidget(self._build_installation())
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        layout.addWidget(self.log, 1)

    # --- widgets -------------------------------------------------------------------------------

    def _build_interpreter(self) -> QGroupBox:
        box = QGroupBox(tr("Python with geoseg"))
        self.python = QgsFileWidget()
        self.python.setFilePath(QgsSettings().value(PYTHON_SETTING, "") or "")
        self.python.lineEdit().setPlaceholderText(find_configured_python())
        self.test_button = QPushButton(tr("Test"))
        self.test_button.clicked.connect(self.test)
        row = QHBoxLayout(box)
        row.addWidget(self.python, 1)
        row.addWidget(self.test_button)
        return box

    def _build_installation(self) -> QGroupBox:
        box = QGroupBox(tr("Set up a new environment"))
        form = QFormLayout(box)
        self.base = QComboBox()
        self.base.setEditable(True)
        self.base.addItems(find_base_pythons())
        self.package = QLineEdit("geoseg")
        self.index, self.extra_index = QLineEdit(), QLineEdit()
        self.extra_index.setPlaceholderText(PYTORCH_CPU)
        self.extra_index.setToolTip(
            tr("The address {} offers PyTorch without CUDA, which is much smaller.").format(
                PYTORCH_CPU
            )
        )
        self.wheels = QgsFileWidget()
        self.wheels.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        for label, widget in (
            (tr("Base Python (3.11 or newer) or uv"), self.base),
            (tr("Package"), self.package),
            (tr("Package index (URL)"), self.index),
            (tr("Additional index (URL)"), self.extra_index),
            (tr("Folder of wheels, for an installation without network"), self.wheels),
        ):
            form.addRow(label, widget)
        self.setup_button = QPushButton(tr("Set up"))
        self.setup_button.clicked.connect(self.set_up)
        self.cancel_button = QPushButton(tr("Cancel"))
        self.cancel_button.setEnabled(False)
        self.cancel_button.clicked.connect(self.cancel)
        self.status = QLabel()
        self.status.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.status, 1)
        row.addWidget(self.setup_button)
        row.addWidget(self.cancel_button)
        form.addRow(row)
        return box

    # --- actions -------------------------------------------------------------------------------

    def apply(self) -> None:
        """Store the interpreter; called by QGIS when the dialog is accepted."""
        QgsSettings().setValue(PYTHON_SETTING, self.python.filePath().strip())

    def set_up(self) -> None:
        """Create an environment and install geoseg in it."""
        installation = Installation(
            base=self.base.currentText().strip(),
            package=self.package.text().strip(),
            index_url=self.index.text().strip(),
            extra_index_url=self.extra_index.text().strip(),
            wheels=self.wheels.filePath().strip(),
        )
        error = find_installation_error(installation)
        if error:
            self.status.setText(error)
            return
        task, python = create_installation_task(installation)
        task.ended.connect(lambda error: None if error else store_python(python))
        self._start(task, python)

    def test(self) -> None:
        """Run geoseg with the interpreter as typed."""
        python = self.python.filePath().strip() or find_configured_python()
        if not python:
            self.status.setText(tr("Select a Python with geoseg, or set one up."))
            return
        self._start(create_check_task(python))

    def cancel(self) -> None:
        """Stop the running task."""
        if self._task is not None:
            self._task.cancel()

    def _start(self, task: EnvironmentTask, new_python: str = "") -> None:
        self._task, self._new_python = task, new_python
        self.log.clear()
        self.status.setText(task.description())
        self._set_running(True)
        task.logged.connect(self.log.appendPlainText)
        task.ended.connect(self._show_end)
        task.start()

    def _show_end(self, error: str) -> None:
        if self._new_python and not error:
            self.python.setFilePath(self._new_python)
        self.status.setText(error or tr("Done. geoseg works."))
        self._task = None
        self._set_running(False)

    def _set_running(self, running: bool) -> None:
        self.setup_button.setEnabled(not running)
        self.test_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)


def store_python(python: Any) -> None:
    """Store the interpreter of a new environment."""
    QgsSettings().setValue(PYTHON_SETTING, str(python))
