"""Widgets of the panel: choice of a model, table of classes, progress of a command, and the tool for frames."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, ClassVar

from qgis.core import QgsRectangle
from qgis.gui import QgsColorButton, QgsMapTool, QgsMapToolExtent
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .i18n import tr
from .panel_session import (
    SHIPPED,
    ModelFacts,
    PanelClass,
    choose_colour,
    choose_name,
    parse_progress,
)

MAX_CARD_CLASSES = 5
"""Classes that a model card lists by name before it counts the others."""


TRAINING_PERCENT = (8, 95)
"""Percentages at which the steps of a training begin and end."""


class ModelChooser(QWidget):
    """A list of models; `card` is a label with the facts of the chosen one."""

    model_changed = pyqtSignal(str)
    """Path of the chosen model, `SHIPPED` for the shipped one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.combo.setMinimumContentsLength(12)
        self.combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.combo.activated.connect(self._emit_model)
        button = QToolButton()
        button.setText("…")
        button.setToolTip(tr("Choose a model file"))
        button.clicked.connect(self._choose_file)
        self.card = QLabel()
        self.card.setWordWrap(True)
        self.card.setTextFormat(Qt.TextFormat.RichText)
        self.card.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.combo, 1)
        row.addWidget(button)

    def set_models(self, paths: Iterable[str], current: str) -> None:
        """List the shipped model and some files; choose one, which is added if it is missing."""
        self.combo.clear()
        self.combo.addItem(tr("shipped with geoseg"), SHIPPED)
        for path in dict.fromkeys([*paths, current]):
            if path:
                self.combo.addItem(os.path.basename(path), path)
                self.combo.setItemData(self.combo.count() - 1, path, Qt.ItemDataRole.ToolTipRole)
        self.combo.setCurrentIndex(self.combo.findData(current))

    def show_text(self, text: str) -> None:
        """Show a text instead of facts."""
        self.card.setText(html.escape(text))

    def show_facts(self, facts: ModelFacts) -> None:
        """Show the facts of the chosen model."""
        self.card.setText(format_facts(facts))

    def _emit_model(self, *_: Any) -> None:
        self.model_changed.emit(self.combo.currentData())

    def _choose_file(self) -> None:
        filters = tr("geoseg models (*.safetensors *.onnx)")
        path, _ = QFileDialog.getOpenFileName(self, tr("Model"), "", filters)
        if path:
            self.model_changed.emit(path)


def format_facts(facts: ModelFacts) -> str:
    """Format the facts of a model as a table, in HTML."""
    names = [item.name for item in facts.classes]
    listed = ", ".join(names[:MAX_CARD_CLASSES])
    if len(names) > MAX_CARD_CLASSES:
        listed = tr("{} and {} others").format(listed, len(names) - MAX_CARD_CLASSES)
    sizes = facts.pixel_sizes
    rows = [
        (tr("Name"), facts.name),
        (tr("Classes"), listed),
        (tr("Pixel size"), format_pixel_sizes(*sizes) if sizes else tr("unknown")),
        (tr("Bands"), facts.bands),
        (tr("Mean IoU"), "" if facts.miou is None else f"{100 * facts.miou:.1f} %"),
        (tr("Based on"), facts.ancestor if facts.ancestor != facts.name else ""),
        (tr("Terms"), facts.terms or tr("none recorded")),
    ]
    lines = [
        f"<tr><td style='padding-right: 8px'><b>{html.escape(title)}</b></td>"
        f"<td>{html.escape(text)}</td></tr>"
        for title, text in rows
        if text
    ]
    return f"<table>{''.join(lines)}</table>"


def format_pixel_sizes(low: float, high: float) -> str:
    """Format a range of pixel sizes in metres."""
    return f"{low:.2g} m" if low == high else f"{low:.2g}\N{EN DASH}{high:.2g} m"


class ClassTable(QWidget):
    """A table of class names and colours, in which one class is the current one."""

    classes_changed = pyqtSignal()
    current_changed = pyqtSignal(str)
    renamed = pyqtSignal(str, str)
    """Former and new name of a class."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._proposals: tuple[PanelClass, ...] = ()
        self.table = QTableWidget(0, 2)
        self.table.setHorizontalHeaderLabels([tr("Class"), tr("Colour")])
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(1, 60)
        self.table.setFixedHeight(118)
        self.table.itemChanged.connect(self._rename)
        self.table.currentCellChanged.connect(self._emit_current)
        self.add_button = QToolButton()
        self.add_button.setText(tr("Add"))
        self.add_button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        self.add_button.clicked.connect(self.add_new_class)
        self.add_button.setMenu(QMenu(self))
        self.add_button.menu().aboutToShow.connect(self._fill_menu)
        self.remove_button = QToolButton()
        self.remove_button.setText(tr("Remove"))
        self.remove_button.clicked.connect(self.remove_class)
        row = QHBoxLayout()
        row.addWidget(self.add_button)
        row.addWidget(self.remove_button)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(row)

    def classes(self) -> tuple[PanelClass, ...]:
        """Return the classes in the order of the table."""
        return tuple(
            PanelClass(self.table.item(row, 0).text(), self._button(row).color().name())
            for row in range(self.table.rowCount())
        )

    def current_class(self) -> str:
        """Return the name of the current class, or ""."""
        item = self.table.item(self.table.currentRow(), 0)
        return item.text() if item else ""

    def set_classes(self, classes: Sequence[PanelClass], current: str) -> None:
        """Replace the classes, without signals."""
        self.blockSignals(True)
        self.table.setRowCount(0)
        for item in classes:
            self._append(item)
        self.set_current(current)
        self.blockSignals(False)

    def set_current(self, name: str) -> None:
        """Choose the current class; the first if there is none of this name."""
        names = [item.name for item in self.classes()]
        if names:
            self.table.setCurrentCell(names.index(name) if name in names else 0, 0)

    def set_proposals(self, classes: Iterable[PanelClass]) -> None:
        """Offer classes in the menu of the button *Add*."""
        self._proposals = tuple(classes)

    def add_new_class(self) -> None:
        """Add a class with a new name and colour, and edit its name."""
        present = self.classes()
        name = choose_name(tr("class"), [item.name for item in present])
        self.add_class(PanelClass(name, choose_colour(item.colour for item in present)))
        self.table.editItem(self.table.item(self.table.rowCount() - 1, 0))

    def add_class(self, item: PanelClass) -> None:
        """Add a class, which becomes the current one."""
        self._append(item)
        self.classes_changed.emit()
        self.set_current(item.name)

    def remove_class(self) -> None:
        """Remove the current class from the table."""
        if self.table.currentRow() >= 0:
            self.table.removeRow(self.table.currentRow())
            self.classes_changed.emit()

    def _append(self, item: PanelClass) -> None:
        self.table.blockSignals(True)
        row = self.table.rowCount()
        self.table.insertRow(row)
        name = QTableWidgetItem(item.name)
        name.setData(Qt.ItemDataRole.UserRole, item.name)
        self.table.setItem(row, 0, name)
        button = QgsColorButton()
        button.setColor(QColor(item.colour))
        button.setShowMenu(False)
        button.colorChanged.connect(self.classes_changed)
        self.table.setCellWidget(row, 1, button)
        self.table.blockSignals(False)

    def _button(self, row: int) -> QgsColorButton:
        return self.table.cellWidget(row, 1)

    def _rename(self, item: QTableWidgetItem) -> None:
        """Accept a new name, or restore the old one if the new one is empty or taken."""
        name, former = item.text().strip(), item.data(Qt.ItemDataRole.UserRole)
        if name == former:
            return
        others = [
            self.table.item(row, 0).text()
            for row in range(self.table.rowCount())
            if row != item.row()
        ]
        accepted = name if name and name not in others else former
        self.table.blockSignals(True)
        item.setText(accepted)
        item.setData(Qt.ItemDataRole.UserRole, accepted)
        self.table.blockSignals(False)
        if accepted != former:
            self.renamed.emit(former, accepted)
        self.classes_changed.emit()
        self._emit_current()

    def _emit_current(self, *_: int) -> None:
        self.current_changed.emit(self.current_class())

    def _fill_menu(self) -> None:
        menu = self.add_button.menu()
        menu.clear()
        menu.addAction(tr("New class")).triggered.connect(self.add_new_class)
        present = {item.name for item in self.classes()}
        for item in self._proposals:
            if item.name not in present:
                action = menu.addAction(item.name)
                action.triggered.connect(lambda *_, chosen=item: self.add_class(chosen))


class ProgressBox(QWidget):
    """Progress of the running command, with buttons to stop and to cancel it."""

    stop_requested = pyqtSignal()
    cancel_requested = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QLabel()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.bar = QProgressBar()
        self.stop = QPushButton(tr("Stop and keep best"))
        self.stop.setToolTip(tr("End the training after the current step and write the best model"))
        self.stop.clicked.connect(self.stop_requested)
        self.cancel = QPushButton(tr("Cancel"))
        self.cancel.clicked.connect(self.cancel_requested)
        row = QHBoxLayout()
        row.addWidget(self.stop)
        row.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 8)
        for widget in (self.title, self.bar, self.text):
            layout.addWidget(widget)
        layout.addLayout(row)
        self._limit = self._started = 0.0
        self.hide()

    def start(self, title: str, minutes: float = 0) -> None:
        """Show the box for a new command; that of a training has a time limit in minutes, and can be stopped."""
        self._limit, self._started = 60 * minutes, 0.0
        self.title.setText(f"<b>{html.escape(title)}</b>")
        self.text.clear()
        self.bar.reset()
        self.bar.setRange(0, 0)  # a busy indicator until there is a percentage
        self.stop.setVisible(minutes > 0)
        self.stop.setEnabled(True)
        self.cancel.setEnabled(True)
        self.show()

    def set_percent(self, percent: float) -> None:
        """Show how much is done; it never decreases."""
        if percent > 0:
            self.bar.setRange(0, 100)
            self.bar.setValue(max(int(percent), self.bar.value()))

    def set_text(self, text: str) -> None:
        """Show the stage of the command; loss and score of a training are set in words."""
        progress = parse_progress(text)
        if progress.loss is None:
            self.text.setText(text)
            return
        self._show_elapsed()
        parts = [tr("loss {}").format(f"{progress.loss:.3f}")]
        if progress.miou is not None:
            parts.append(tr("best mean IoU {} %").format(f"{100 * progress.miou:.1f}"))
        left = text.rpartition(", ")[2]
        if left.endswith("left"):
            parts.append(left)
        self.text.setText(", ".join(parts))

    def _show_elapsed(self) -> None:
        """Show the share of the time limit, as the number of steps of a training is unknown."""
        self._started = self._started or monotonic()
        if self._limit:
            share = min(1.0, (monotonic() - self._started) / self._limit)
            begin, end = TRAINING_PERCENT
            self.set_percent(begin + (end - begin) * share)


class FrameTool(QgsMapToolExtent):
    """A map tool that draws one rectangle after the other.

    QGIS keeps pointers to former tools, so a tool must exist as long as the canvas.
    """

    drawn = pyqtSignal(QgsRectangle)
    _references: ClassVar[list[FrameTool]] = []

    def __init__(self, canvas: Any) -> None:
        super().__init__(canvas)
        self._references.append(self)
        self.extentChanged.connect(self._emit)

    def flags(self) -> Any:
        """Return the flag of editing tools, after which QGIS returns to the tool before."""
        return super().flags() | QgsMapTool.Flag.EditTool

    def _emit(self, box: QgsRectangle) -> None:
        if box.width() > 0 and box.height() > 0:
            self.drawn.emit(box)
            self.clearRubberBand()
