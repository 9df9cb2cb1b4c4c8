"""The panel's part of a project: its session, stored as a property, and the layers with a role in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from qgis.core import NULL, QgsGeometry, QgsProcessingException, QgsProject, QgsVectorLayer
from qgis.PyQt import sip

from . import panel_layers, panel_review
from .files import layer_path
from .i18n import tr
from .panel_session import (
    ACCEPTED,
    IGNORED,
    PanelClass,
    Rasters,
    SceneArguments,
    Session,
    default_folder,
)

SCOPE, ENTRY = "geoseg", "/panel"
"""Property of the project that keeps the session."""

DRAWN_ROLES = ("annotations", "frames", "suggestions")
"""Roles of the layers that lie above results, by their names in `Session`."""


class PanelProject:
    """Session of the panel in the current project of QGIS."""

    def __init__(self) -> None:
        self.session = Session()
        self._connections: list[tuple[Any, str, Callable[..., object]]] = []

    # --- session -----------------------------------------------------------------------------------

    def change(self, **entries: Any) -> None:
        """Change entries of the session, and store it in the project."""
        session = replace(self.session, **entries)
        if session != self.session:
            self.session = session
            QgsProject.instance().writeEntry(SCOPE, ENTRY, session.to_text())

    def restore(self) -> None:
        """Read the session from the project; it is empty in a new project."""
        text, _found = QgsProject.instance().readEntry(SCOPE, ENTRY, "")
        self.session = Session.from_text(text)

    def set_scene(self, layer: Any, *, store: bool) -> None:
        """Choose the scene, a raster layer or None; the first one also chooses the folder.

        A choice by default is not stored: layers also change while a project is being opened or closed.
        """
        folder = self.session.folder
        path = layer_path(layer) if layer is not None else ""
        if path and not folder:
            folder = default_folder(path, QgsProject.instance().homePath())
        scene = layer.id() if layer is not None else ""
        if store:
            self.change(scene=scene, folder=folder)
        else:
            self.session = replace(self.session, scene=scene, folder=folder)

    def make_folder(self) -> str:
        """Create the folder of the session and return its path.

        Raises
        ------
        QgsProcessingException
            If it cannot be created.
        """
        folder = self.session.folder
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            text = tr("{}: cannot be created ({}). Choose another folder.")
            raise QgsProcessingException(text.format(folder, error.strerror)) from error
        return folder

    # --- layers ------------------------------------------------------------------------------------

    def layer(self, role: str) -> Any:
        """Return the layer with a role, such as "scene" or "frames"; None if it is not in the project."""
        return QgsProject.instance().mapLayer(getattr(self.session, role))

    def scene(self) -> Any:
        """Return the layer of the scene.

        Raises
        ------
        QgsProcessingException
            If there is none, or it is no file.
        """
        scene = self.layer("scene")
        if scene is None:
            raise QgsProcessingException(tr("Choose a scene first: a raster layer of the project."))
        if not layer_path(scene):
            text = tr("{}: is not a raster file. Save it as a file first: Export > Save As…")
            raise QgsProcessingException(text.format(scene.name()))
        return scene

    def scene_arguments(self) -> SceneArguments:
        """Return the scene and the options of the commands that read it. Raises as `scene`."""
        scene, session = self.scene(), self.session
        size = 0.0 if scene.crs().isValid() else session.pixel_size
        return SceneArguments(layer_path(scene), session.model, session.bands, size)

    def add_layer(self, role: str, layer: Any) -> None:
        """Add a layer to the project with a role: drawn layers on top, results below them."""
        project = QgsProject.instance()
        position = 0
        if role not in DRAWN_ROLES:
            position = sum(self.layer(drawn) is not None for drawn in DRAWN_ROLES)
        self.change(**{role: layer.id()})
        project.addMapLayer(layer, False)
        project.layerTreeRoot().insertLayer(position, layer)

    def remove_layer(self, role: str) -> None:
        """Remove the layer with a role from the project, if there is one."""
        if self.layer(role) is not None:
            QgsProject.instance().removeMapLayer(getattr(self.session, role))

    def hide_layer(self, role: str) -> None:
        """Clear the check box of the layer with a role, if there is one."""
        node = QgsProject.instance().layerTreeRoot().findLayer(getattr(self.session, role))
        if node is not None:
            node.setItemVisibilityChecked(False)

    def open_annotations(self, *, with_form: bool) -> QgsVectorLayer:
        """Return the layer of annotations; open or create it if it is not in the project."""
        fields = panel_layers.ANNOTATION_FIELDS
        layer = self._open_or_create("annotations", tr("Annotations"), fields)
        self.configure_annotations(with_form=with_form)
        return layer

    def configure_annotations(self, *, with_form: bool) -> None:
        """Apply the classes to the style and the form of the layer of annotations, if there is one."""
        layer, session = self.layer("annotations"), self.session
        if layer is not None:
            panel_layers.configure_annotations(
                layer, session.classes, session.current_class, with_form=with_form
            )

    def open_frames(self) -> QgsVectorLayer:
        """Return the layer of frames; open or create it if it is not in the project."""
        if self.layer("frames") is None:
            panel_layers.style_frames(self._open_or_create("frames", tr("Frames"), ["note"]))
        return self.layer("frames")

    def _open_or_create(self, role: str, title: str, fields: Sequence[str]) -> Any:
        if self.layer(role) is None:
            scene = self.scene()
            path = os.path.join(self.make_folder(), f"{role}.gpkg")
            if not os.path.isfile(path):
                panel_layers.write_features(path, role, fields, scene.crs(), [])
            self.add_layer(role, panel_layers.open_layer(path, role, title))
        return self.layer(role)

    def rename_class(self, former: str, name: str) -> None:
        """Give drawn objects and polygons of the result the new name of their class."""
        for layer in (self.layer("annotations"), self.layer("result")):
            if layer is not None:
                numbers = [f.id() for f in layer.getFeatures() if f["class"] == former]
                panel_review.set_value(layer, numbers, "class", name)

    def style_results(self, classes: Sequence[PanelClass]) -> None:
        """Apply the colours of classes to result and preview."""
        for role in ("result", "preview"):
            if self.layer(role) is not None:
                panel_layers.style_objects(self.layer(role), classes)

    def watch(self, slots: Sequence[tuple[str, str, Callable[..., object]]]) -> None:
        """Connect signals of layers, given as role, signal and slot, instead of those connected before."""
        for layer, name, slot in self._connections:
            if not sip.isdeleted(layer):
                getattr(layer, name).disconnect(slot)
        self._connections = []
        for role, name, slot in slots:
            layer = self.layer(role)
            if layer is not None:
                getattr(layer, name).connect(slot)
                self._connections.append((layer, name, slot))

    def rasters(self) -> Rasters | None:
        """Return the rasters of the result, or None if there are none of the chosen model."""
        layer, session = self.layer("result"), self.session
        if layer is None or session.result_model != session.model:
            return None
        rasters = Rasters.beside(layer_path(layer))
        return rasters if rasters.exist() else None

    # --- files for the commands ----------------------------------------------------------------------

    def has_frames(self) -> bool:
        """Return True if a frame is drawn."""
        frames = self.layer("frames")
        return frames is not None and frames.featureCount() > 0

    def export_frames(self, path: str) -> None:
        """Write the frames to a GeoPackage, with unsaved edits."""
        frames = self.layer("frames")
        shapes = [(feature.geometry(), [NULL]) for feature in frames.getFeatures()]
        panel_layers.write_features(path, "frames", ["note"], frames.crs(), shapes)

    def export_area(self, path: str) -> None:
        """Write the annotated area to a GeoPackage: the frames, or the whole scene.

        Raises
        ------
        QgsProcessingException
            If there are no frames, and not the whole scene is annotated.
        """
        if self.session.whole_scene:
            scene = self.scene()
            shapes = [(QgsGeometry.fromRect(scene.extent()), [NULL])]
            panel_layers.write_features(path, "frames", ["note"], scene.crs(), shapes)
        elif self.has_frames():
            self.export_frames(path)
        else:
            text = tr(
                "No frame is drawn. Draw a frame around a part of the scene in which all objects are drawn, or "
                "check that all objects of the scene are drawn."
            )
            raise QgsProcessingException(text)

    def export_annotations(self, path: str) -> None:
        """Write the drawn objects and the reviewed polygons of the result to a GeoPackage.

        Raises
        ------
        QgsProcessingException
            If there is no object, or one has a class that the panel does not have.
        """
        drawn = self.layer("annotations")
        found = []
        if drawn is not None:
            found = list(panel_review.collect_annotations(drawn, self.layer("result")))
        objects = [values[0] for _, values in found if values[1] == ACCEPTED]
        if not objects:
            text = tr("No object is drawn. Draw the objects of the frame first.")
            raise QgsProcessingException(text)
        known = {item.name for item in self.session.classes} | {IGNORED}
        unknown = [name for name in objects if name not in known]
        if unknown:
            text = tr(
                "Class {} is not in the table (number of polygons: {}). Add it, or change or delete these polygons."
            )
            named = unknown[0] or tr("(none)")
            raise QgsProcessingException(text.format(named, unknown.count(unknown[0])))
        fields = panel_layers.ANNOTATION_FIELDS
        panel_layers.write_features(path, "annotations", fields, drawn.crs(), found)
