"""Base of the algorithms that write polygons: their options, styled layers and counts."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import Any, ClassVar
from urllib.parse import quote

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsColorRampShader,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterEnum,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsRasterLayer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt.QtGui import QColor

from .base import MAX_CLASS_OUTPUTS, Run, SubprocessAlgorithm
from .i18n import tr

POLYGON_OPTIONS = {
    "MIN_AREA": "--min-area",
    "MIN_PIXELS": "--min-pixels",
    "MIN_CONFIDENCE": "--min-confidence",
    "CLASSES": "--classes",
    "FILL_HOLES": "--fill-holes",
    "SEPARATION": "--split",
    "SIMPLIFY": "--simplify",
    "SMOOTH": "--smooth",
    "REGULARIZE": "--regularize",
    "BOXES": "--oriented-boxes",
    "OBJECTS": "--objects",
}
"""Parameter to the option of the commands that write polygons."""

SEPARATIONS = ["auto", "interior", "confidence", "necks", "none"]
"""Values of SEPARATION, and of the option --split."""

VIRIDIS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
"""Colours of the map *viridis* of matplotlib at equal steps."""

LARGEST_SCAN = 400_000_000
"""Largest raster, in pixels, that is read to find its classes."""


class StylePostProcessor(QgsProcessingLayerPostProcessorInterface):
    """Applies the style that is stored with a layer; Processing loads results without it."""

    _references: ClassVar[list[StylePostProcessor]] = []
    """QGIS holds no reference to a post processor, and a post processor serves one layer only."""

    def __init__(self, class_ids: set[int] | None, is_share: bool) -> None:
        super().__init__()
        self._class_ids, self._is_share = class_ids, is_share

    @classmethod
    def attach(
        cls,
        path: str,
        context: QgsProcessingContext,
        class_ids: set[int] | None = None,
        *,
        is_share: bool = False,
    ) -> None:
        """Style the layer of `path` if QGIS loads it on completion.

        Its legend has only the classes of `class_ids`. With `is_share`, its values 0 to 200 stand for 0 to 1.
        """
        if context.willLoadLayerOnCompletion(path):
            processor = cls(class_ids, is_share)
            cls._references.append(processor)
            context.layerToLoadOnCompletionDetails(path).setPostProcessor(processor)

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        layer.loadDefaultStyle()
        if self._class_ids is not None:
            restrict_legend(layer, self._class_ids)
        if self._is_share:
            shade_share(layer)
        layer.triggerRepaint()


def shade_share(layer: QgsMapLayer) -> None:
    """Show a raster whose values 0 to 200 stand for 0 to 1 from dark to bright, unless it has colours already."""
    if isinstance(layer.renderer(), QgsSingleBandPseudoColorRenderer):
        return
    ramp = QgsColorRampShader(0, 200)
    ramp.setColorRampItemList(
        [
            QgsColorRampShader.ColorRampItem(50 * step, QColor(colour), f"{step / 4:g}")
            for step, colour in enumerate(VIRIDIS)
        ]
    )
    shader = QgsRasterShader(0, 200)
    shader.setRasterShaderFunction(ramp)
    layer.setRenderer(QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, shader))


def restrict_legend(layer: QgsMapLayer, class_ids: set[int]) -> None:
    """Remove the classes from the legend of a layer that do not occur in it."""
    renderer = layer.renderer()
    if isinstance(renderer, QgsCategorizedSymbolRenderer):
        for index in reversed(range(len(renderer.categories()))):
            value = str(renderer.categories()[index].value())  # a number or its text
            if value.isdecimal() and int(value) not in class_ids:
                renderer.deleteCategory(index)
    elif isinstance(renderer, QgsPalettedRasterRenderer):
        classes = [one for one in renderer.classes() if int(one.value) in class_ids]
        layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, classes))


def find_raster_classes(path: str) -> set[int] | None:
    """Return the values of a raster of class IDs, or None if it is too large to be read for its legend."""
    layer = QgsRasterLayer(path, "labels")
    if not layer.isValid() or layer.width() * layer.height() > LARGEST_SCAN:
        return None
    classes = QgsPalettedRasterRenderer.classDataFromRaster(layer.dataProvider(), 1)
    return {int(one.value) for one in classes}


class PolygonAlgorithm(SubprocessAlgorithm):
    """An algorithm whose OUTPUT is a GeoPackage of polygons."""

    def add_polygons(self) -> None:
        """Add the polygon options, the destination of the polygons, and their counts."""
        self.add_number(
            "MIN_AREA",
            "Minimum area (m²)",
            "Omit polygons with a smaller area on the ground. 0 keeps all polygons.",
            0,
        )
        self.add_number(
            "MIN_CONFIDENCE",
            "Minimum confidence",
            "Omit polygons with a lower mean confidence, from 0 to 1. Rasters are not affected.",
            0,
            1,
        )
        self.add(
            QgsProcessingParameterString("CLASSES", tr("Classes"), optional=True),
            "Write only polygons of these classes: names with commas between them. Empty: all classes. Rasters are not "
            "affected.",
        )
        self._add_outlines()
        self.add(
            QgsProcessingParameterEnum(
                "SEPARATION",
                tr("Separate touching objects"),
                SEPARATIONS,
                defaultValue="auto",
                usesStaticStrings=True,
            ),
            "Write objects that touch as polygons of their own. interior: objects of countable classes such as "
            "vehicles, ships and planes, by the object outputs of the model; confidence: the same, where the "
            "confidence has valleys between objects; necks: objects of all classes, where their outline is narrow; "
            "none: connected pixels of a class are one polygon; auto: interior where there are object outputs, else "
            "none.",
        )
        self.add_boolean(
            "STYLE",
            "Style results on load",
            "Load the results with the colours of their classes.",
            default=True,
            advanced=False,
        )
        polygons = QgsProcessingParameterVectorDestination(
            "OUTPUT", tr("Polygons"), QgsProcessing.SourceType.TypeVectorPolygon
        )
        polygons.setSupportsNonFileBasedOutput(False)
        self.add(
            polygons,
            "Write the polygons to this GeoPackage (.gpkg), with the attributes id, class, class_id, confidence (0 to "
            "1), pixels, area_m2, and the oriented box: box_length_m, box_width_m and box_angle in degrees clockwise "
            "from north.",
        )
        self._add_counts()

    def _add_outlines(self) -> None:
        self.add_number(
            "MIN_PIXELS",
            "Minimum area (pixels)",
            "Omit polygons with fewer pixels. 0 keeps all polygons.",
            0,
            integer=True,
            advanced=True,
        )
        self.add_number(
            "FILL_HOLES",
            "Fill holes up to (pixels)",
            "Fill holes of up to this number of pixels that a single class or object surrounds. 0 keeps all holes.",
            0,
            integer=True,
            advanced=True,
        )
        self.add_number(
            "SIMPLIFY",
            "Simplification tolerance (pixels)",
            "Simplify outlines with the Visvalingam-Whyatt algorithm: remove vertices that span a triangle smaller "
            "than the square of this tolerance. Shared borders stay shared. 1 removes the pixel steps, 0 "
            "keeps the pixel edges.",
            0,
        )
        self.add_number(
            "SMOOTH",
            "Smoothing distance (pixels)",
            "Round corners, from at most this distance before them. Shared borders stay shared. 0 keeps corners.",
            0,
            advanced=True,
        )
        self.add_boolean(
            "REGULARIZE",
            "Regularize outlines",
            "Replace the outlines of countable classes by circles, rectangles, hulls of ships or right-angled polygons "
            "where they fit.",
        )
        self.add_boolean(
            "BOXES",
            "Oriented boxes",
            "Write the oriented box of each object instead of its outline. Cannot be combined with simplified, "
            "smoothed or regularized outlines.",
        )

    def add_raster(self, name: str, text: str, help_text: str) -> None:
        """Add an optional raster to write."""
        destination = QgsProcessingParameterRasterDestination(
            name, tr(text), optional=True, createByDefault=False
        )
        self.add(destination, help_text)

    def add_objects(self) -> None:
        """Add the optional raster of the IDs of objects."""
        self.add_raster(
            "OBJECTS",
            "Object IDs",
            "Write the ID of the object of every pixel, the attribute id of its polygon, to this GeoTIFF. 0 is no "
            "object. Objects must be separated by object outputs or by the confidence.",
        )

    def _add_counts(self) -> None:
        self.addOutput(QgsProcessingOutputNumber("COUNT", tr("Number of polygons")))
        self.addOutput(QgsProcessingOutputString("COUNTS", tr("Number of polygons by class, JSON")))
        for number in range(1, MAX_CLASS_OUTPUTS + 1):
            text = tr("Number of polygons with class ID {}").format(number)
            self.addOutput(QgsProcessingOutputNumber(f"COUNT_{number}", text))

    def collect_results(
        self, run: Run, paths: dict[str, str], event: dict[str, Any]
    ) -> dict[str, Any]:
        counts = count_polygons(paths["OUTPUT"])
        if run.boolean("STYLE"):
            class_ids = {class_id for class_id, _, _ in counts}
            for name, path in paths.items():
                shown = {"OUTPUT": class_ids}.get(name)
                if name == "LABELS" and run.context.willLoadLayerOnCompletion(path):
                    shown = find_raster_classes(path)
                is_share = name in ("CONFIDENCE", "INTERIOR")
                StylePostProcessor.attach(path, run.context, shown, is_share=is_share)
        return format_counts(counts)


def count_rows(path: str, table: str) -> int:
    """Return the number of rows of a table of a GeoPackage."""
    ((count,),) = query_geopackage(path, f'SELECT COUNT(*) FROM "{table}"')
    return int(count)


def count_polygons(path: str) -> list[tuple[int, str, int]]:
    """Return class ID, class and number of polygons of the classes in a GeoPackage."""
    query = 'SELECT class_id, class, COUNT(*) FROM segments GROUP BY class_id, "class" ORDER BY 1'
    return query_geopackage(path, query)


def query_geopackage(path: str, query: str) -> list[Any]:
    """Return the rows of a query."""
    uri = "file:{}?mode=ro".format(quote(path.replace(os.sep, "/")))
    with closing(sqlite3.connect(uri, uri=True)) as database:
        return database.execute(query).fetchall()


def format_counts(counts: list[tuple[int, str, int]]) -> dict[str, Any]:
    """Return the numbers of polygons as outputs: in total (COUNT), by class ID (COUNT_1 …) and by name (COUNTS)."""
    results: dict[str, Any] = {f"COUNT_{number}": 0 for number in range(1, MAX_CLASS_OUTPUTS + 1)}
    results.update({f"COUNT_{class_id}": count for class_id, _, count in counts})
    by_name = json.dumps({name: count for _, name, count in counts}, ensure_ascii=False)
    return {**results, "COUNT": sum(count for *_, count in counts), "COUNTS": by_name}
