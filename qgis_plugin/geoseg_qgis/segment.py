"""Segment scene: a raster and a model become polygons, class labels and confidence."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterLayer,
)

from .base import Run
from .i18n import tr
from .polygons import PolygonAlgorithm


class GeosegSegment(PolygonAlgorithm):
    """Run ``geoseg segment``."""

    def name(self) -> str:
        return "segmentscene"

    def displayName(self) -> str:
        return tr("Segment scene")

    def shortDescription(self) -> str:
        return tr("Segment objects in an aerial or satellite scene and write them as polygons")

    def shortHelpString(self) -> str:
        return tr(
            "<p>Segment an aerial or satellite scene of any size with a trained model, and write one polygon per "
            "object, in the colours of the classes. Objects that touch are separated if the model has object outputs, "
            "or by the method of <i>Separate touching objects</i>.</p><p>The model shipped with geoseg detects planes, "
            "ships, storage tanks, sports courts and fields, harbours, bridges, vehicles, roundabouts and swimming "
            "pools in scenes with a pixel size of 0.1 to 0.8 m. It is licensed for academic, non-commercial use only. "
            "Use <i>Train model</i> to train a model of your own.</p><p>The scene must be a raster file with the "
            "bands that the model was trained on. A cancelled run leaves no files behind.</p>"
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self._add_inputs()
        self._add_inference_options()
        self.add_polygons()
        self.add_raster("LABELS", "Labels", "Write the class ID of every pixel to this GeoTIFF.")
        self.add_raster(
            "CONFIDENCE",
            "Confidence",
            "Write the confidence of every pixel, the softmax of its class, to this GeoTIFF. The values 0 to 200 "
            "stand for 0 to 1.",
        )
        self.add_objects()
        self.add_device()
        self.add_python()

    def _add_inputs(self) -> None:
        self.add(
            QgsProcessingParameterRasterLayer("INPUT", tr("Scene")),
            "Read this raster file: GeoTIFF, PNG, JPEG or JPEG 2000.",
        )
        filters = tr("geoseg models (*.safetensors)")
        self.add(
            QgsProcessingParameterFile("MODEL", tr("Model"), optional=True, fileFilter=filters),
            "Use this model, a file written by Train model or geoseg train. Empty: the model shipped with geoseg.",
        )
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            "Segment only this extent. Empty: the whole scene.",
        )
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource(
                "MASK", tr("Area of interest"), polygons, optional=True
            ),
            "Segment only the area of these polygons. Empty: the whole scene.",
        )

    def _add_inference_options(self) -> None:
        self.add(
            QgsProcessingParameterBand(
                "BANDS",
                tr("Bands"),
                parentLayerParameterName="INPUT",
                optional=True,
                allowMultiple=True,
            ),
            "Pass these bands to the model, in this order. Empty: all bands except alpha.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean("EXACT", tr("Exact margin"), False),
            "Read the whole receptive field of the model around each tile, so that the labels do not depend on the "
            "tiling. Slower.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean("TTA", tr("Test-time augmentation"), False),
            "Average the predictions for the eight rotations and reflections of each tile. Slightly more accurate, "
            "and eight times slower.",
            advanced=True,
        )

    def execute(self, run: Run) -> dict[str, Any] | None:
        arguments = ["segment", run.raster_path("INPUT"), "-o", run.outputs["OUTPUT"].scratch]
        for name, option in (("LABELS", "--labels"), ("CONFIDENCE", "--confidence")):
            if name in run.outputs:
                arguments += [option, run.outputs[name].scratch]
        model = run.string("MODEL")
        if model:
            arguments += ["-m", model]
        if run.parameters.get("EXTENT"):
            arguments += ["--bbox", run.bounding_box("EXTENT", "INPUT")]
        if run.parameters.get("MASK"):
            arguments += ["--aoi", run.export("MASK", [])]
        bands = run.bands("BANDS")
        if bands:
            arguments += ["--bands", ",".join(map(str, bands))]
        if run.boolean("EXACT"):
            arguments += ["--margin", "exact"]
        if run.boolean("TTA"):
            arguments += ["--tta"]
        arguments += [*self.polygon_arguments(run), "--device", run.string("DEVICE")]
        return run.geoseg(arguments, (1, 85, 98))
