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
    from geoseg.errors import GeosegError
    from geoseg.legend import Legend
    from geoseg.models.model_file import load_model
    from geoseg.options import (
        AnnotationOptions,
        BatchOptions,
        ChipOptions,
        CompareOutputs,
        ComputeOptions,
        DemoOptions,
        EvaluateOutputs,
        ExportOptions,
        MarginOptions,
        PolygonOptions,
        PrepareOptions,
        PreviewOptions,
        RunOptions,
        SceneOptions,
        ScoringOptions,
        SegmentOutputs,
        StatsOptions,
        TilingOptions,
        TrainOptions,
        VectorizeOutputs,
        ViewOptions,
        WriteOptions,
    )
    from geoseg.polygons.trace import trace
    from geoseg.raster.scene import open_scene
    from geoseg.tools.chip import chip
    from geoseg.tools.compare import compare, compare_models
    from geoseg.tools.demo import demo
    from geoseg.tools.evaluate import evaluate
    from geoseg.tools.export import export
    from geoseg.tools.info import info
    from geoseg.tools.margin import measure_margins
    from geoseg.tools.prepare import prepare, prepare_scenes
    from geoseg.tools.preview import preview
    from geoseg.tools.qgis import qgis_install
    from geoseg.tools.segment import segment
    from geoseg.tools.stats import stats
    from geoseg.tools.train import train
    from geoseg.tools.vectorize import vectorize
    from geoseg.tools.view import view
    from geoseg.training.config import TrainConfig, read_config

__all__ = [
    "AnnotationOptions",
    "Annotations",
    "BatchOptions",
    "ChipOptions",
    "CompareOutputs",
    "ComputeOptions",
    "Dataset",
    "DemoOptions",
    "EvaluateOutputs",
    "ExportOptions",
    "GeosegError",
    "Legend",
    "MarginOptions",
    "PolygonOptions",
    "PrepareOptions",
    "PreviewOptions",
    "RunOptions",
    "SceneOptions",
    "ScoringOptions",
    "SegmentOutputs",
    "StatsOptions",
    "TilingOptions",
    "TrainConfig",
    "TrainOptions",
    "VectorizeOutputs",
    "ViewOptions",
    "WriteOptions",
    "__version__",
    "burn",
    "chip",
    "compare",
    "compare_models",
    "demo",
    "evaluate",
    "export",
    "info",
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
    "trace",
    "train",
    "vectorize",
    "view",
]

_HOME = {
    "measure_margins": "tools.margin",
    "qgis_install": "tools.qgis",
    "read_config": "training.config",
    "TrainConfig": "training.config",
    "ScoringOptions": "options",
    "EvaluateOutputs": "options",
    "PrepareOptions": "options",
    "ChipOptions": "options",
    "BatchOptions": "options",
    "AnnotationOptions": "options",
    "Annotations": "annotations.burn",
    "ComputeOptions": "options",
    "PolygonOptions": "options",
    "RunOptions": "options",
    "SceneOptions": "options",
    "SegmentOutputs": "options",
    "TilingOptions": "options",
    "VectorizeOutputs": "options",
    "WriteOptions": "options",
    "DemoOptions": "options",
    "MarginOptions": "options",
    "CompareOutputs": "options",
    "StatsOptions": "options",
    "ExportOptions": "options",
    "ViewOptions": "options",
    "PreviewOptions": "options",
    "TrainOptions": "options",
    "Dataset": "dataset.folder",
    "GeosegError": "errors",
    "Legend": "legend",
    "burn": "annotations.burn",
    "compare": "tools.compare",
    "compare_models": "tools.compare",
    "demo": "tools.demo",
    "evaluate": "tools.evaluate",
    "export": "tools.export",
    "info": "tools.info",
    "load_model": "models.model_file",
    "open_scene": "raster.scene",
    "prepare": "tools.prepare",
    "prepare_scenes": "tools.prepare",
    "preview": "tools.preview",
    "segment": "tools.segment",
    "stats": "tools.stats",
    "chip": "tools.chip",
    "trace": "polygons.trace",
    "train": "tools.train",
    "vectorize": "tools.vectorize",
    "view": "tools.view",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
