"""The panel: from a scene and a few drawn objects to a model, its polygons, and corrections."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from qgis.core import (
    NULL,
    Qgis,
    QgsGeometry,
    QgsMapLayerProxyModel,
    QgsMessageLog,
    QgsProcessingException,
    QgsProject,
    QgsRectangle,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtWidgets import QWidget

from . import panel_layers, panel_review, panel_session
from .i18n import tr
from .panel_form import PanelForm
from .panel_project import PanelProject
from .panel_session import ACCEPTED, REJECTED, ModelFacts, PanelClass, Rasters
from .panel_thread import CommandThread, InfoThread, PanelThread
from .panel_widgets import FrameTool

RECENT_SETTING, MAX_RECENT = "geoseg/recent_models", 10
SUGGESTED_FRAMES = 8
CONTEXT = 12.0
"""Size of the map as a multiple of a polygon that is reviewed, if the scale of the map has to change."""

MIN_SHARE, MAX_SHARE = 0.03, 0.7
"""Least and largest share of the side of the map that a polygon takes at the present scale."""

SELECTION_ALPHA = 70
"""Opacity, 0 to 255, of the colour of selected polygons, under which the scene must be visible."""

PATIENCE = 30.0
"""Seconds that a training gets to finish its step and save its state when it is cancelled."""

WAIT_MS = 3000
"""Longest time to wait for a command to end when the plugin is unloaded."""

Result = dict[str, Any]
"""Result event of a command."""


class GeosegPanel(QgsDockWidget):
    """The dock panel. Each button calls the public method of its name."""

    def __init__(self, iface: Any, parent: QWidget | None = None) -> None:
        super().__init__(tr("geoseg"), parent)
        self.setObjectName("geoseg_panel")
        self.state = PanelProject()
        self.command: CommandThread | None = None
        """The running command."""
        self._iface = iface
        self._info: InfoThread | None = None
        self._threads: set[PanelThread] = set()
        self._facts: dict[tuple[str, float], ModelFacts] = {}
        self._scratch = tempfile.mkdtemp(prefix="geoseg-panel-")
        self._stop_file = ""
        self._reviewed: int | None = None
        self._frame_tool = FrameTool(iface.mapCanvas())
        self._frame_tool.drawn.connect(self._guard_frame)
        self.form = PanelForm()
        self.setWidget(self.form.widget)
        self._connect_form()
        project = QgsProject.instance()
        project.readProject.connect(self.restore)
        project.cleared.connect(self.restore)
        project.layersAdded.connect(self.update_buttons)
        project.layersRemoved.connect(self.update_buttons)
        self.restore()

    def _connect_form(self) -> None:
        form, change = self.form, self.state.change
        form.scene.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        form.scene.layerChanged.connect(self._choose_default_scene)
        form.scene.activated.connect(self._choose_scene)
        form.models.model_changed.connect(self.choose_model)
        form.folder.fileChanged.connect(lambda path: change(folder=path))
        form.bands.editingFinished.connect(lambda: change(bands=form.bands.text().strip()))
        form.pixel_size.valueChanged.connect(lambda value: change(pixel_size=value))
        form.minutes.valueChanged.connect(lambda value: change(minutes=value))
        form.whole_scene.toggled.connect(lambda value: change(whole_scene=value))
        form.ask_class.toggled.connect(self._change_classes)
        form.classes.classes_changed.connect(self._change_classes)
        form.classes.current_changed.connect(self._change_current_class)
        form.classes.renamed.connect(self.state.rename_class)
        form.progress.stop_requested.connect(self.stop)
        form.progress.cancel_requested.connect(self.cancel)
        for name, button in form.buttons.items():
            button.clicked.connect(self._guard(getattr(self, name)))

    def _guard(self, action: Callable[[], object]) -> Callable[..., None]:
        """Return a slot that shows an error of `action` in the message bar."""

        def run(*_: object) -> None:
            try:
                action()
            except QgsProcessingException as error:
                self.show_message(str(error), Qgis.MessageLevel.Critical)
            self.update_buttons()

        return run

    # --- state -------------------------------------------------------------------------------------

    def restore(self, *_: object) -> None:
        """Restore the session of the project."""
        self._iface.mapCanvas().unsetMapTool(self._frame_tool)
        self._reviewed = None
        self.state.restore()
        scene = self.state.layer("scene")
        if scene is not None:
            self.form.scene.setLayer(scene)
        else:
            self.state.set_scene(self.form.scene.currentLayer(), store=False)
        self.form.show_session(self.state.session)
        self._watch_layers()
        self._list_models()
        self.update_buttons()

    def update_buttons(self, *_: object) -> None:
        """Enable the buttons that can do something now."""
        session, layer = self.state.session, self.state.layer
        has_scene, result = layer("scene") is not None, layer("result")
        can_start = has_scene and self.command is None
        enabled = {
            "draw_frame": has_scene,
            "draw_objects": has_scene and bool(session.classes),
            "suggest": can_start,
            "use_suggestion": layer("suggestions") is not None,
            "train": can_start and layer("annotations") is not None,
            "resume": can_start and bool(session.unfinished),
            "preview": can_start,
            "segment": can_start,
        }
        for name, button in self.form.buttons.items():
            button.setEnabled(enabled.get(name, result is not None))
        self.form.buttons["resume"].setVisible(bool(session.unfinished))
        self.form.show_scene(layer("scene"))
        self._show_counts()

    def _show_counts(self) -> None:
        result = self.state.layer("result")
        self.form.show_counts(None if result is None else panel_review.count_status(result))

    def show_message(self, text: str, level: Any = Qgis.MessageLevel.Info) -> None:
        """Show a text in the message bar; an error until it is closed."""
        duration = 0 if level == Qgis.MessageLevel.Critical else 8
        self._iface.messageBar().pushMessage("geoseg", text, level, duration)

    def _watch_layers(self) -> None:
        """Follow the classes of new objects, and accept polygons of the result that are edited."""
        self.state.watch(
            [
                ("annotations", "featureAdded", self._follow_class),
                ("result", "geometryChanged", self._accept_edited),
            ]
        )

    # --- scene and model -----------------------------------------------------------------------------

    def _choose_default_scene(self, layer: Any) -> None:
        """Use the first raster of the project, or another one if the scene has been removed."""
        if self.state.layer("scene") is None:
            self._set_scene(layer, store=False)

    def _choose_scene(self, *_: object) -> None:
        self._set_scene(self.form.scene.currentLayer(), store=True)

    def _set_scene(self, layer: Any, *, store: bool) -> None:
        self.state.set_scene(layer, store=store)
        self.form.show_session(self.state.session)
        self._list_models()
        self.update_buttons()

    def _list_models(self) -> None:
        folders = [self.state.session.folder, QgsProject.instance().homePath()]
        recent = QgsSettings().value(RECENT_SETTING, [], type=list)
        models = panel_session.find_models(folders, recent)
        self.form.models.set_models(models, self.state.session.model)
        self._read_facts()

    def choose_model(self, path: str) -> None:
        """Use a model file, or the shipped model for an empty path."""
        self.state.change(model=path)
        if path:
            settings = QgsSettings()
            recent = settings.value(RECENT_SETTING, [], type=list)
            settings.setValue(RECENT_SETTING, list(dict.fromkeys([path, *recent]))[:MAX_RECENT])
        self._list_models()

    def _model_key(self) -> tuple[str, float]:
        path = self.state.session.model
        return path, os.path.getmtime(path) if os.path.isfile(path) else 0.0

    def _read_facts(self) -> None:
        """Show the facts of the chosen model, which ``geoseg info`` reads in the background."""
        key = self._model_key()
        if self._info is not None:
            self._info.cancel()
            self._info = None
        if key in self._facts:
            self._show_facts(self._facts[key])
            return
        try:
            info = InfoThread(key[0])
        except QgsProcessingException as error:
            self.form.models.show_text(str(error))
            return
        self.form.models.show_text(tr("Reading the model card…"))
        info.succeeded.connect(partial(self._keep_facts, key))
        info.failed.connect(self._show_unreadable_model)
        self._info = info
        self._start_thread(info)

    def _keep_facts(self, key: tuple[str, float], info: Result) -> None:
        self._facts[key] = ModelFacts.from_info(info)
        if key == self._model_key():
            self._info = None
            self._show_facts(self._facts[key])

    def _show_unreadable_model(self, text: str) -> None:
        self._info = None
        self.form.models.show_text(text)

    def _show_facts(self, facts: ModelFacts) -> None:
        self.form.models.show_facts(facts)
        self.form.classes.set_proposals(facts.classes)
        self.state.style_results(self._known_classes())

    def _known_classes(self) -> list[PanelClass]:
        """Return the classes of the panel, and those of the model that it does not have."""
        facts = self._facts.get(self._model_key(), ModelFacts())
        classes = self.state.session.classes
        own = {item.name for item in classes}
        return [*classes, *(item for item in facts.classes if item.name not in own)]

    # --- classes, frames and annotations -------------------------------------------------------------

    def _change_classes(self, *_: object) -> None:
        table = self.form.classes
        self.state.change(classes=table.classes(), current_class=table.current_class())
        self.state.configure_annotations(with_form=self.form.ask_class.isChecked())
        self.state.style_results(self._known_classes())
        self.update_buttons()

    def _change_current_class(self, name: str) -> None:
        self.state.change(current_class=name)
        self.state.configure_annotations(with_form=self.form.ask_class.isChecked())

    def draw_frame(self) -> None:
        """Draw rectangles in which all objects will be drawn."""
        self._open_annotations()
        self.state.open_frames()
        self._iface.mapCanvas().setMapTool(self._frame_tool)

    def _guard_frame(self, box: QgsRectangle) -> None:
        self._guard(partial(self.add_frame, box))()

    def add_frame(self, box: QgsRectangle) -> None:
        """Add a frame, in the CRS of the map."""
        frames = self.state.open_frames()
        crs = self._iface.mapCanvas().mapSettings().destinationCrs()
        box = panel_layers.transform_rectangle(box, crs, frames.crs())
        panel_layers.add_frame(frames, QgsGeometry.fromRect(box))

    def draw_objects(self) -> None:
        """Edit the layer of annotations with the tool for polygons."""
        layer = self._open_annotations()
        self._iface.mapCanvas().unsetMapTool(self._frame_tool)
        self._iface.setActiveLayer(layer)
        if not layer.isEditable():
            layer.startEditing()
        self._iface.actionAddFeature().trigger()

    def _open_annotations(self) -> QgsVectorLayer:
        layer = self.state.open_annotations(with_form=self.form.ask_class.isChecked())
        self._watch_layers()
        return layer

    def _follow_class(self, number: int) -> None:
        """Make the class of a new object the current one."""
        name = self.state.layer("annotations").getFeature(number)["class"]
        if name not in (None, NULL) and self.state.session.colour_of(name) is not None:
            self.form.classes.set_current(name)

    def _accept_edited(self, number: int, *_: object) -> None:
        result = self.state.layer("result")
        if not panel_review.is_reviewed(result.getFeature(number)):
            self._change_status([number], ACCEPTED)

    # --- suggested frames ----------------------------------------------------------------------------

    def suggest(self) -> None:
        """Suggest frames whose annotation would improve the model most."""
        scene = self.state.scene_arguments()
        output = panel_session.number_path(self.state.make_folder(), "suggested", ".gpkg")
        folder = tempfile.mkdtemp(dir=self._scratch)
        area = os.path.join(folder, "frames.gpkg") if self.state.has_frames() else ""
        if area:
            self.state.export_frames(area)
        arguments = panel_session.suggest_arguments(
            scene, output, frames=SUGGESTED_FRAMES, area=area, rasters=self.state.rasters()
        )
        names = {area: tr("Frames")} if area else {}
        command = CommandThread(arguments, (1, 90, 99), names, folder)
        self._start(tr("Suggest frames"), command, partial(self._show_suggestions, output))

    def _show_suggestions(self, path: str, _: Result) -> None:
        layer = panel_layers.open_layer(path, "frames", tr("Suggested frames"))
        panel_layers.style_suggestions(layer)
        self.state.remove_layer("suggestions")
        self.state.add_layer("suggestions", layer)
        text = tr("{} frames are suggested. Use one, and draw its objects.")
        self.show_message(text.format(layer.featureCount()))

    def use_suggestion(self) -> None:
        """Turn the selected suggested frame, or that of the lowest rank, into a frame, and zoom to it."""
        layer = self.state.layer("suggestions")
        ranked = sorted(layer.getFeatures(), key=lambda feature: feature["rank"])
        chosen = list(layer.selectedFeatures()) or ranked
        if not chosen:
            raise QgsProcessingException(tr("No suggested frame is left. Suggest frames again."))
        self._open_annotations()
        frames = self.state.open_frames()
        shape = panel_review.make_transform(layer, frames.crs())(chosen[0].geometry())
        panel_layers.add_frame(frames, shape)
        layer.dataProvider().deleteFeatures([chosen[0].id()])
        layer.dataChanged.emit()
        layer.triggerRepaint()
        self._zoom(frames, shape.boundingBox(), 1.1)

    def _zoom(self, layer: QgsVectorLayer, box: QgsRectangle, factor: float) -> None:
        canvas = self._iface.mapCanvas()
        crs = canvas.mapSettings().destinationCrs()
        target = panel_layers.transform_rectangle(box, layer.crs(), crs)
        target.scale(factor)
        canvas.setExtent(target)
        canvas.refresh()

    # --- training --------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train a model on the drawn objects and the reviewed polygons."""
        folder = self.state.make_folder()
        self._fit(panel_session.number_path(folder, "model", ".safetensors"), resume=False)

    def resume(self) -> None:
        """Continue an interrupted training."""
        self._fit(self.state.session.unfinished, resume=True)

    def _fit(self, output: str, *, resume: bool) -> None:
        scene = self.state.scene_arguments()
        folder = tempfile.mkdtemp(dir=self._scratch)
        annotations, area, self._stop_file = (
            os.path.join(folder, name) for name in ("annotations.gpkg", "frames.gpkg", "stop")
        )
        self.state.export_area(area)
        self.state.export_annotations(annotations)
        arguments = panel_session.fit_arguments(
            scene,
            output,
            annotations=annotations,
            area=area,
            stop_file=self._stop_file,
            minutes=self.state.session.minutes,
            resume=resume,
        )
        names = {annotations: tr("Annotations"), area: tr("Frames")}
        command = CommandThread(arguments, (1, 4, 8, 97, 99), names, folder, PATIENCE)
        self.state.change(unfinished="")
        self._start(
            tr("Train"),
            command,
            partial(self._show_model, output),
            partial(self._keep_unfinished, output),
            minutes=self.state.session.minutes,
        )

    def _show_model(self, path: str, result: Result) -> None:
        self.choose_model(path)
        text = tr("{} is trained.").format(os.path.splitext(os.path.basename(path))[0])
        score = result.get("miou")
        if isinstance(score, (int, float)):
            text += " " + tr("Best mean IoU: {} %.").format(f"{100 * score:.1f}")
        self.show_message(text, Qgis.MessageLevel.Success)

    def _keep_unfinished(self, output: str) -> None:
        """Offer to resume a training that has left a checkpoint."""
        checkpoint = os.path.splitext(output)[0] + ".checkpoint.safetensors"
        self.state.change(unfinished=output if os.path.isfile(checkpoint) else "")

    def stop(self) -> None:
        """End the training after the current step and keep the best model."""
        with open(self._stop_file, "w", encoding="utf-8"):
            pass
        self.form.progress.stop.setEnabled(False)

    # --- segmentation ----------------------------------------------------------------------------------

    def preview(self) -> None:
        """Segment the part of the scene that the map shows, into a temporary layer."""
        layer, scene = self.state.scene(), self.state.scene_arguments()
        canvas = self._iface.mapCanvas()
        crs = canvas.mapSettings().destinationCrs()
        view = panel_layers.transform_rectangle(canvas.extent(), crs, layer.crs())
        box = view.intersect(layer.extent())
        if box.isEmpty():
            raise QgsProcessingException(
                tr("The map shows no part of the scene. Zoom to it first.")
            )
        output = panel_session.number_path(self._scratch, "preview", ".gpkg")
        sides = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        arguments = panel_session.segment_arguments(scene, output, box=sides)
        command = CommandThread(arguments, (1, 90, 99))
        self._start(tr("Preview"), command, partial(self._show_preview, output))

    def _show_preview(self, path: str, _: Result) -> None:
        layer = panel_layers.open_layer(path, "segments", tr("Preview"))
        panel_layers.style_objects(layer, self._known_classes())
        self.state.remove_layer("preview")
        self.state.add_layer("preview", layer)
        self.show_message(tr("{} polygons in this part.").format(layer.featureCount()))

    def segment(self) -> None:
        """Segment the whole scene."""
        scene = self.state.scene_arguments()
        output = panel_session.number_path(self.state.make_folder(), "objects", ".gpkg")
        rasters = Rasters.beside(output)
        arguments = panel_session.segment_arguments(scene, output, rasters=rasters)
        command = CommandThread(arguments, (1, 85, 98))
        self._start(tr("Segment"), command, partial(self._show_result, output, scene.model))

    def _show_result(self, path: str, model: str, _: Result) -> None:
        title = os.path.splitext(os.path.basename(path))[0]
        layer = panel_layers.open_layer(path, "segments", title)
        panel_layers.prepare_objects(layer, self._known_classes())
        self._reviewed = None
        self.state.remove_layer("preview")
        self.state.hide_layer("result")
        self.state.add_layer("result", layer)
        self.state.change(result_model=model)
        self._watch_layers()
        text = tr("{} polygons. Accept or reject some, and train again.")
        self.show_message(text.format(layer.featureCount()), Qgis.MessageLevel.Success)

    # --- review ------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Accept the selected polygons."""
        self._set_status(ACCEPTED)

    def reject(self) -> None:
        """Reject the selected polygons."""
        self._set_status(REJECTED)

    def reset(self) -> None:
        """Remove the status of the selected polygons."""
        self._set_status(None)

    def _set_status(self, status: str | None) -> None:
        """Set the status of the selected polygons; show the next one after the one that *Next* has shown."""
        result = self.state.layer("result")
        chosen = result.selectedFeatureIds()
        if not chosen:
            raise QgsProcessingException(tr("No polygon is selected. Select some, or use Next."))
        order = panel_review.order_unreviewed(result)
        following = panel_review.choose_neighbour(order, self._reviewed, 1)
        self._change_status(chosen, status)
        if status is not None and list(chosen) == [self._reviewed]:
            self._show_object(None if following == self._reviewed else following)

    def _change_status(self, chosen: Sequence[int], status: str | None) -> None:
        """Set the status of polygons; add the classes of accepted ones to the table."""
        result = self.state.layer("result")
        if status == ACCEPTED:
            present = {result.getFeature(number)["class"] for number in chosen}
            own = self.state.session.classes
            new = [item for item in self._known_classes()[len(own) :] if item.name in present]
            if new:
                self.form.classes.set_classes([*own, *new], self.state.session.current_class)
                self._change_classes()
        panel_review.set_status(result, chosen, status)
        self._show_counts()

    def accept_in_frames(self) -> None:
        """Accept all polygons in the frames that are not reviewed."""
        if not self.state.has_frames():
            raise QgsProcessingException(tr("No frame is drawn. Draw a frame first."))
        result = self.state.layer("result")
        area = panel_review.join_frames(self.state.layer("frames"), result.crs())
        chosen = panel_review.find_in_area(result, area)
        self._change_status(chosen, ACCEPTED)
        self.show_message(tr("{} polygons are accepted.").format(len(chosen)))

    def next(self) -> None:
        """Show the next polygon that is not reviewed, the most uncertain first."""
        self._step(1)

    def previous(self) -> None:
        """Show the previous polygon that is not reviewed."""
        self._step(-1)

    def _step(self, step: int) -> None:
        order = panel_review.order_unreviewed(self.state.layer("result"))
        self._show_object(panel_review.choose_neighbour(order, self._reviewed, step))

    def _show_object(self, number: int | None) -> None:
        """Select a polygon, and move the map to it."""
        result = self.state.layer("result")
        self._reviewed = number
        if number is None:
            result.removeSelection()
            self.show_message(tr("All polygons are reviewed."))
            return
        result.selectByIds([number])
        self._iface.setActiveLayer(result)
        box = result.getFeature(number).geometry().boundingBox()
        canvas = self._iface.mapCanvas()
        colour = canvas.selectionColor()
        colour.setAlpha(min(colour.alpha(), SELECTION_ALPHA))
        canvas.setSelectionColor(colour)
        crs, view = canvas.mapSettings().destinationCrs(), canvas.extent()
        target = panel_layers.transform_rectangle(box, result.crs(), crs)
        share = max(target.width() / view.width(), target.height() / view.height())
        if not MIN_SHARE <= share <= MAX_SHARE:
            self._zoom(result, box, CONTEXT)
        else:
            canvas.setCenter(target.center())
            canvas.refresh()

    # --- commands ----------------------------------------------------------------------------------------

    def _start(
        self,
        title: str,
        command: CommandThread,
        succeed: Callable[[Result], None],
        fail: Callable[[], None] = lambda: None,
        *,
        minutes: float = 0,
    ) -> None:
        """Run a command in the background; then call `succeed` with its result, or `fail`.

        A command with a time limit in minutes can be stopped.
        """
        progress, feedback = self.form.progress, command.feedback
        progress.start(title, minutes)
        feedback.text_changed.connect(progress.set_text)
        feedback.progressChanged.connect(progress.set_percent)
        feedback.line_added.connect(self._log)
        feedback.warned.connect(self._show_warning)
        command.succeeded.connect(lambda result: self._finish(partial(succeed, result)))
        command.failed.connect(lambda text: self._finish(partial(self._show_failure, text, fail)))
        command.cancelled.connect(lambda: self._finish(partial(self._show_cancellation, fail)))
        self.command = command
        self._start_thread(command)
        self.update_buttons()

    def _start_thread(self, thread: PanelThread) -> None:
        thread.finished.connect(partial(self._end_thread, thread))
        self._threads.add(thread)
        thread.start()

    def _end_thread(self, thread: PanelThread) -> None:
        thread.wait()  # a thread must not be deleted before it has ended
        self._threads.discard(thread)

    def _finish(self, action: Callable[[], None]) -> None:
        self.command = None
        self.form.progress.hide()
        self._guard(action)()

    def _show_warning(self, text: str) -> None:
        self.show_message(text, Qgis.MessageLevel.Warning)

    def _show_failure(self, text: str, fail: Callable[[], None]) -> None:
        fail()
        self.show_message(text, Qgis.MessageLevel.Critical)

    def _show_cancellation(self, fail: Callable[[], None]) -> None:
        fail()
        self.show_message(tr("Cancelled."))

    def _log(self, line: str) -> None:
        QgsMessageLog.logMessage(line, "geoseg", Qgis.MessageLevel.Info, False)

    def cancel(self) -> None:
        """Cancel the running command."""
        if self.command is not None:
            self.form.progress.cancel.setEnabled(False)
            self.form.progress.stop.setEnabled(False)
            self.form.progress.text.setText(tr("Cancelling…"))
            self.command.cancel()

    def closeEvent(self, event: Any) -> None:
        """Cancel the running command when the panel is closed."""
        self.cancel()
        self._iface.mapCanvas().unsetMapTool(self._frame_tool)
        super().closeEvent(event)

    def shut_down(self) -> None:
        """End the running commands and delete temporary files, before the panel is deleted."""
        project = QgsProject.instance()
        for signal, slot in (
            (project.readProject, self.restore),
            (project.cleared, self.restore),
            (project.layersAdded, self.update_buttons),
            (project.layersRemoved, self.update_buttons),
        ):
            signal.disconnect(slot)
        self.state.watch([])
        self._frame_tool.drawn.disconnect(self._guard_frame)
        self._iface.mapCanvas().unsetMapTool(self._frame_tool)
        for thread in self._threads:
            thread.end()
            thread.wait(WAIT_MS)
            for end in (thread.succeeded, thread.failed, thread.cancelled, thread.finished):
                with suppress(TypeError):  # not connected
                    end.disconnect()
        shutil.rmtree(self._scratch, ignore_errors=True)
