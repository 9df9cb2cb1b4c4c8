"""Evaluate a model, or label rasters, on a split of a dataset: pixels, boundaries, objects, calibration."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.errors import ConfigError
from geoseg.files import check_output, write_json
from geoseg.inference.label_source import (
    LabelSource,
    PredictedLabels,
    SceneLabels,
    StoredLabels,
    check_keep_folder,
)
from geoseg.legend import Legend
from geoseg.metrics.evaluation import (
    Evaluation,
    PredictedStrip,
    SceneCounter,
    SceneCounts,
    SplitCounts,
)
from geoseg.models.model_file import Model, check_card_file, write_card
from geoseg.options import EvaluateOutputs, PolygonOptions, ScoringOptions, StrPath, as_path
from geoseg.polygons.attributes import RowArea
from geoseg.polygons.object_raster import (
    Energy,
    choose_decoding,
    open_objects,
    read_energy_strips,
)
from geoseg.polygons.objects import Decoding
from geoseg.polygons.table import AttributeTable, Polygons, extract_polygons
from geoseg.progress import Track, silent
from geoseg.raster.labels import read_strips, read_window_strips
from geoseg.report.evaluation import References, collect_content, write_report

log = logging.getLogger(__name__)


def evaluate(
    folder: StrPath,
    *,
    model: StrPath | None = None,
    labels: StrPath | None = None,
    split: str = "val",
    layers: Sequence[str] | None = None,
    scoring: ScoringOptions = ScoringOptions(),
    outputs: EvaluateOutputs = EvaluateOutputs(),
    device: str = "auto",
    track: Track = silent,
) -> list[Evaluation]:
    """Score a model on a split of a dataset, once for each annotation layer.

    The network runs once; scenes are predicted as `segment` does, and scored strip by strip.

    Parameters
    ----------
    folder
        Dataset folder.
    model
        Model file; default: the shipped model.
    labels
        Score the label rasters in this folder, ``<scene>.tif`` or ``.png``, instead of a model.
    split
        Split to score.
    layers
        Annotation layers to use as ground truth; default: all of the dataset.
    scoring
        How scores are computed.
    outputs
        Products, and treatment of existing ones. Scores in the model card replace those of the same
        split and layer.
    device
        Device of the network.
    track
        Progress of the scenes.

    Returns
    -------
    list of Evaluation
        One for each layer.

    Raises
    ------
    DatasetError, ModelError, SceneError
        If dataset, model or a scene cannot be read.
    OutputError
        If a product exists or cannot be written.
    ConfigError
        If options contradict each other.
    """
    model, labels, keep = map(as_path, (model, labels, outputs.keep))
    json_output, page = map(as_path, (outputs.json, outputs.report))
    _check_outputs(outputs, model, labels)
    dataset = Dataset.open(Path(folder))
    scenes = dataset.split(split)
    if scoring.cleaning.min_area_m2 and dataset.crs is None:
        raise ConfigError(f"{folder}: pixel area unknown: the dataset has no CRS. Use --min-pixels")
    references = {
        layer: dataset.annotations(layer, scenes=scenes) for layer in layers or dataset.layers
    }
    overwrite = outputs.overwrite
    if keep:
        check_keep_folder(keep, scenes, overwrite=overwrite)
    source: LabelSource = (
        StoredLabels(dataset, labels, scenes)
        if labels
        else PredictedLabels(
            dataset, model, device=device, keep=keep, overwrite=overwrite,
            objects=keep is not None or scoring.cleaning.split in ("auto", "interior"),
        )
    )  # fmt: skip
    scoring = _resolve_split(scoring, source)
    evaluations = _score_split(dataset, split, source, references, scoring, track)
    as_json = [evaluation.to_json() for evaluation in evaluations] if json_output or page else []
    if json_output:
        write_json(json_output, as_json)
    if page:
        best_first = sorted(as_json, key=lambda one: one["truth"] != dataset.default_layer)
        content = collect_content(
            best_first,
            dataset,
            StoredLabels(dataset, keep, scenes) if keep else source,
            references,
            scoring,
            model=source.model if isinstance(source, PredictedLabels) else None,
            command=outputs.command,
            track=track,
        )
        write_report(best_first, page, content, overwrite=overwrite)
    if outputs.write and isinstance(source, PredictedLabels):
        _record_scores(source.model, evaluations)
    return evaluations


def _check_outputs(outputs: EvaluateOutputs, model: Path | None, labels: Path | None) -> None:
    """Raise ConfigError or OutputError if the products cannot be written."""
    json_output, page = map(as_path, (outputs.json, outputs.report))
    for output in filter(None, (json_output, page)):
        check_output(output, overwrite=outputs.overwrite)
    if page and page.suffix.lower() != ".html":
        raise ConfigError(
            f"{page}: reports are written as HTML. Use a file name that ends in .html"
        )
    if labels and (model or outputs.keep or outputs.write):
        raise ConfigError(
            f"{labels}: labels cannot be combined with model, keep or write. Choose one"
        )
    if outputs.write:
        check_card_file(model)


def _score_split(
    dataset: Dataset,
    split: str,
    source: LabelSource,
    references: References,
    scoring: ScoringOptions,
    track: Track,
) -> list[Evaluation]:
    """Count the scenes of a split against every reference."""
    counts: dict[str, dict[str, SceneCounts]] = {}
    for scenes in track(source.group(dataset.split(split)), "evaluate"):
        with source.open(*scenes) as opened:
            if scoring.cleaning.split == "confidence" and opened.confidence is None:
                raise _missing_plane("confidence", f"{source.path}, scene {scenes[0].name}")
            counts |= _count_scenes(opened, scenes, references, dataset, scoring)
    totals = {layer: SplitCounts() for layer in references}
    for scene in dataset.split(split):
        for layer, of_scene in counts.pop(scene.name).items():
            totals[layer].add(scene.name, of_scene)
    return [
        total.evaluation(
            model=source.path,
            dataset=dataset.folder,
            split=split,
            layer=layer,
            legend=dataset.legend,
            scoring=scoring,
        )
        for layer, total in totals.items()
    ]


def _resolve_split(scoring: ScoringOptions, source: LabelSource) -> ScoringOptions:
    """Replace the split *auto* by *interior* if there is one. Raises ConfigError if *interior* lacks its plane."""
    split = scoring.cleaning.split
    if split == "interior" and not source.has_interior:
        raise _missing_plane(split, str(source.path))
    if split == "auto" and source.has_interior:
        return replace(scoring, cleaning=replace(scoring.cleaning, split="interior"))
    return scoring


def _missing_plane(split: str, where: str) -> ConfigError:
    return ConfigError(
        f"--split-objects {split}: {where} has no {split}. Use --merged, or another model or folder"
    )


def _count_scenes(
    opened: SceneLabels,
    scenes: Sequence[DatasetScene],
    references: References,
    dataset: Dataset,
    scoring: ScoringOptions,
) -> dict[str, dict[str, SceneCounts]]:
    """Count scenes of one raster against every reference, with the polygons that `segment` would write."""
    labels, legend, cleaning = opened.labels, dataset.legend, scoring.cleaning
    table = _table_of(dataset, scenes[0], opened.windows[0])
    areas = table.row_areas(labels.shape[1])
    separation = choose_decoding(
        cleaning, legend, confidence=opened.confidence, interior=opened.interior, row_area=areas
    )
    counters = {
        scene.name: SceneCounter(
            {layer: annotations[scene.name] for layer, annotations in references.items()},
            table,
            width=window.width,
            height=window.height,
            scoring=scoring,
            corner=(window.col_off, window.row_off)
            if (window.height, window.width) != labels.shape
            else None,
        )
        for scene, window in zip(scenes, opened.windows, strict=True)
    }
    strips = read_strips(labels, opened.confidence, legend)
    if separation is None and len(scenes) == 1 and scenes[0].window is None:
        strips = counters[scenes[0].name].count_strips(strips)  # read once
    else:
        for counter, window in zip(counters.values(), opened.windows, strict=True):
            for _ in counter.count_strips(
                read_window_strips(labels, opened.confidence, legend, window)
            ):
                pass
    with ExitStack() as stack:
        for batch in _extract_polygons(stack, opened, strips, separation, legend, cleaning, areas):
            for counter in counters.values():
                counter.add(batch)
    return {name: counter.finish() for name, counter in counters.items()}


def _extract_polygons(
    stack: ExitStack,
    opened: SceneLabels,
    strips: Iterable[PredictedStrip],
    separation: tuple[Decoding, Energy] | None,
    legend: Legend,
    cleaning: PolygonOptions,
    areas: RowArea,
) -> Iterator[Polygons]:
    """Yield the polygons of a raster, of objects where they are separated; `stack` holds temporary files."""
    if separation is None:
        return extract_polygons(strips, cleaning, areas, countable=legend.countable)
    decoding, energy = separation
    labels = opened.labels
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="geoseg-"))
    objects = stack.enter_context(
        open_objects(
            read_energy_strips(labels, energy, legend), decoding,
            shape=labels.shape, path=Path(folder, "objects.tif"),
        )
    )  # fmt: skip
    ids = objects.read_strips(labels.strips(), opened.confidence, fill_holes=cleaning.fill_holes)
    return extract_polygons(
        ids, cleaning, areas, class_id=objects.class_id, countable=legend.countable
    )


def _record_scores(model: Model, evaluations: Sequence[Evaluation]) -> None:
    scores = {f"{of.split}, {of.layer}": of.card_json() for of in evaluations}
    write_card(model, lambda card: replace(card, scores={**card.scores, **scores}))
    log.info("%s: scores recorded in the model card", model.path)


def _table_of(dataset: Dataset, scene: DatasetScene, window: Window) -> AttributeTable:
    """Return the table of a raster in which a scene has this window."""
    crs = None if dataset.crs is None else CRS.from_wkt(dataset.crs)
    shift = Affine.translation(-window.col_off, -window.row_off)
    return AttributeTable(dataset.legend, crs, Affine(*scene.transform) @ shift, scene.name)
