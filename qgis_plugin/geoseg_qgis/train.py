"""Train model: scenes and annotated polygons become a model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
)

from .base import Run, SubprocessAlgorithm
from .i18n import tr

SHIPPED_TERMS = "those of the model shipped with geoseg: academic, non-commercial research only"


class GeosegTrain(SubprocessAlgorithm):
    """Run ``geoseg prepare`` and ``geoseg train``."""

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
            "object of these classes in the scenes: pixels outside the polygons count as background. A few dozen "
            "objects per class are enough for a first model.</p><p>About a fifth of the area is reserved for "
            "validation. Learning curves (.curves.png) and a log (.log.jsonl) are written next to the model.</p>"
            "<p>Fine-tuning the model shipped with geoseg needs fewer steps. The result is then restricted to "
            "academic, non-commercial use, like the shipped model.</p>"
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
        self.add_device()
        self.add_python()
        text = tr("Best mean IoU of the classes, 0 to 1")
        self.addOutput(QgsProcessingOutputNumber("MIOU", text))

    def _add_inputs(self) -> None:
        self.add(
            QgsProcessingParameterMultipleLayers(
                "SCENES", tr("Scenes"), QgsProcessing.SourceType.TypeRaster
            ),
            "Train on these raster files: 8-bit greyscale or RGB, all in the same CRS.",
        )
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource("ANNOTATIONS", tr("Annotations"), polygons),
            "Read the annotations from this polygon layer, one polygon per object. Unsaved edits are included.",
        )
        self.add(
            QgsProcessingParameterField(
                "CLASS", tr("Class field"), "class", parentLayerParameterName="ANNOTATIONS"
            ),
            "Read the class of each polygon from this text or number field.",
        )

    def _add_training_options(self) -> None:
        integer = QgsProcessingParameterNumber.Type.Integer
        double = QgsProcessingParameterNumber.Type.Double
        self.add(
            QgsProcessingParameterNumber("STEPS", tr("Training steps"), integer, 300, minValue=1),
            "Train for this number of steps. 300 steps take a few minutes; 3000 usually give a better model.",
        )
        self.add(
            QgsProcessingParameterEnum(
                "START",
                tr("Initial weights"),
                ["shipped", "nothing"],
                defaultValue="shipped",
                usesStaticStrings=True,
            ),
            "Start from these weights. shipped: fine-tune the model shipped with geoseg (academic, non-commercial "
            "use); nothing: random weights.",
        )
        self.add(
            QgsProcessingParameterNumber(
                "WINDOW", tr("Window size (pixels)"), integer, 256, minValue=64, maxValue=4096
            ),
            "Train on square windows with this side, a multiple of 64.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber("BATCH", tr("Batch size"), integer, 4, minValue=1),
            "Process this number of windows per step. Larger batches take more memory and time, with less noisy "
            "gradients.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                "VAL_SHARE", tr("Validation share"), double, 0.2, minValue=0.01, maxValue=0.9
            ),
            "Reserve this share of the area, and of each class, for validation. The model is never trained on it.",
            advanced=True,
        )

    def destination_paths(self, run: Run) -> dict[str, str]:
        paths = super().destination_paths(run)
        if not paths["OUTPUT"].lower().endswith(".safetensors"):
            paths["OUTPUT"] += ".safetensors"
        return paths

    def execute(self, run: Run) -> dict[str, Any] | None:
        kept = run.outputs.get("DATASET")
        dataset = kept.scratch if kept else os.path.join(run.folder, "dataset")
        share = str(run.number("VAL_SHARE"))
        if run.prepare(dataset, ["--val-share", share], (0, 2, 9)) is None:
            return None
        configuration = os.path.join(run.folder, "train.toml")
        with open(configuration, "w", encoding="utf-8") as file:
            file.write(format_configuration(run, dataset))
        arguments = ["train", configuration, "-o", run.outputs["OUTPUT"].scratch]
        return run.geoseg([*arguments, "--device", run.string("DEVICE")], (10, 99))

    def collect_results(
        self, run: Run, paths: dict[str, str], event: dict[str, Any]
    ) -> dict[str, Any]:
        return {"MIOU": event.get("miou")}


def format_configuration(run: Run, dataset: str) -> str:
    """Format the training configuration, in TOML; the hyperparameters are those of ``geoseg demo``."""
    steps = int(run.number("STEPS"))
    is_finetuning = run.string("START") == "shipped"
    lines = [
        "[data]",
        "dataset = " + json.dumps(dataset, ensure_ascii=False),
        "window = {}".format(int(run.number("WINDOW"))),
        "balanced = 0.8",
        "[network]",
        'architecture = "two-scale-unet"',
        "mean = [127.0, 127.0, 127.0]",
        "std = [128.0, 128.0, 128.0]",
        *(['pretrained = "shipped"'] if is_finetuning else []),
        "[loss]",
        'weights = "sqrt"',
        "cap = 20.0",
        "[augment]",
        "rotate = 0.2",
        "[training]",
        f"steps = {steps}",
        "learning_rate = 1e-3",
        *(['batch_norm = "running"', "encoder_learning_rate = 3e-4"] if is_finetuning else []),
        "warmup = 20",
        "ema = 0.97",
        "batch_size = {}".format(int(run.number("BATCH"))),
        f"validate_every = {max(50, steps // 10)}",
        "validation_windows = 64",
        "[card]",
        'name = "trained in QGIS"',
    ]
    if is_finetuning:
        lines.append('data = "own scenes, after those of the model shipped with geoseg"')
        lines.append("terms = " + json.dumps(SHIPPED_TERMS))
    return "\n".join(lines) + "\n"
