"""Train model: scenes and annotated polygons become a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
)

from .base import Run, SubprocessAlgorithm
from .i18n import tr


class GeosegTrain(SubprocessAlgorithm):
    """Run ``geoseg fit``."""

    OPTIONS: Mapping[str, str] = {
        "OUTPUT": "-o",
        "AREA": "--annotated-area",
        "MODEL": "-m",
        "MINUTES": "--minutes",
        "STEPS": "--set training.steps=",
        "WINDOW": "--set data.window=",
        "BATCH": "--set training.batch_size=",
        "BANDS": "--bands",
        "PIXEL_SIZE": "--pixel-size",
        "VAL_SHARE": "--val-share",
        "DATASET": "--dataset",
        "DEVICE": "--device",
    }

    SUFFIXES: Mapping[str, tuple[str, ...]] = {"fileDestination": (".safetensors",)}

    def name(self) -> str:
        return "trainmodel"

    def displayName(self) -> str:
        return tr("Train model")

    def shortDescription(self) -> str:
        return tr("Train a segmentation model on annotated scenes")

    def shortHelpString(self) -> str:
        return tr(
            "<p>Train a model of your own on scenes and a polygon layer with a class attribute. Annotate every "
            "object of these classes in the scenes, or in an <i>annotated area</i>: pixels outside the polygons count "
            "as background there. A few dozen objects per class are enough for a first model.</p><p>About a fifth of "
            "the area is reserved for validation. Learning curves (.curves.png) and a log (.log.jsonl) are written "
            "next to the model.</p><p>Training starts from the model shipped with geoseg or from a model of your own. "
            "A model that descends from the shipped one is restricted to academic, non-commercial use.</p>"
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self._add_inputs()
        self._add_training_options()
        self.add(
            QgsProcessingParameterFileDestination(
                "OUTPUT", tr("Model"), tr("geoseg models (*.safetensors)")
            ),
            "Write the model to this file (.safetensors), the input of Segment scene.",
        )
        self.add(
            QgsProcessingParameterFolderDestination(
                "DATASET", tr("Dataset"), optional=True, createByDefault=False
            ),
            "Keep the training dataset in this folder, for Evaluate model. Empty: delete it.",
            advanced=True,
        )
        self.add_overwrite()
        self.add_device()
        self.add_python()
        text = tr("Best mean IoU of the classes, 0 to 1")
        self.addOutput(QgsProcessingOutputNumber("MIOU", text))

    def _add_inputs(self) -> None:
        self.add_scenes("Train on these raster files, all in the same CRS and with the same bands.")
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource("ANNOTATIONS", tr("Annotations"), polygons),
            "Read the annotations from this polygon layer, one polygon per object. Unsaved edits are included. A field "
            "status with the values accepted and rejected marks corrections of predicted polygons.",
        )
        self.add(
            QgsProcessingParameterField(
                "CLASS", tr("Class field"), "class", parentLayerParameterName="ANNOTATIONS"
            ),
            "Read the class of each polygon from this text or number field. Pixels of polygons of the class ignore are "
            "not used.",
        )
        self.add_annotated_area(
            "Train only in these polygons, in which every object is annotated. Empty: every object of the scenes is "
            "annotated."
        )

    def _add_training_options(self) -> None:
        self.add_model(
            "Start from this model, a file written by Train model. Empty: the model shipped with geoseg (academic, "
            "non-commercial use).",
            label="Initial model",
            filters="geoseg models (*.safetensors)",
        )
        self.add_number(
            "MINUTES",
            "Training time (minutes)",
            "Train for this time. Empty: a few minutes on two CPU cores.",
        )
        self.add_band_list()
        self.add_pixel_size(resamples=False)
        steps = "Train for this number of steps instead. Empty: the number of geoseg fit."
        self._add_integer("STEPS", "Training steps", 1, steps)
        self._add_integer(
            "WINDOW",
            "Window size (pixels)",
            64,
            "Train on square windows with this side, a multiple of 64. Empty: 384.",
        )
        self._add_integer(
            "BATCH",
            "Batch size",
            1,
            "Process this number of windows per step. Larger batches take more memory and time, with less noisy "
            "gradients. Empty: 4.",
        )
        double = QgsProcessingParameterNumber.Type.Double
        self.add(
            QgsProcessingParameterNumber(
                "VAL_SHARE", tr("Validation share"), double, 0.2, minValue=0.01, maxValue=0.9
            ),
            "Reserve this share of the area, and of each class, for validation. The model is never trained on it.",
            advanced=True,
        )

    def _add_integer(self, name: str, label: str, minimum: int, text: str) -> None:
        integer = QgsProcessingParameterNumber.Type.Integer
        self.add(
            QgsProcessingParameterNumber(
                name, tr(label), integer, None, optional=True, minValue=minimum
            ),
            text,
            advanced=True,
        )

    def destination_paths(self, run: Run) -> dict[str, str]:
        paths = super().destination_paths(run)
        if not paths["OUTPUT"].lower().endswith(".safetensors"):
            paths["OUTPUT"] += ".safetensors"
        return paths

    def execute(self, run: Run) -> dict[str, Any] | None:
        arguments = ["fit", *run.annotated_scenes(), *run.arguments(self.OPTIONS)]
        return run.geoseg(arguments, (0, 2, 9, 99))

    def collect_results(
        self, run: Run, paths: dict[str, str], event: dict[str, Any]
    ) -> dict[str, Any]:
        return {"MIOU": event.get("miou")}
