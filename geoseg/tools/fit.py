"""Teach a model the classes of some polygons: dataset, configuration and training in one."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geoseg.dataset.folder import Dataset
from geoseg.dataset.split import TRAIN, VAL
from geoseg.errors import OutputError
from geoseg.legend import Legend
from geoseg.models.model_file import read_card
from geoseg.options import (
    ALL_CLASSES,
    AnnotationOptions,
    BatchOptions,
    FitOptions,
    PrepareOptions,
    StrPath,
)
from geoseg.progress import Track, silent
from geoseg.tools.init import TEMPLATES
from geoseg.tools.prepare import prepare_scenes
from geoseg.tools.train import check_files, train
from geoseg.training.config import TrainConfig, read_config
from geoseg.training.windows import SplitReader

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FitResult:
    """Files of a fit, and its score."""

    model: Path
    log: Path
    curves: Path

    dataset: Path | None
    """Dataset folder, if it is kept."""

    miou: float
    """Best mean IoU, without background, on the validation blocks, 0 to 1."""


def fit(
    scenes: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    annotations: StrPath,
    model: StrPath | None = None,
    source: AnnotationOptions = AnnotationOptions(),
    data: PrepareOptions = PrepareOptions(),
    options: FitOptions = FitOptions(),
    config: TrainConfig | None = None,
    device: str = "auto",
    track: Track = silent,
) -> FitResult:
    """Fine-tune a model on annotated scenes: `geoseg.prepare_scenes` and `geoseg.train` in one.

    Parameters
    ----------
    scenes
        Raster files, or folders of them.
    output
        Model file, ``.safetensors``, with a log and learning curves next to it as in `geoseg.train`.
    annotations
        Vector file with a class column, or a file or folder of another format.
    model
        Model to start from; None: the shipped model.
    source
        Format of `annotations`.
    data
        Bands, splits and classes.
    options
        Time, products, existing ones and interrupted runs.
    config
        Configuration. Its dataset, initial weights and time are replaced. None: that of ``geoseg init``.
    device
        auto, cpu, cuda or mps.
    track
        Progress of an iterable.

    Raises
    ------
    SceneError, AnnotationError, DatasetError, ConfigError, ModelError
        If the input cannot be used.
    OutputError
        If `output` exists or cannot be written, or is also an input.
    """
    made = Path(output)
    start = "shipped" if model is None else str(model)
    if model is not None and Path(model).resolve() == made.resolve():
        raise OutputError(f"{made}: is the model to start from. Choose another name")
    checkpoint = check_files(made, options)
    kept = options.dataset is not None
    folder = Path(options.dataset) if options.dataset else made.with_suffix(".dataset")
    if data.countable is None and data.legend is None:
        data = replace(data, countable=(ALL_CLASSES,))
    if not kept and folder.exists() and not checkpoint.is_file():  # it would be removed
        raise OutputError(f"{folder}: exists already. Remove it, or name a folder with --dataset")
    run = BatchOptions(overwrite=options.overwrite or options.resume)
    configuration = _configure(config, folder, start, options.minutes)
    try:
        prepare_scenes(
            scenes,
            folder,
            annotations=annotations,
            source=source,
            options=data,
            run=run,
            track=track,
        )
        dataset = Dataset.open(folder)
        _log_objects(dataset)
        if model is not None:
            _warn_of_dropped_classes(Path(model), dataset.legend)
        result = train(configuration, made, options=options, device=device, track=track)
    finally:
        if not kept and not checkpoint.is_file():
            shutil.rmtree(folder, ignore_errors=True)
    return FitResult(result.model, result.log, result.curves, folder if kept else None, result.miou)


def _configure(
    config: TrainConfig | None, dataset: Path, start: str, minutes: float | None
) -> TrainConfig:
    """Return a configuration with this dataset, start and time."""
    config = config or read_config(TEMPLATES["finetune"])
    training = config.training
    if minutes is not None:
        training = training.model_copy(update={"minutes": minutes})
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"dataset": str(dataset)}),
            "network": config.network.model_copy(update={"pretrained": start}),
            "training": training,
        }
    )


def _count_objects(dataset: Dataset, split: str) -> dict[str, int]:
    """Count the objects of each class in a split, those in several blocks once."""
    reader = SplitReader(dataset, split, layer=None, difficult="keep")
    class_ids = np.concatenate([index.annotations.class_id for index in reader.indexes])
    return {c.name: int((class_ids == c.id).sum()) for c in dataset.legend.objects}


def _log_objects(dataset: Dataset) -> None:
    """Log how many objects of each class are trained on, and how many are for validation."""
    for split, purpose in ((TRAIN, "training"), (VAL, "validation")):
        objects = _count_objects(dataset, split)
        listed = ", ".join(f"{number} {name}" for name, number in objects.items())
        log.info("objects for %s: %s", purpose, listed)


def _warn_of_dropped_classes(start: Path, legend: Legend) -> None:
    """Log a warning if the model to start from has classes that the new one will not have."""
    dropped = [name for name in read_card(start).legend.names if name not in legend.names]
    if dropped:
        log.warning(
            "%s: its classes without annotations (%s) are not classes of the new model. Keep them "
            "with --legend %s",
            *(start, ", ".join(dropped), shlex.quote(str(start))),
        )
