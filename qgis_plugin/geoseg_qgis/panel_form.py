"""Form of the panel: its widgets and their arrangement."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import QgsMapLayer
from qgis.gui import QgsCollapsibleGroupBox, QgsFileWidget, QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from .i18n import tr
from .panel_session import ACCEPTED, REJECTED, Session
from .panel_widgets import ClassTable, ModelChooser, ProgressBox


class PanelForm:
    """The widgets of the panel. `buttons` have the names of the methods that they call."""

    def __init__(self) -> None:
        self.buttons: dict[str, QPushButton] = {}
        self.scene = QgsMapLayerComboBox()
        self.scene.setMinimumContentsLength(12)
        self.models = ModelChooser()
        self.folder = QgsFileWidget()
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.bands = QLineEdit()
        self.bands.setPlaceholderText(tr("those of the model"))
        self.pixel_size = QDoubleSpinBox()
        self.pixel_size.setDecimals(3)
        self.pixel_size.setRange(0, 1000)
        self.pixel_size.setSuffix(" m")
        self.pixel_size.setSpecialValueText(tr("unknown"))
        self.classes = ClassTable()
        self.ask_class = QCheckBox(tr("Ask for the class of each object"))
        self.ask_class.setChecked(True)
        self.whole_scene = QCheckBox(tr("All objects of the scene are drawn"))
        self.minutes = QDoubleSpinBox()
        self.minutes.setDecimals(1)
        self.minutes.setRange(0.1, 600)
        self.minutes.setSuffix(" " + tr("minutes"))
        self.counts = QLabel()
        self.counts.setWordWrap(True)
        self.progress = ProgressBox()
        self.widget = self._arrange()

    def _arrange(self) -> QWidget:
        inner = QWidget()
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._arrange_scene())
        layout.addWidget(self._arrange_annotations())
        layout.addWidget(self._arrange_training())
        layout.addWidget(self._arrange_segmentation())
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setObjectName("scroll")
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        width = inner.minimumSizeHint().width()
        scroll.setMinimumWidth(width + scroll.verticalScrollBar().sizeHint().width())
        outer = QWidget()
        box = QVBoxLayout(outer)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(scroll, 1)
        box.addWidget(self.progress)
        return outer

    def _arrange_scene(self) -> QWidget:
        group = QgsCollapsibleGroupBox(tr("1. Scene and model"))
        layout = QVBoxLayout(group)
        form = QFormLayout()
        form.addRow(tr("Scene"), self.scene)
        self._pixel_label = QLabel(tr("Pixel size"))
        form.addRow(self._pixel_label, self.pixel_size)
        form.addRow(tr("Bands"), self.bands)
        form.addRow(tr("Folder"), self.folder)
        form.addRow(tr("Model"), self.models)
        layout.addLayout(form)
        layout.addWidget(self.models.card)  # a form would not grow with its text
        self.bands.setToolTip(
            tr("Numbers or names of bands, separated by commas, for example red,green,blue,nir")
        )
        self.folder.setToolTip(tr("Annotations, models and results are written to this folder"))
        return group

    def _arrange_annotations(self) -> QWidget:
        group = QgsCollapsibleGroupBox(tr("2. Classes and annotations"))
        layout = QVBoxLayout(group)
        layout.addWidget(self.classes)
        frame = tr("Draw rectangles; draw all objects of your classes in them")
        objects = tr("Draw a polygon around an object of the selected class")
        suggest = tr("Find the parts of the scene whose annotation would improve the model most")
        use = tr("Turn the selected suggested frame, or the first one, into a frame")
        layout.addLayout(
            self._row(
                ("draw_frame", tr("Draw frame"), frame),
                ("draw_objects", tr("Draw objects"), objects),
            )
        )
        layout.addLayout(
            self._row(
                ("suggest", tr("Suggest frames"), suggest),
                ("use_suggestion", tr("Use suggestion"), use),
            )
        )
        layout.addWidget(self.ask_class)
        layout.addWidget(self.whole_scene)
        return group

    def _arrange_training(self) -> QWidget:
        group = QgsCollapsibleGroupBox(tr("3. Train"))
        layout = QVBoxLayout(group)
        form = QFormLayout()
        form.addRow(tr("Time limit"), self.minutes)
        layout.addLayout(form)
        train = tr(
            "Continue from the chosen model, with the drawn objects and the reviewed polygons"
        )
        resume = tr("Continue the interrupted training")
        layout.addLayout(self._row(("train", tr("Train"), train), ("resume", tr("Resume"), resume)))
        return group

    def _arrange_segmentation(self) -> QWidget:
        group = QgsCollapsibleGroupBox(tr("4. Segment and review"))
        layout = QVBoxLayout(group)
        preview = tr("Segment the part of the scene that the map shows")
        segment = tr("Segment the whole scene")
        layout.addLayout(
            self._row(("preview", tr("Preview"), preview), ("segment", tr("Segment"), segment))
        )
        layout.addWidget(self.counts)
        order = tr("Polygons that are not reviewed, the most uncertain first")
        layout.addLayout(
            self._row(("previous", tr("Previous"), order), ("next", tr("Next"), order))
        )
        accept = tr("The selected polygons are objects")
        reject = tr("The selected polygons are background")
        reset = tr("The selected polygons are not reviewed")
        layout.addLayout(
            self._row(
                ("accept", tr("Accept"), accept),
                ("reject", tr("Reject"), reject),
                ("reset", tr("Reset"), reset),
            )
        )
        in_frames = tr("Accept all polygons in the frames that are not reviewed")
        layout.addLayout(self._row(("accept_in_frames", tr("Accept all in frames"), in_frames)))
        return group

    def _row(self, *buttons: tuple[str, str, str]) -> QHBoxLayout:
        """Create buttons side by side, from their names, texts and tooltips."""
        row = QHBoxLayout()
        for name, text, tooltip in buttons:
            button = QPushButton(text)
            button.setToolTip(tooltip)
            self.buttons[name] = button
            row.addWidget(button)
        return row

    # --- values --------------------------------------------------------------------------------------

    def show_session(self, session: Session) -> None:
        """Show the values of a session, without signals."""
        widgets: Sequence[QWidget] = (
            self.folder,
            self.bands,
            self.pixel_size,
            self.minutes,
            self.whole_scene,
        )
        for widget in widgets:
            widget.blockSignals(True)
        self.folder.setFilePath(session.folder)
        self.bands.setText(session.bands)
        self.pixel_size.setValue(session.pixel_size)
        self.minutes.setValue(session.minutes)
        self.whole_scene.setChecked(session.whole_scene)
        for widget in widgets:
            widget.blockSignals(False)
        self.classes.set_classes(session.classes, session.current_class)

    def show_scene(self, scene: QgsMapLayer | None) -> None:
        """Ask for the pixel size of a scene without CRS only."""
        is_needed = scene is not None and not scene.crs().isValid()
        self._pixel_label.setVisible(is_needed)
        self.pixel_size.setVisible(is_needed)

    def show_counts(self, counts: dict[str, int] | None) -> None:
        """Show how many polygons of the result are reviewed."""
        if counts is None:
            self.counts.setText(tr("No result yet"))
            return
        text = tr("{} accepted, {} rejected, {} not reviewed")
        self.counts.setText(text.format(counts[ACCEPTED], counts[REJECTED], counts[""]))
