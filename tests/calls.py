"""The tools, with every option as a keyword of its own: short calls for tests that set one or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

from geoseg.options import (
    AnnotationOptions,
    BatchOptions,
    ChipOptions,
    CompareOutputs,
    ComputeOptions,
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
from geoseg.tools import chip as chip_module
from geoseg.tools import compare as compare_module
from geoseg.tools import evaluate as evaluate_module
from geoseg.tools import export as export_module
from geoseg.tools import margin as margin_module
from geoseg.tools import prepare as prepare_module
from geoseg.tools import preview as preview_module
from geoseg.tools import segment as segment_module
from geoseg.tools import segment_each as segment_each_module
from geoseg.tools import stats as stats_module
from geoseg.tools import train as train_module
from geoseg.tools import vectorize as vectorize_module
from geoseg.tools import view as view_module


def grouped(
    tool: Callable[..., Any], options: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keywords of `tool`: those of `given`, with fields of its options in their dataclasses."""
    fields_of = {
        argument: {field.name for field in fields(kind)} for argument, kind in options.items()
    }
    keywords = {name: value for name, value in given.items() if name in signature(tool).parameters}
    for argument, kind in options.items():
        own = {
            name: value
            for name, value in given.items()
            if name in fields_of[argument] and name not in keywords
        }
        if own:
            keywords[argument] = (
                replace(keywords[argument], **own) if argument in keywords else kind(**own)
            )
    unknown = set(given).difference(keywords, *fields_of.values())
    assert not unknown, unknown
    return keywords


SEGMENT = {
    "scene": SceneOptions, "tiling": TilingOptions, "compute": ComputeOptions,
    "polygons": PolygonOptions, "outputs": SegmentOutputs, "run": RunOptions,
}  # fmt: skip
PREPARE = {"options": PrepareOptions, "run": BatchOptions}
CHIP = {"chips": ChipOptions, "run": BatchOptions}
VECTORIZE = {"polygons": PolygonOptions, "outputs": VectorizeOutputs, "run": WriteOptions}


def segment(scenes: Any, output: Any, **given: Any) -> Path:
    """Call `geoseg.segment`."""
    tool = segment_module.segment
    product: Path = tool(scenes, output, **grouped(tool, SEGMENT, given))
    return product


def segment_each(scenes: Any, folder: Any, **given: Any) -> Path:
    """Call `geoseg.tools.segment_each.segment_each`."""
    tool = segment_each_module.segment_each
    product: Path = tool(scenes, folder, **grouped(tool, SEGMENT, given))
    return product


def vectorize(labels: Any, output: Any = None, **given: Any) -> Any:
    """Call `geoseg.vectorize`."""
    tool = vectorize_module.vectorize
    return tool(labels, output, **grouped(tool, VECTORIZE, given))


def prepare(folders: Any, output: Any, **given: Any) -> Path:
    """Call `geoseg.prepare`."""
    tool = prepare_module.prepare
    product: Path = tool(folders, output, **grouped(tool, PREPARE, given))
    return product


def prepare_scenes(scenes: Any, output: Any, **given: Any) -> Path:
    """Call `geoseg.prepare_scenes`."""
    tool = prepare_module.prepare_scenes
    kinds = {"source": AnnotationOptions, **PREPARE}
    product: Path = tool(scenes, output, **grouped(tool, kinds, given))
    return product


def chip(folder: Any, output: Any, **given: Any) -> Any:
    """Call `geoseg.chip`."""
    tool = chip_module.chip
    return tool(folder, output, **grouped(tool, CHIP, given))


def evaluate(folder: Any, **given: Any) -> Any:
    """Call `geoseg.evaluate`."""
    tool = evaluate_module.evaluate
    kinds = {"scoring": ScoringOptions, "outputs": EvaluateOutputs}
    return tool(folder, **grouped(tool, kinds, given))


def train(config: Any, output: Any, **given: Any) -> train_module.TrainResult:
    """Call `geoseg.train`."""
    tool = train_module.train
    return tool(config, output, **grouped(tool, {"options": TrainOptions}, given))


def preview(config: Any, output: Any, **given: Any) -> Path:
    """Call `geoseg.preview`."""
    tool = preview_module.preview
    product: Path = tool(config, output, **grouped(tool, {"options": PreviewOptions}, given))
    return product


def view(polygons: Any, output: Any, **given: Any) -> Path:
    """Call `geoseg.view`."""
    tool = view_module.view
    product: Path = tool(polygons, output, **grouped(tool, {"options": ViewOptions}, given))
    return product


def export(output: Any, **given: Any) -> Path:
    """Call `geoseg.export`."""
    tool = export_module.export
    product: Path = tool(output, **grouped(tool, {"options": ExportOptions}, given))
    return product


def stats(folder: Any, **given: Any) -> Any:
    """Call `geoseg.stats`."""
    tool = stats_module.stats
    return tool(folder, **grouped(tool, {"options": StatsOptions}, given))


def compare(a: Any, b: Any, **given: Any) -> Any:
    """Call `geoseg.compare`."""
    tool = compare_module.compare
    return tool(a, b, **grouped(tool, {"outputs": CompareOutputs}, given))


def compare_models(a: Any, b: Any, folder: Any, **given: Any) -> Any:
    """Call `geoseg.compare_models`."""
    tool = compare_module.compare_models
    kinds = {"scoring": ScoringOptions, "outputs": CompareOutputs}
    return tool(a, b, folder, **grouped(tool, kinds, given))


def measure_margins(scenes: Any, **given: Any) -> Any:
    """Call `geoseg.measure_margins`."""
    tool = margin_module.measure_margins
    return tool(scenes, **grouped(tool, {"options": MarginOptions}, given))
