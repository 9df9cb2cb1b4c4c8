"""Evaluate model: scores of a model on annotated scenes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .base import MAX_CLASS_OUTPUTS, Parameters, Run, SubprocessAlgorithm
from .i18n import tr
from .outcomes import write_outcomes
from .polygons import StylePostProcessor

PREPARE_OPTIONS = {"AREA": "--annotated-area", "PIXEL_SIZE": "--pixel-size"}
"""Parameter to the option of ``geoseg prepare``."""

COLUMNS = {"iou": "IoU", "precision": "precision", "recall": "recall"}
"""Score of a class to its column in the log."""


class GeosegEvaluate(SubprocessAlgorithm):
    """Run ``geoseg evaluate``, after ``geoseg prepare`` unless there is a dataset."""

    OPTIONS: Mapping[str, str] = {
        "MODEL": "-m",
        "OUTPUT": "--json",
        "REPORT": "--report",
        "DEVICE": "--device",
    }

    def name(self) -> str:
        return "evaluatemodel"

    def displayName(self) -> str:
        return tr("Evaluate model")

    def shortDescription(self) -> str:
        return tr("Compute IoU, precision and recall of a model for each class")

    def shortHelpString(self) -> str:
        return tr(
            "<p>Compare the predictions of a model with ground truth, pixel by pixel: IoU, precision and recall of "
            "each class.</p><p>Select either a dataset written by <i>Train model</i>, whose validation split was "
            "not used for training, or scenes with a polygon layer whose class names are those of the model. For an "
            "independent test, choose scenes that the model was not trained on.</p>"
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add_model(
            "Evaluate this model, a file written by Train model or geoseg train. Empty: the model shipped with geoseg."
        )
        self._add_dataset()
        self._add_scenes()
        self.add(
            QgsProcessingParameterFileDestination(
                "OUTPUT", tr("Scores"), "JSON (*.json)", optional=True, createByDefault=False
            ),
            "Write all scores and the confusion matrix to this JSON file.",
        )
        self.add(
            QgsProcessingParameterFileDestination(
                "REPORT", tr("Report"), "HTML (*.html)", optional=True, createByDefault=False
            ),
            "Write a report for a browser: tables, curves, and the best and worst scenes.",
        )
        outcomes = QgsProcessingParameterVectorDestination(
            "OUTCOMES",
            tr("Matches, misses and false alarms"),
            QgsProcessing.SourceType.TypeVectorPolygon,
            optional=True,
            createByDefault=False,
        )
        outcomes.setSupportsNonFileBasedOutput(False)
        self.add(
            outcomes,
            "Segment the scenes once more, and write predicted objects that match, annotated objects that are missed "
            "and false alarms to this GeoPackage (.gpkg). Objects of one class match from an IoU of 0.5 on.",
        )
        self.add_overwrite()
        self.add_device()
        self.add_python()
        self.addOutput(QgsProcessingOutputNumber("MIOU", tr("Mean IoU of the classes, 0 to 1")))
        self.addOutput(QgsProcessingOutputString("SCORES", tr("Scores by class, JSON")))
        for number in range(1, MAX_CLASS_OUTPUTS + 1):
            text = tr("IoU of class ID {}, 0 to 1").format(number)
            self.addOutput(QgsProcessingOutputNumber(f"IOU_{number}", text))

    def _add_dataset(self) -> None:
        folder = QgsProcessingParameterFile.Behavior.Folder
        self.add(
            QgsProcessingParameterFile("DATASET", tr("Dataset"), folder, optional=True),
            "Evaluate on this dataset, a folder written by Train model or geoseg prepare. Empty: evaluate on the "
            "scenes and annotations below.",
        )
        self.add(
            QgsProcessingParameterString("SPLIT", tr("Split of the dataset"), "val"),
            "Evaluate on the scenes of this split of the dataset, usually val or train.",
            advanced=True,
        )

    def _add_scenes(self) -> None:
        self.add_scenes(
            "Evaluate on these raster files instead of a dataset. They must be annotated completely, or in the "
            "annotated area.",
            optional=True,
        )
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource(
                "ANNOTATIONS", tr("Annotations"), polygons, optional=True
            ),
            "Read the ground truth of the scenes from this polygon layer, one polygon per object.",
        )
        self.add(
            QgsProcessingParameterField(
                "CLASS",
                tr("Class field"),
                "class",
                parentLayerParameterName="ANNOTATIONS",
                optional=True,
            ),
            "Read the class of each polygon from this field. The names must be those of the model's classes.",
        )
        self.add_annotated_area(
            "Score only the pixels and objects in these polygons. Empty: the whole scenes."
        )
        self.add_pixel_size(resamples=False)

    def find_error(self, parameters: Parameters, context: QgsProcessingContext) -> str:
        has_scenes = bool(parameters.get("SCENES") and parameters.get("ANNOTATIONS"))
        if bool(parameters.get("DATASET")) == has_scenes:
            return tr("Select either a dataset, or scenes and annotations.")
        if parameters.get("OUTCOMES") and not has_scenes:
            return tr("Matches, misses and false alarms need scenes and annotations.")
        return super().find_error(parameters, context)

    def execute(self, run: Run) -> dict[str, Any] | None:
        dataset, split = run.string("DATASET"), run.string("SPLIT")
        if not dataset:
            dataset, split = os.path.join(run.folder, "dataset"), "train"
            options = ["--val-share", "0", "--legend", run.string("MODEL") or "shipped"]
            options += run.arguments(PREPARE_OPTIONS)
            if run.prepare(dataset, options, (0, 3, 15)) is None:
                return None
        arguments = ["evaluate", dataset, "--split", split, *run.arguments(self.OPTIONS)]
        event = run.geoseg(arguments, (15, 99))
        outcomes = run.outputs.get("OUTCOMES")
        if event is None or (outcomes and not write_outcomes(run, outcomes.scratch)):
            return None
        return event

    def collect_results(
        self, run: Run, paths: dict[str, str], event: dict[str, Any]
    ) -> dict[str, Any]:
        if "OUTCOMES" in paths:
            StylePostProcessor.attach(paths["OUTCOMES"], run.context)
        scores = event["scores"][-1]
        classes = scores["classes"]
        log_scores(classes, run.feedback)
        results: dict[str, Any] = {f"IOU_{n}": None for n in range(1, MAX_CLASS_OUTPUTS + 1)}
        for class_id, score in enumerate(classes.values()):
            if class_id:
                results[f"IOU_{class_id}"] = score["iou"]
        return {
            **results,
            "MIOU": scores["miou"],
            "SCORES": json.dumps(classes, ensure_ascii=False),
        }


def log_scores(classes: dict[str, dict[str, Any]], feedback: QgsProcessingFeedback) -> None:
    """Show the scores of each class as a table in the log, in percent."""
    feedback.pushInfo("{:24}{:>8}{:>11}{:>8}".format(tr("class"), *COLUMNS.values()))
    for name, score in classes.items():
        values = [score[key] for key in COLUMNS]
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        feedback.pushInfo("{:24}{:>8}{:>11}{:>8}".format(name, *cells))
