"""Base of the algorithms that write polygons: their options, styled layers and counts."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import Any, ClassVar
from urllib.parse import quote

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterVectorDestination,
)

from .base import MAX_CLASS_OUTPUTS, Run, SubprocessAlgorithm
from .i18n import tr

POLYGON_OPTIONS = {
    "MIN_AREA": "--min-area",
    "MIN_PIXELS": "--min-pixels",
    "SIMPLIFY": "--simplify",
}
"""Parameter to the option of the command that takes its value."""


SEPARATIONS = ["auto", "interior", "confidence", "necks", "none"]
"""Values of SEPARATION, and of the option --split."""


class StylePostProcessor(QgsProcessingLayerPostProcessorInterface):
    """Applies the style that is stored with a layer; Processing loads results without it."""

    _references: ClassVar[list[StylePostProcessor]] = []
    """QGIS holds no reference to a post processor, and a post processor serves one layer only."""

    @classmethod
    def attach(cls, path: str, context: QgsProcessingContext) -> None:
        """Style the layer of `path` if QGIS loads it on completion."""
        if context.willLoadLayerOnCompletion(path):
            processor = cls()
            cls._references.append(processor)
            context.layerToLoadOnCompletionDetails(path).setPostProcessor(processor)

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        layer.loadDefaultStyle()
        layer.triggerRepaint()


class PolygonAlgorithm(SubprocessAlgorithm):
    """An algorithm whose OUTPUT is a GeoPackage of polygons."""

    def add_polygons(self) -> None:
        """Add the polygon options, the destination of the polygons, and their counts."""
        integer = QgsProcessingParameterNumber.Type.Integer
        double = QgsProcessingParameterNumber.Type.Double
        self.add(
            QgsProcessingParameterNumber(
                "MIN_AREA", tr("Minimum area (m²)"), double, 0, minValue=0
            ),
            "Omit polygons with a smaller area on the ground. 0 keeps all polygons.",
        )
        self.add(
            QgsProcessingParameterNumber(
                "MIN_PIXELS", tr("Minimum area (pixels)"), integer, 0, minValue=0
            ),
            "Omit polygons with fewer pixels. 0 keeps all polygons.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                "SIMPLIFY", tr("Simplification tolerance (pixels)"), double, 0, minValue=0
            ),
            "Simplify outlines with the Visvalingam-Whyatt algorithm: remove vertices that span a triangle smaller "
            "than the square of this tolerance. Shared borders stay shared. 1 removes the pixel steps, 0 "
            "keeps the pixel edges.",
        )
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
        self.add(
            QgsProcessingParameterBoolean("STYLE", tr("Style results on load"), True),
            "Load the results with the colours of their classes.",
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

    def polygon_arguments(self, run: Run) -> list[str]:
        """Return the arguments of the polygon options that have a value."""
        arguments = []
        for name, option in POLYGON_OPTIONS.items():
            value = run.number(name)
            if value > 0:
                arguments += [option, f"{value:.12g}"]
        separation = run.string("SEPARATION")
        if separation != "auto":
            arguments += ["--split", separation]
        if "OBJECTS" in run.outputs:
            arguments += ["--objects", run.outputs["OBJECTS"].scratch]
        return arguments

    def collect_results(
        self, run: Run, paths: dict[str, str], event: dict[str, Any]
    ) -> dict[str, Any]:
        if run.boolean("STYLE"):
            for path in paths.values():
                StylePostProcessor.attach(path, run.context)
        return count_polygons(paths["OUTPUT"])


def count_polygons(path: str) -> dict[str, Any]:
    """Count the polygons of a GeoPackage, in total (COUNT), by class ID (COUNT_1 …) and by name (COUNTS)."""
    uri = "file:{}?mode=ro".format(quote(path.replace(os.sep, "/")))
    query = 'SELECT class_id, class, COUNT(*) FROM segments GROUP BY class_id, "class" ORDER BY 1'
    with closing(sqlite3.connect(uri, uri=True)) as database:
        rows = database.execute(query).fetchall()
    counts: dict[str, Any] = {f"COUNT_{number}": 0 for number in range(1, MAX_CLASS_OUTPUTS + 1)}
    counts.update({f"COUNT_{class_id}": count for class_id, _, count in rows})
    by_name = json.dumps({name: count for _, name, count in rows}, ensure_ascii=False)
    return {**counts, "COUNT": sum(count for *_, count in rows), "COUNTS": by_name}
