"""Choice of the rules by which a model separates objects, on annotated scenes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn_area, transform_geometry
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.errors import DatasetError, ModelError
from geoseg.inference.label_source import PredictedLabels, SceneLabels
from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.metrics.confusion import divide
from geoseg.metrics.rule_search import RuleChoice, RuleSearch
from geoseg.models.model_file import check_card_file, write_card
from geoseg.options import StrPath, TuneOptions, as_path
from geoseg.progress import Track, silent
from geoseg.raster.tiles import tile_grid
from geoseg.training.windows import is_held_out

_BLOCK = 4096
"""Side of the parts of a scene in pixels. Objects that cross their edges count as one in each."""

log = logging.getLogger(__name__)


def tune(
    folder: StrPath,
    *,
    model: StrPath | None = None,
    options: TuneOptions = TuneOptions(),
    device: str = "auto",
    track: Track = silent,
) -> RuleChoice:
    """Choose the object rules of a model: those with the best F1 of all objects on the scenes of a split.

    Scores on the same scenes are then optimistic. Choose the rules on scenes that are neither trained on nor reported.

    Parameters
    ----------
    folder
        Dataset folder.
    model
        Model file with object outputs; None: the shipped model.
    options
        Scenes, annotation layer, and whether the rules are written to the model card.
    device
        Device of the network.
    track
        Progress of the scenes.

    Raises
    ------
    DatasetError
        If the dataset cannot be read, or has no such scenes.
    ModelError
        If the model cannot be opened, or has no object outputs.
    ConfigError, OutputError
        If the rules cannot be written to the model.
    """
    path = as_path(model)
    if options.write:
        check_card_file(path)
    dataset = Dataset.open(Path(folder))
    scenes = _select_scenes(dataset, options)
    source = PredictedLabels(dataset, path, device=device)
    if source.model.card.objects is None:
        raise ModelError(
            f"{source.path}: has no object outputs, so it needs no rules. Name another model with -m"
        )
    annotations = dataset.annotations(options.layer, scenes=scenes)
    search = RuleSearch(dataset.legend, _areas(dataset, options))
    for group in track(source.group(scenes), "tune"):
        with source.open(*group) as opened:
            for scene, part in zip(group, opened.windows, strict=True):
                _add_scene(search, opened, part, AnnotationIndex(annotations[scene.name]))
    choice = search.choose()
    if options.write:
        write_card(source.model, lambda card: replace(card, objects=choice.rules))
        log.info("%s: rules recorded in the model card", source.path)
    return choice


def _add_scene(
    search: RuleSearch, opened: SceneLabels, part: Window, index: AnnotationIndex
) -> None:
    """Add a scene, which is a part of the rasters, to a search."""
    area = index.annotations.area
    for window, labels, interior in _read_blocks(opened, part):
        if area is not None:
            labels[~_burn_area(area, window)] = BACKGROUND
        search.add(labels, interior, _shift(index.query_window(window), window))


def rule_table(choice: RuleChoice, legend: Legend) -> str:
    """Return a Markdown table of the rules and scores of each class."""
    rules = choice.rules
    lines = [
        f"reach {rules.reach} pixels; F1 of all objects {100 * choice.f1:.1f} %",
        "",
        "| class | floor | seed | part, px | min_pixels | annotated | found | matched | F1, % |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for c in legend.objects:
        rule = rules.rules[c.id]
        annotated, found, matched = (
            int(counts[c.id]) for counts in (choice.annotated, choice.found, choice.matched)
        )
        f1 = float(divide(200 * matched, annotated + found))
        shown = "-" if np.isnan(f1) else f"{f1:.1f}"
        separated = f"{rule.floor} | {rule.seed} | {rule.part}" if c.countable else "- | - | -"
        lines.append(
            f"| {c.name} | {separated} | {rule.min_pixels} | {annotated} | {found} | {matched} | {shown} |"
        )
    return "\n".join(lines)


def _select_scenes(dataset: Dataset, options: TuneOptions) -> Sequence[DatasetScene]:
    scenes = dataset.split(options.split)
    if not options.held_out:
        return scenes
    kept = [scene for scene in scenes if is_held_out(scene.name, options.held_out)]
    if not kept:
        raise DatasetError(
            f"{dataset.folder}: --held-out {options.held_out} selects no scene of split {options.split}. Raise it"
        )
    return kept


def _areas(dataset: Dataset, options: TuneOptions) -> dict[int, NDArray[np.float64]]:
    """Return the areas in pixels of the objects of all scenes, by class ID."""
    annotations = list(dataset.annotations(options.layer).values())
    class_id = np.concatenate([of_scene.class_id for of_scene in annotations])
    area = np.concatenate([shapely.area(of_scene.geometry) for of_scene in annotations])
    return {c.id: area[class_id == c.id] for c in dataset.legend.objects}


def _read_blocks(
    opened: SceneLabels, scene: Window
) -> Iterator[tuple[Window, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield windows of a scene with their labels and interior of objects; `scene` is its window in the rasters."""
    assert opened.interior is not None
    for tile in tile_grid(scene.width, scene.height, core=_BLOCK, margin=0, multiple=1):
        left, top, width, height = tile.core.flatten()
        part = Window(scene.col_off + left, scene.row_off + top, width, height)
        labels = opened.labels.read(part)
        labels[labels == IGNORE] = BACKGROUND
        interior = opened.interior.read(part)
        interior[interior == IGNORE] = 0
        yield tile.core, labels, interior


def _burn_area(area: shapely.Geometry, window: Window) -> NDArray[np.bool_]:
    """Burn the annotated area of a scene in a window."""
    to_window = Affine.translation(-window.col_off, -window.row_off)
    return burn_area(area, window.height, window.width, transform=to_window)


def _shift(annotations: Annotations, window: Window) -> Annotations:
    """Convert annotations from pixels of the scene to pixels of a window."""
    to_window = Affine.translation(-window.col_off, -window.row_off)
    return replace(annotations, geometry=transform_geometry(annotations.geometry, to_window))
