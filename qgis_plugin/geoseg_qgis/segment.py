"""Segment scene: a raster and a model become polygons, class labels and confidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterLayer,
)

from .base import Run
from .i18n import tr
from .polygons import POLYGON_OPTIONS, PolygonAlgorithm


class GeosegSegment(PolygonAlgorithm):
    """Run ``geoseg segment``."""

    OPTIONS: Mapping[str, str] = {
        "OUTPUT": "-o",
        "LABELS": "--labels",
        "CONFIDENCE": "--confidence",
        "PROBABILITIES": "--probabilities",
        "INTERIOR": "--interior",
        "UNCERTAINTY": "--uncertainty",
        "MODEL": "-m",
        "CARD": "--card",
        "EXTENT": "--bbox",
        "MASK": "--aoi",
        "BANDS": "--bands",
        "GSD": "--gsd",
        "PIXEL_SIZE": "--pixel-size",
        "EXACT": "--margin exact",
        "TTA": "--tta",
        "DEVICE": "--device",
        **POLYGON_OPTIONS,
    }

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
        self._add_rasters()
        self.add_objects()
        self.add_overwrite()
        self.add_device()
        self.add_python()

    def _add_inputs(self) -> None:
        self.add(
            QgsProcessingParameterRasterLayer("INPUT", tr("Scene")),
            "Read this raster file: GeoTIFF, PNG, JPEG or JPEG 2000.",
        )
        self.add(
            QgsProcessingParameterMultipleLayers(
                "MOSAIC",
                tr("Further scenes of a mosaic"),
                QgsProcessing.SourceType.TypeRaster,
                optional=True,
            ),
            "Segment these raster files together with the scene, as one mosaic. They share its pixel grid.",
            advanced=True,
        )
        self.add_model(
            "Use this model, a file written by Train model, geoseg train or geoseg export. Empty: the model shipped "
            "with geoseg."
        )
        filters = tr("Model card (*.json)")
        self.add(
            QgsProcessingParameterFile(
                "CARD", tr("Card of an ONNX model"), optional=True, fileFilter=filters
            ),
            "Read classes, mean and standard deviation of an ONNX model of other software from this file.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            "Segment only this extent. Empty: the whole scene.",
        )
        self.add_polygon_layer(
            "MASK",
            "Area of interest",
            "Segment only the area of these polygons. Empty: the whole scene.",
        )

    def _add_inference_options(self) -> None:
        self.add_bands("INPUT")
        self.add_pixel_size()
        self.add_boolean(
            "EXACT",
            "Exact margin",
            "Read the whole receptive field of the model around each tile, so that the labels do not depend on the "
            "tiling. Slower.",
        )
        self.add_boolean(
            "TTA",
            "Test-time augmentation",
            "Average the predictions for the eight rotations and reflections of each tile. Slightly more accurate, "
            "and eight times slower.",
        )

    def _add_rasters(self) -> None:
        self.add_raster("LABELS", "Labels", "Write the class ID of every pixel to this GeoTIFF.")
        self.add_raster(
            "CONFIDENCE",
            "Confidence",
            "Write the confidence of every pixel, the softmax of its class, to this GeoTIFF. The values 0 to 200 "
            "stand for 0 to 1.",
        )
        self.add_raster(
            "PROBABILITIES",
            "Probabilities",
            "Write the probability of every class, one band each, to this GeoTIFF. The values 0 to 200 stand for 0 to "
            "1.",
        )
        self.add_raster(
            "INTERIOR",
            "Interior of objects",
            "Write the probability that a pixel is in the interior of one object to this GeoTIFF, for Vectorize "
            "labels. Needs a model with object outputs.",
        )

        self.add_raster(
            "UNCERTAINTY",
            "Uncertainty",
            "Write the uncertainty of every pixel, the entropy of the classes divided by its maximum, to this GeoTIFF, "
            "and its mean to the attribute uncertainty of the polygons. The values 0 to 200 stand for 0 to 1.",
        )

    def execute(self, run: Run) -> dict[str, Any] | None:
        mosaic = run.layer_paths("MOSAIC")
        scenes = [run.raster_path("INPUT"), *mosaic, *(["--mosaic"] if mosaic else [])]
        return run.geoseg(["segment", *scenes, *run.arguments(self.OPTIONS)], (1, 85, 98))
