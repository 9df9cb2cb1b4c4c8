"""Polygons to models, models to polygons: semantic segmentation of aerial and satellite scenes.

Public names are imported on first use, so that ``import geoseg`` is cheap. Tools live in
`geoseg.tools`; no submodule of `geoseg` has the name of a public function.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoseg._version import __version__

if TYPE_CHECKING:
    from geoseg.annotations.burn import Annotations, burn
    from geoseg.dataset.folder import Dataset
    from geoseg.dataset.statistics import Stats
    from geoseg.errors import GeosegError
    from geoseg.legend import Legend
    from geoseg.metrics.comparison import Agreement, Comparison
    from geoseg.metrics.evaluation import Evaluation
    from geoseg.metrics.rule_search import RuleChoice
    from geoseg.models.model_file import Model, load_model
    from geoseg.options import (
        AnnotationOptions,
        BatchOptions,
        ChipOptions,
        CompareOutputs,
        ComputeOptions,
        DemoOptions,
        EvaluateOutputs,
        ExportOptions,
        FitOptions,
        MarginOptions,
        PolygonOptions,
        PrepareOptions,
        PreviewOptions,
        RunOptions,
        SceneOptions,
        ScoringOptions,
        SegmentOutputs,
        StatsOptions,
        SuggestOptions,
        TilingOptions,
        TrainOptions,
        TuneOptions,
        VectorizeOutputs,
        ViewOptions,
        WriteOptions,
    )
    from geoseg.polygons.object_rules import ObjectRule, ObjectRules
    from geoseg.polygons.objects import Objects, decode_objects
    from geoseg.polygons.trace import PolygonBatch, trace
    from geoseg.progress import Track
    from geoseg.raster.scene import Scene, open_scene
    from geoseg.tools.chip import ChipSummary, chip
    from geoseg.tools.compare import compare, compare_models
    from geoseg.tools.demo import DemoResult, demo
    from geoseg.tools.evaluate import evaluate
    from geoseg.tools.export import export
    from geoseg.tools.fit import FitResult, fit
    from geoseg.tools.info import info
    from geoseg.tools.init import init
    from geoseg.tools.margin import MarginTrial, measure_margins
    from geoseg.tools.prepare import prepare, prepare_scenes
    from geoseg.tools.preview import preview
    from geoseg.tools.qgis import qgis_install
    from geoseg.tools.segment import segment
    from geoseg.tools.stats import stats
    from geoseg.tools.suggest import suggest
    from geoseg.tools.train import TrainResult, train
    from geoseg.tools.tune import tune
    from geoseg.tools.vectorize import vectorize
    from geoseg.tools.view import view
    from geoseg.training.config import TrainConfig, read_config

__all__ = [
    "Agreement",
    "AnnotationOptions",
    "Annotations",
    "BatchOptions",
    "ChipOptions",
    "ChipSummary",
    "CompareOutputs",
    "Comparison",
    "ComputeOptions",
    "Dataset",
    "DemoOptions",
    "DemoResult",
    "EvaluateOutputs",
    "Evaluation",
    "ExportOptions",
    "FitOptions",
    "FitResult",
    "GeosegError",
    "Legend",
    "MarginOptions",
    "MarginTrial",
    "Model",
    "ObjectRule",
    "ObjectRules",
    "Objects",
    "PolygonBatch",
    "PolygonOptions",
    "PrepareOptions",
    "PreviewOptions",
    "RuleChoice",
    "RunOptions",
    "Scene",
    "SceneOptions",
    "ScoringOptions",
    "SegmentOutputs",
    "Stats",
    "StatsOptions",
    "SuggestOptions",
    "TilingOptions",
    "Track",
    "TrainConfig",
    "TrainOptions",
    "TrainResult",
    "TuneOptions",
    "VectorizeOutputs",
    "ViewOptions",
    "WriteOptions",
    "__version__",
    "burn",
    "chip",
    "compare",
    "compare_models",
    "decode_objects",
    "demo",
    "evaluate",
    "export",
    "fit",
    "info",
    "init",
    "load_model",
    "measure_margins",
    "open_scene",
    "prepare",
    "prepare_scenes",
    "preview",
    "qgis_install",
    "read_config",
    "segment",
    "stats",
    "suggest",
    "trace",
    "train",
    "tune",
    "vectorize",
    "view",
]

_HOME = {
    "Agreement": "metrics.comparison",
    "AnnotationOptions": "options",
    "Annotations": "annotations.burn",
    "BatchOptions": "options",
    "ChipOptions": "options",
    "ChipSummary": "tools.chip",
    "CompareOutputs": "options",
    "Comparison": "metrics.comparison",
    "ComputeOptions": "options",
    "Dataset": "dataset.folder",
    "DemoOptions": "options",
    "DemoResult": "tools.demo",
    "EvaluateOutputs": "options",
    "Evaluation": "metrics.evaluation",
    "ExportOptions": "options",
    "FitOptions": "options",
    "FitResult": "tools.fit",
    "GeosegError": "errors",
    "Legend": "legend",
    "MarginOptions": "options",
    "MarginTrial": "tools.margin",
    "Model": "models.model_file",
    "ObjectRule": "polygons.object_rules",
    "ObjectRules": "polygons.object_rules",
    "Objects": "polygons.objects",
    "PolygonBatch": "polygons.trace",
    "PolygonOptions": "options",
    "PrepareOptions": "options",
    "PreviewOptions": "options",
    "RuleChoice": "metrics.rule_search",
    "RunOptions": "options",
    "Scene": "raster.scene",
    "SceneOptions": "options",
    "ScoringOptions": "options",
    "SegmentOutputs": "options",
    "Stats": "dataset.statistics",
    "StatsOptions": "options",
    "SuggestOptions": "options",
    "TilingOptions": "options",
    "Track": "progress",
    "TrainConfig": "training.config",
    "TrainOptions": "options",
    "TrainResult": "tools.train",
    "TuneOptions": "options",
    "VectorizeOutputs": "options",
    "ViewOptions": "options",
    "WriteOptions": "options",
    "burn": "annotations.burn",
    "chip": "tools.chip",
    "compare": "tools.compare",
    "compare_models": "tools.compare",
    "decode_objects": "polygons.objects",
    "demo": "tools.demo",
    "evaluate": "tools.evaluate",
    "export": "tools.export",
    "fit": "tools.fit",
    "info": "tools.info",
    "init": "tools.init",
    "load_model": "models.model_file",
    "measure_margins": "tools.margin",
    "open_scene": "raster.scene",
    "prepare": "tools.prepare",
    "prepare_scenes": "tools.prepare",
    "preview": "tools.preview",
    "qgis_install": "tools.qgis",
    "read_config": "training.config",
    "segment": "tools.segment",
    "stats": "tools.stats",
    "suggest": "tools.suggest",
    "trace": "polygons.trace",
    "train": "tools.train",
    "tune": "tools.tune",
    "vectorize": "tools.vectorize",
    "view": "tools.view",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
