"""Layers of the panel: annotations, frames, suggested frames and segmented polygons."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsDefaultValue,
    QgsEditFormConfig,
    QgsEditorWidgetSetup,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFillSymbol,
    QgsGeometry,
    QgsLinePatternFillSymbolLayer,
    QgsPalLayerSettings,
    QgsProcessingException,
    QgsProject,
    QgsRectangle,
    QgsRendererCategory,
    QgsRuleBasedRenderer,
    QgsSimpleLineSymbolLayer,
    QgsTextBufferSettings,
    QgsTextFormat,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtGui import QColor

from .i18n import tr
from .panel_session import ACCEPTED, IGNORED, REJECTED, PanelClass

OTHER_COLOUR, IGNORED_COLOUR, REJECTED_COLOUR = "#b0b0b0", "#ffffff", "#c8c8c8"
FRAME_COLOUR, SUGGESTION_COLOUR = "#ffd400", "#00c8ff"
ANNOTATION_FIELDS = ("class", "status")


# --- creation ----------------------------------------------------------------------------------------


def open_layer(path: str, table: str, title: str) -> QgsVectorLayer:
    """Open a layer of a GeoPackage.

    Raises
    ------
    QgsProcessingException
        If there is none.
    """
    layer = QgsVectorLayer(f"{path}|layername={table}", title, "ogr")
    if not layer.isValid():
        raise QgsProcessingException(tr("{}: has no layer {}.").format(path, table))
    return layer


def write_features(
    path: str,
    table: str,
    fields: Sequence[str],
    crs: QgsCoordinateReferenceSystem,
    features: Iterable[tuple[QgsGeometry, Sequence[object]]],
) -> None:
    """Write polygons with text fields to a new GeoPackage.

    Raises
    ------
    QgsProcessingException
        If the file cannot be written.
    """
    template = QgsVectorLayer(
        "MultiPolygon?" + "&".join(f"field={field}:string" for field in fields), "", "memory"
    )
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.fileEncoding, options.layerName = "GPKG", "UTF-8", table
    project = QgsProject.instance()
    writer = QgsVectorFileWriter.create(
        path, template.fields(), template.wkbType(), crs, project.transformContext(), options
    )
    if writer.hasError():
        text = tr("{}: cannot be written ({}). Choose another folder.")
        raise QgsProcessingException(text.format(path, writer.errorMessage()))
    for geometry, values in features:
        feature = QgsFeature(template.fields())
        multiple = QgsGeometry(geometry)
        multiple.convertToMultiType()
        feature.setGeometry(multiple)
        feature.setAttributes(list(values))
        if not writer.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
            raise QgsProcessingException(writer.errorMessage())
    del writer


def add_frame(layer: QgsVectorLayer, geometry: QgsGeometry) -> None:
    """Add a polygon to a layer of frames, into its edits if it is being edited, else to its file."""
    feature = QgsFeature(layer.fields())
    multiple = QgsGeometry(geometry)
    multiple.convertToMultiType()
    feature.setGeometry(multiple)
    if layer.isEditable():
        layer.addFeature(feature)
    else:
        layer.dataProvider().addFeatures([feature])
        layer.updateExtents()
    layer.triggerRepaint()


def transform_rectangle(
    box: QgsRectangle,
    source: QgsCoordinateReferenceSystem,
    target: QgsCoordinateReferenceSystem,
) -> QgsRectangle:
    """Return the bounding box of a rectangle in another CRS; the same box if either CRS is unknown."""
    return QgsCoordinateTransform(source, target, QgsProject.instance()).transformBoundingBox(box)


# --- forms -------------------------------------------------------------------------------------------


def configure_annotations(
    layer: QgsVectorLayer, classes: Sequence[PanelClass], current: str, *, with_form: bool = True
) -> None:
    """Set the style of annotations, and the form in which the class is chosen from a list.

    New objects get the class `current`. Without a form, they get it without a question.
    """
    names = [item.name for item in classes] + [IGNORED]
    set_value_map(layer, "class", {name: name for name in names})
    hide_fields(layer, ("fid", "status"))
    index = layer.fields().lookupField("class")
    layer.setDefaultValueDefinition(index, QgsDefaultValue(quote(current) if current else ""))
    form = layer.editFormConfig()
    suppression = QgsEditFormConfig.FeatureFormSuppress
    form.setSuppress(suppression.SuppressOff if with_form else suppression.SuppressOn)
    layer.setEditFormConfig(form)
    layer.setRenderer(categorize(classes))
    layer.triggerRepaint()
    layer.emitStyleChanged()


def set_value_map(layer: QgsVectorLayer, field: str, values: dict[str, object]) -> None:
    """Edit a field by a list of values, whose keys are shown."""
    index = layer.fields().lookupField(field)
    entries = [{title: value} for title, value in values.items()]
    layer.setEditorWidgetSetup(index, QgsEditorWidgetSetup("ValueMap", {"map": entries}))


def hide_fields(layer: QgsVectorLayer, fields: Iterable[str]) -> None:
    """Leave fields out of the form."""
    for field in fields:
        index = layer.fields().lookupField(field)
        if index >= 0:
            layer.setEditorWidgetSetup(index, QgsEditorWidgetSetup("Hidden", {}))


# --- styles ------------------------------------------------------------------------------------------


def quote(text: str) -> str:
    """Quote a text as a string of an expression."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def make_fill(colour: str, opacity: float = 0.35, width: float = 0.5) -> QgsFillSymbol:
    """Create a translucent fill with an opaque outline; `width` in millimetres."""
    fill = QColor(colour)
    fill.setAlphaF(opacity)
    symbol = QgsFillSymbol.createSimple({"outline_color": colour, "outline_width": str(width)})
    symbol.setColor(fill)
    return symbol


def make_hatch(
    colour: str, distance: float, width: float = 0.7, opacity: float = 0.45
) -> QgsFillSymbol:
    """Create a hatch with a dashed outline, through which the scene can be seen; lengths in millimetres."""
    symbol = QgsFillSymbol.createSimple(
        {
            "style": "no",
            "outline_color": colour,
            "outline_width": str(width),
            "outline_style": "dash",
        }
    )
    hatch = QgsLinePatternFillSymbolLayer()
    hatch.setLineAngle(45)
    hatch.setDistance(distance)
    line = QColor(colour)
    line.setAlphaF(opacity)
    hatch.subSymbol().changeSymbolLayer(0, QgsSimpleLineSymbolLayer(line, 0.2))
    symbol.appendSymbolLayer(hatch)
    return symbol


def categorize(classes: Sequence[PanelClass]) -> QgsCategorizedSymbolRenderer:
    """Create a renderer with the colours of the classes; others are grey, ignored areas white."""
    categories = [
        QgsRendererCategory(item.name, make_fill(item.colour), item.name) for item in classes
    ]
    ignored = make_fill(IGNORED_COLOUR, 0.2)
    categories.append(QgsRendererCategory(IGNORED, ignored, tr("ignored area")))
    categories.append(QgsRendererCategory(None, make_fill(OTHER_COLOUR), tr("other class")))
    return QgsCategorizedSymbolRenderer("class", categories)


def style_frames(layer: QgsVectorLayer) -> None:
    """Style annotated frames: hatched, dashed outline."""
    layer.renderer().setSymbol(make_hatch(FRAME_COLOUR, 6))
    layer.triggerRepaint()
    layer.emitStyleChanged()


def style_suggestions(layer: QgsVectorLayer) -> None:
    """Style suggested frames: outlined, labelled with their rank."""
    style = {"style": "no", "outline_color": SUGGESTION_COLOUR, "outline_width": "0.6"}
    layer.renderer().setSymbol(QgsFillSymbol.createSimple(style))
    settings = QgsPalLayerSettings()
    settings.fieldName = "rank"
    text = QgsTextFormat()
    text.setSize(14)
    text.setColor(QColor(SUGGESTION_COLOUR))
    buffer = QgsTextBufferSettings()
    buffer.setEnabled(True)
    buffer.setColor(QColor("#000000"))
    text.setBuffer(buffer)
    settings.setFormat(text)
    layer.setLabeling(QgsVectorLayerSimpleLabeling(settings))
    layer.setLabelsEnabled(True)
    layer.triggerRepaint()
    layer.emitStyleChanged()


def style_objects(layer: QgsVectorLayer, classes: Sequence[PanelClass]) -> None:
    """Style segmented polygons by class, those accepted with a thick outline, those rejected hatched in grey.

    Only classes that occur are in the legend. Classes without a colour in `classes` are grey.
    """
    root = QgsRuleBasedRenderer.Rule(None)
    colours = {item.name: item.colour for item in classes}
    index = layer.fields().lookupField("class")
    names = sorted(str(value) for value in layer.uniqueValues(index) if value)
    has_status = layer.fields().lookupField("status") >= 0
    for name in names:
        colour = colours.get(name, OTHER_COLOUR)
        is_class = f'"class" = {quote(name)}'
        if not has_status:
            _add_rule(root, make_fill(colour), is_class, name)
            continue
        unseen = f"{is_class} AND coalesce(\"status\", '') NOT IN ('{ACCEPTED}', '{REJECTED}')"
        _add_rule(root, make_fill(colour, 0.15, 0.4), unseen, name)
        accepted = f"{is_class} AND \"status\" = '{ACCEPTED}'"
        title = tr("{}, accepted").format(name)
        _add_rule(root, make_fill(colour, 0.5, 0.9), accepted, title)
    if has_status:
        hatch = make_hatch(REJECTED_COLOUR, 1.2, 0.5, 1)
        _add_rule(root, hatch, f"\"status\" = '{REJECTED}'", tr("rejected"))
    layer.setRenderer(QgsRuleBasedRenderer(root))
    layer.triggerRepaint()
    layer.emitStyleChanged()


def _add_rule(
    root: QgsRuleBasedRenderer.Rule, symbol: QgsFillSymbol, expression: str, title: str
) -> None:
    root.appendChild(QgsRuleBasedRenderer.Rule(symbol, 0, 0, expression, title))


# --- segmented polygons ----------------------------------------------------------------------------


def prepare_objects(layer: QgsVectorLayer, classes: Sequence[PanelClass]) -> None:
    """Add the field `status` to segmented polygons, and set their form and style.

    Raises
    ------
    QgsProcessingException
        If the field cannot be added.
    """
    if layer.fields().lookupField("status") < 0:
        field = QgsVectorLayer("None?field=status:string", "", "memory").fields().at(0)
        if not layer.dataProvider().addAttributes([QgsField(field)]):
            text = tr("{}: cannot be written. Check the folder and its permissions.")
            raise QgsProcessingException(text.format(os.path.basename(layer.source())))
        layer.updateFields()
    index = layer.fields().lookupField("class")
    present = {str(value) for value in layer.uniqueValues(index) if value}
    names = sorted(present | {item.name for item in classes})
    set_value_map(layer, "class", {name: name for name in names})
    choices: dict[str, object] = {
        tr("not reviewed"): "",
        tr("accepted"): ACCEPTED,
        tr("rejected"): REJECTED,
    }
    set_value_map(layer, "status", choices)
    # a polygon that a person draws is an object
    status = layer.fields().lookupField("status")
    layer.setDefaultValueDefinition(status, QgsDefaultValue(quote(ACCEPTED)))
    style_objects(layer, classes)
