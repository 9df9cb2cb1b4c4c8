"""Suggest frames: which parts of a scene to annotate next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterExtent,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
)

from .base import Run, SubprocessAlgorithm
from .i18n import tr
from .polygons import StylePostProcessor, count_rows


class GeosegSuggest(SubprocessAlgorithm):
    """Run ``geoseg suggest``."""

    OPTIONS: Mapping[str, str] = {
        "OUTPUT": "-o",
        "MODEL": "-m",
        "AREA": "--annotated-area",
        "FRAMES": "--frames",
        "SIZE": "--size",
        "EXTENT": "--bbox",
        "MASK": "--aoi",
        "GSD": "--gsd",
        "PIXEL_SIZE": "--pixel-size",
        "DEVICE": "--device",
    }

    def name(self) -> str:
        return "suggestframes"

    def displayName(self) -> str:
        return tr("Suggest frames")

    def shortDescription(self) -> str:
        return tr("Suggest which frames of a scene to annotate next")

    def shortHelpString(self) -> str:
        return tr(
            "<p>Suggest which frames of a scene to annotate next, as a polygon layer with ranks: frames in which the "
            "model is uncertain, that differ from each other, and that have rare classes.</p><p>Annotate every object "
            "in a frame, and select the frames as <i>annotated area</i> of <i>Train model</i>.</p>"
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterRasterLayer("INPUT", tr("Scene")),
            "Read this raster file: GeoTIFF, PNG, JPEG or JPEG 2000.",
        )
        self.add_model("Predict with this model. Empty: the model shipped with geoseg.")
        self.add_annotated_area("Leave out frames in these polygons, which are annotated already.")
        integer = QgsProcessingParameterNumber.Type.Integer
        self.add(
            QgsProcessingParameterNumber(
                "FRAMES", tr("Number of frames"), integer, 8, minValue=1, maxValue=1000
            ),
            "Suggest this number of frames.",
        )
        self.add(
            QgsProcessingParameterNumber(
                "SIZE", tr("Size of a frame (pixels)"), integer, None, optional=True, minValue=1
            ),
            "Divide the scene into frames of at most this side. Empty: 512 pixels of the network, or less.",
            advanced=True,
        )
        self._add_area_and_output()

    def _add_area_and_output(self) -> None:
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            "Suggest frames in this extent only. Empty: the whole scene.",
        )
        self.add_polygon_layer(
            "MASK",
            "Area of interest",
            "Suggest frames in these polygons only. Empty: the whole scene.",
        )
        self.add_pixel_size()
        frames = QgsProcessingParameterVectorDestination(
            "OUTPUT", tr("Frames"), QgsProcessing.SourceType.TypeVectorPolygon
        )
        frames.setSupportsNonFileBasedOutput(False)
        self.add(
            frames,
            "Write the frames to this GeoPackage (.gpkg), with the attributes rank, uncertainty, classes and reason.",
        )
        self.add_overwrite()
        self.add_device()
        self.add_python()
        self.addOutput(QgsProcessingOutputNumber("COUNT", tr("Number of frames")))

    def execute(self, run: Run) -> dict[str, Any] | None:
        arguments = ["suggest", run.raster_path("INPUT"), *run.arguments(self.OPTIONS)]
        return run.geoseg(arguments, (1, 97, 99))

    def collect_results(
        self, run: Run, paths: dict[str, str], event: dict[str, Any]
    ) -> dict[str, Any]:
        StylePostProcessor.attach(paths["OUTPUT"], run.context)
        return {"COUNT": count_rows(paths["OUTPUT"], "frames")}
