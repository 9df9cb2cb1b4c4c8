"""Score a model, or labels made by anything, on a dataset: every pixel and object of every scene of a split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from affine import Affine
from rasterio.crs import CRS

from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.errors import ConfigError
from geoseg.files import check_output, write_json
from geoseg.inference.label_source import (
    LabelSource,
    PredictedLabels,
    StoredLabels,
    check_keep_folder,
)
from geoseg.metrics.evaluation import USUAL, Evaluation, Rules, SplitCounts, count_scene
from geoseg.models.model_file import Model, check_card_file, write_card
from geoseg.polygons.table import Table
from geoseg.progress import Track, silent
from geoseg.raster.labels import read_strips
from geoseg.report.evaluation import report

log = logging.getLogger(__name__)


def evaluate(
    folder: Path,
    *,
    model: Path | None = None,
    labels: Path | None = None,
    split: str = "val",
    layers: Sequence[str] | None = None,
    rules: Rules = USUAL,
    keep: Path | None = None,
    json_output: Path | None = None,
    page: Path | None = None,
    write: bool = False,
    command: str = "",
    overwrite: bool = False,
    device: str = "auto",
    track: Track = silent,
) -> list[Evaluation]:
    """Score a model on the dataset `folder`, once for each truth in `layers` (default: every one there is).

    The network runs once; scenes are labelled as `segment` would, and scored by strips, as `rules` say. With
    `labels`, a folder that holds a label raster ``<scene>.tif`` or ``.png`` for each scene, these are scored
    instead. `keep` names a folder for the labels that the model makes. `json_output` gets the list of
    evaluations; `page` (``.html``) shows them, with scenes to look at and `command`, what was typed. With
    `write` the model file gets the scores into its card, in place of those of the same split and truth. Raises
    DatasetError, ModelError, SceneError, OutputError, ConfigError.
    """
    for output in filter(None, (json_output, page)):
        check_output(output, overwrite=overwrite)
    if page and page.suffix.lower() != ".html":
        raise ConfigError(f"{page}: the report is a page for a browser. give it a name in .html")
    if labels and (model or keep or write):
        raise ConfigError(f"{labels}: labels are there already, no model makes them. choose one")
    if write:
        check_card_file(model)
    dataset = Dataset.open(folder)
    scenes = dataset.split(split)
    if rules.cleaning.min_area_m2 and dataset.crs is None:
        raise ConfigError(
            f"{folder}: nobody knows how large its pixels are on the ground. use --min-pixels"
        )
    truths = {
        layer: dataset.annotations(layer, scenes=scenes) for layer in layers or dataset.layers
    }
    if keep:
        check_keep_folder(keep, scenes, overwrite=overwrite)
    source: LabelSource = (
        StoredLabels(dataset, labels, scenes)
        if labels
        else PredictedLabels(dataset, model, device=device, keep=keep, overwrite=overwrite)
    )
    counts = {layer: SplitCounts() for layer in truths}
    for scene in track(scenes, "evaluate"):
        with source.open(scene) as (opened, confidence):
            tallies = count_scene(
                read_strips(opened, confidence, dataset.legend),
                [annotations[scene.name] for annotations in truths.values()],
                _table(dataset, scene),
                width=scene.width,
                height=scene.height,
                rules=rules,
            )
        for layer, of_layer in zip(truths, tallies, strict=True):
            counts[layer].add(scene.name, of_layer)
    found = [
        count.evaluation(
            model=source.path,
            dataset=folder,
            split=split,
            layer=layer,
            legend=dataset.legend,
            rules=rules,
        )
        for layer, count in counts.items()
    ]
    told = [evaluation.to_json() for evaluation in found] if json_output or page else []
    if json_output:
        write_json(json_output, told)
    if page:
        report(
            told,
            page,
            dataset=dataset,
            labelled=StoredLabels(dataset, keep, scenes) if keep else source,
            model=source.model if isinstance(source, PredictedLabels) else None,
            truths=truths,
            rules=rules,
            command=command,
            overwrite=overwrite,
            track=track,
        )
    if write and isinstance(source, PredictedLabels):
        _write(source.model, found)
    return found


def _write(model: Model, found: Sequence[Evaluation]) -> None:
    scores = {f"{of.split}, {of.layer}": of.card_json() for of in found}
    write_card(model, lambda card: replace(card, scores={**card.scores, **scores}))
    log.info("%s: its card has the scores now", model.path)


def _table(dataset: Dataset, scene: DatasetScene) -> Table:
    crs = None if dataset.crs is None else CRS.from_wkt(dataset.crs)
    return Table(dataset.legend, crs, Affine(*scene.transform), scene.name)
