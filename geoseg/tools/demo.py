"""Demo: draw synthetic scenes, then prepare, train, evaluate and segment."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from geoseg._version import __version__
from geoseg.dataset.folder import Dataset
from geoseg.errors import OutputError
from geoseg.files import write_json
from geoseg.metrics.evaluation import Evaluation
from geoseg.options import (
    BatchOptions,
    DemoOptions,
    EvaluateOutputs,
    PolygonOptions,
    RunOptions,
    SegmentOutputs,
    StrPath,
    TrainOptions,
)
from geoseg.progress import Track, silent
from geoseg.report.figures import plot_classes
from geoseg.report.picture import draw_picture
from geoseg.synthetic.scenes import OUTLINES, write_scenes
from geoseg.tools.evaluate import evaluate
from geoseg.tools.prepare import prepare
from geoseg.tools.segment import segment
from geoseg.tools.train import train
from geoseg.training.config import read_config

CONFIG = Path(__file__).with_name("demo.toml")

MARK = "demo.json"
"""File that marks the folder of a demo, which may be overwritten."""

MIN_PIXELS = 12
"""Polygons below this size, about a square metre, are discarded."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Products of a demo."""

    folder: Path
    dota: Path
    dataset: Path
    config: Path
    model: Path
    curves: Path
    classes: Path
    scene: Path
    polygons: Path
    labels: Path
    picture: Path
    scores: Path

    evaluations: tuple[Evaluation, ...]
    """Evaluations of the validation scenes, one for each annotation layer."""


def demo(
    folder: StrPath, *, options: DemoOptions = DemoOptions(), track: Track = silent
) -> DemoResult:
    """Draw synthetic scenes into a folder, and run all tools on them; takes some minutes on two cores.

    Parameters
    ----------
    folder
        New or empty folder.
    options
        Seed of the scenes, and whether the products of an earlier demo in `folder` are replaced; other
        files are kept.
    track
        Progress of the steps.

    Raises
    ------
    OutputError
        If `folder` is not empty and not the folder of an earlier demo, or cannot be created.
    """
    folder = Path(folder)
    create_folder(folder, options.seed, overwrite=options.overwrite)
    scene = folder / "unseen.tif"
    dota = write_scenes(folder / "dota", scene, seed=options.seed, track=track)
    dataset = prepare(
        dota,
        folder / "dataset",
        outlines=dota / OUTLINES,
        run=BatchOptions(overwrite=True),
        track=track,
    )
    classes = plot_class_counts(dataset, folder / "classes.png")
    config = folder / CONFIG.name
    shutil.copyfile(CONFIG, config)
    trained = train(
        read_config(config),
        folder / "model.safetensors",
        options=TrainOptions(overwrite=True),
        track=track,
    )
    scores = folder / "scores.json"
    evaluations = evaluate(
        dataset,
        model=trained.model,
        outputs=EvaluateOutputs(json=scores, overwrite=True),
        track=track,
    )
    labels = folder / "unseen_labels.tif"
    polygons = segment(
        scene,
        folder / "unseen.gpkg",
        model=trained.model,
        polygons=PolygonOptions(min_pixels=MIN_PIXELS),
        outputs=SegmentOutputs(labels=labels),
        run=RunOptions(overwrite=True),
        track=track,
    )
    legend = evaluations[0].legend
    picture = draw_picture(
        scene, polygons, folder / "unseen.png", legend, size=2048, overwrite=True
    )
    return DemoResult(
        folder=folder,
        dota=dota,
        dataset=dataset,
        config=config,
        model=trained.model,
        curves=trained.curves,
        classes=classes,
        scene=scene,
        polygons=polygons,
        labels=labels,
        picture=picture,
        scores=scores,
        evaluations=tuple(evaluations),
    )


def create_folder(folder: Path, seed: int, *, overwrite: bool) -> None:
    """Create and mark the folder of a demo, or raise OutputError; scenes of an earlier demo are removed."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: not a folder. Choose another name")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise OutputError(
                f"{folder}: not empty, and not the folder of an earlier demo. Choose a new folder"
            )
        if not overwrite:
            raise OutputError(
                f"{folder}: contains an earlier demo. Choose a new folder, or use --overwrite"
            )
        shutil.rmtree(folder / "dota", ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be created ({fault.strerror}). Choose another folder"
        ) from fault
    write_json(folder / MARK, {"geoseg": __version__, "seed": seed})


def plot_class_counts(folder: Path, output: Path) -> Path:
    """Plot objects and pixels per class of a dataset."""
    dataset = Dataset.open(folder)
    counts = dataset.layers[dataset.default_layer]
    return plot_classes(counts.objects, counts.pixels, dataset.legend, output)
