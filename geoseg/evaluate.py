"""Score a model on a dataset: every pixel of every scene of a split, in one confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations import Difficult, Index, burn
from geoseg.dataset import Dataset, DatasetScene
from geoseg.device import choose_device
from geoseg.engine.decide import decide
from geoseg.engine.predict import Predictor
from geoseg.engine.reader import Reader
from geoseg.engine.tiling import tiles
from geoseg.errors import DatasetError
from geoseg.files import check_output, write_json
from geoseg.heap import keep_freed_memory
from geoseg.learn.metrics import Scores, confusion
from geoseg.legend import Legend
from geoseg.model.file import Model, load_model
from geoseg.progress import Track, silent
from geoseg.scene import open_scene


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of a model on one split, against one truth."""

    model: Path
    dataset: Path
    split: str

    layer: str
    """The truth: outlines or quads."""

    legend: Legend
    scenes: tuple[str, ...]

    matrices: NDArray[np.int64]
    """(scenes, classes, classes) pixels by truth and label, scene by scene"""

    @property
    def scores(self) -> Scores:
        """Of all scenes together."""
        return Scores(self.matrices.sum(axis=0))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "model": self.model.name,
            "dataset": self.dataset.name,
            "split": self.split,
            "truth": self.layer,
            "scenes": len(self.scenes),
            **self.scores.to_json(self.legend),
            "by_scene": {
                name: Scores(matrix).to_json(self.legend)["miou"]
                for name, matrix in zip(self.scenes, self.matrices, strict=True)
            },
            "confusion": self.scores.matrix.tolist(),
        }


def evaluate(
    folder: Path,
    *,
    model: Path | None = None,
    split: str = "val",
    layers: Sequence[str] | None = None,
    difficult: Difficult = "keep",
    json_output: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    track: Track = silent,
) -> list[Evaluation]:
    """Score a model on the dataset `folder`, once for each truth in `layers` (default: every one there is).

    The network runs once; scenes are read, labelled and scored tile by tile, as `segment` would.
    `json_output` gets the list of evaluations. Raises DatasetError, ModelError, SceneError,
    OutputError.
    """
    if json_output:
        check_output(json_output, overwrite=overwrite)
    dataset = Dataset.open(folder)
    opened = load_model(model)
    if opened.card.legend.names != dataset.legend.names:
        raise DatasetError(
            f"{folder}: its classes are not those of {opened.path.name}. "
            f"prepare it with --legend, or use a model trained on {', '.join(dataset.legend.names)}"
        )
    scenes = dataset.split(split)
    names = tuple(layers) if layers else tuple(dataset.layers)
    truths = {layer: dataset.annotations(layer) for layer in names}
    keep_freed_memory()
    predictor = Predictor(opened, choose_device(device))
    matrices = np.stack(
        [
            _score(
                dataset.path(scene),
                scene,
                opened,
                predictor,
                [Index(truths[layer][scene.name]) for layer in names],
                difficult,
            )
            for scene in track(scenes, "evaluate")
        ]
    )
    found = [
        Evaluation(
            model=opened.path,
            dataset=folder,
            split=split,
            layer=layer,
            legend=dataset.legend,
            scenes=tuple(scene.name for scene in scenes),
            matrices=matrices[:, number],
        )
        for number, layer in enumerate(names)
    ]
    if json_output:
        write_json(json_output, [evaluation.to_json() for evaluation in found])
    return found


def score_table(evaluation: Evaluation) -> str:
    """Per-class scores in percent, as a Markdown table."""
    scores = evaluation.to_json()
    lines = [
        "| class | IoU | precision | recall | true pixels |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for name, score in scores["classes"].items():
        cells = (_percent(score[key]) for key in ("iou", "precision", "recall"))
        lines.append(f"| {name} | {' | '.join(cells)} | {score['pixels']:,} |")
    lines.append(f"| **mean IoU** | **{_percent(scores['miou'])}** | | | |")
    lines.append(f"| with background | {_percent(scores['miou_with_background'])} | | | |")
    return "\n".join(lines)


def _percent(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.1f}"


def _score(
    path: Path,
    scene: DatasetScene,
    model: Model,
    predictor: Predictor,
    truths: Sequence[Index],
    difficult: Difficult,
) -> NDArray[np.int64]:
    """(truths, classes, classes) confusion of one scene."""
    classes = len(model.card.legend)
    total = np.zeros((len(truths), classes, classes), np.int64)
    with open_scene(path, bands=model.card.bands, dtype=model.card.dtype) as opened:
        reads = map(Reader(opened).read, tiles(scene.width, scene.height, model))
        for decided in decide(predictor, reads):
            if decided is None:
                continue
            core = decided.tile.core
            place = Affine.translation(-core.col_off, -core.row_off)
            for number, index in enumerate(truths):
                truth = burn(
                    index.window(core),
                    core.height,
                    core.width,
                    transform=place,
                    difficult=difficult,
                )
                total[number] += confusion(truth, decided.labels, classes)
    return total
