"""Vectorize labels: a raster of class IDs becomes polygons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import QgsProcessingParameterRasterLayer

from .base import Run
from .i18n import tr
from .polygons import POLYGON_OPTIONS, PolygonAlgorithm


class GeosegVectorize(PolygonAlgorithm):
    """Run ``geoseg vectorize``."""

    OPTIONS: Mapping[str, str] = {
        "OUTPUT": "-o",
        "CONFIDENCE": "--confidence",
        "INTERIOR": "--interior",
        "UNCERTAINTY": "--uncertainty",
        **POLYGON_OPTIONS,
    }

    def name(self) -> str:
        return "vectorizelabels"

    def displayName(self) -> str:
        return tr("Vectorize labels")

    def shortDescription(self) -> str:
        return tr("Vectorize a raster of class IDs into polygons")

    def shortHelpString(self) -> str:
        return tr(
            "<p>Vectorize a raster of class IDs, written by <i>Segment scene</i> or any other software. 0 is "
            "background, 1 to 254 are classes; 255 and the nodata value of the raster are ignored.</p><p>Class "
            "names and colours are read from the metadata that geoseg writes, the category names and the colour "
            "table of the raster.</p>"
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterRasterLayer("INPUT", tr("Labels")),
            "Read class IDs from this raster file: one band of integers.",
        )
        self.add(
            QgsProcessingParameterRasterLayer("CONFIDENCE", tr("Confidence"), optional=True),
            "Read the confidence from this raster with the same grid, and add its mean to each polygon. The values 0 "
            "to 200 stand for 0 to 1.",
        )
        self.add(
            QgsProcessingParameterRasterLayer("INTERIOR", tr("Interior of objects"), optional=True),
            "Separate objects of countable classes by this raster with the same grid, written by Segment "
            "scene. The values 0 to 200 stand for 0 to 1.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterRasterLayer("UNCERTAINTY", tr("Uncertainty"), optional=True),
            "Read the uncertainty from this raster with the same grid, and add its mean to each polygon. The values 0 "
            "to 200 stand for 0 to 1.",
            advanced=True,
        )
        self.add_polygons()
        self.add_objects()
        self.add_overwrite()
        self.add_python()

    def execute(self, run: Run) -> dict[str, Any] | None:
        arguments = ["vectorize", run.raster_path("INPUT"), *run.arguments(self.OPTIONS)]
        return run.geoseg(arguments, (1, 98))
