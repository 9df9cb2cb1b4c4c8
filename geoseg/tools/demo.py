"""Draw scenes, then run the tools on them as a user would."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from geoseg._version import __version__
from geoseg.dataset.folder import Dataset
from geoseg.errors import OutputError
from geoseg.files import write_json
from geoseg.metrics.evaluation import Evaluation
from geoseg.options import BatchOptions, PolygonOptions, RunOptions, SegmentOutputs
from geoseg.progress import Track, silent
from geoseg.report.figures import plot_classes
from geoseg.report.picture import draw_picture
from geoseg.synthetic.write import OUTLINES, draw
from geoseg.tools.evaluate import evaluate
from geoseg.tools.prepare import prepare
from geoseg.tools.segment import segment
from geoseg.tools.train import train
from geoseg.training.config import read_config

CONFIG = Path(__file__).with_name("demo.toml")

MARK = "demo.json"
"""Says that a folder is a demo's, and may be written again."""

MIN_PIXELS = 12
"""Smaller segments than this, a square metre, are no object of the demo."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo leaves in its folder."""

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
    """On the validation scenes, one for each truth."""


def demo(
    folder: Path, *, seed: int = 0, overwrite: bool = False, track: Track = silent
) -> DemoResult:
    """Draw a DOTA folder and a large scene into `folder`, prepare, train, evaluate, segment.

    The same `seed` draws the same scenes. A folder that holds anything is refused, unless it is a former
    demo's and `overwrite` is on: then what the demo makes is made anew, and other files stay.
    Takes some minutes on two cores. Raises OutputError.
    """
    claim(folder, seed, overwrite=overwrite)
    scene = folder / "unseen.tif"
    dota = draw(folder / "dota", scene, seed=seed, track=track)
    dataset = prepare(
        dota,
        folder / "dataset",
        outlines=dota / OUTLINES,
        run=BatchOptions(overwrite=True),
        track=track,
    )
    classes = picture_classes(dataset, folder / "classes.png")
    config = folder / CONFIG.name
    shutil.copyfile(CONFIG, config)
    trained = train(read_config(config), folder / "model.safetensors", overwrite=True, track=track)
    scores = folder / "scores.json"
    evaluations = evaluate(
        dataset, model=trained.model, json_output=scores, overwrite=True, track=track
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


def claim(folder: Path, seed: int, *, overwrite: bool) -> None:
    """Make `folder` the demo's, or raise OutputError; of a former demo only the drawn scenes are removed."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder. name another one")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise OutputError(f"{folder}: is not empty and no former demo. name a new folder")
        if not overwrite:
            raise OutputError(
                f"{folder}: holds a demo already. name a new folder or use --overwrite"
            )
        shutil.rmtree(folder / "dota", ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be made ({fault.strerror}). name another folder"
        ) from fault
    write_json(folder / MARK, {"geoseg": __version__, "seed": seed})


def picture_classes(folder: Path, output: Path) -> Path:
    """Plot how unevenly the classes of a dataset occur."""
    dataset = Dataset.open(folder)
    counts = dataset.layers[dataset.default_layer]
    return plot_classes(counts.objects, counts.pixels, dataset.legend, output)
