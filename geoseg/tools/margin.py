"""Measurement of margins: how many labels differ from those of the exact margin, on real scenes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.files import scene_path
from geoseg.inference.predictor import (
    ModelSpec,
    Predictor,
    create_predictor,
    open_model,
    predict_tiles,
)
from geoseg.inference.reader import SceneSpec, TileReader, open_scenes
from geoseg.inference.tiling import choose_tiles, resolve_margin
from geoseg.legend import IGNORE
from geoseg.models.model_file import Model, ModelCard, check_card_file, write_card
from geoseg.models.runtime import choose_device
from geoseg.options import MarginOptions, StrPath, as_path
from geoseg.progress import Track, silent
from geoseg.raster.tiles import round_up

ACCEPTED = 1e-4
"""Share of labels that may change with the default margin of a model."""

_CORE = 1024
"""Side of the cores: smaller than most that `segment` chooses, so that there are more borders."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MarginTrial:
    """Labels of scenes with one margin and cores of 1024 pixels, compared with those of the exact margin."""

    margin: int
    """In network pixels."""

    pixels: int
    """Number of labels compared."""

    changed: int
    """Number of labels that differ."""

    ratio: float
    """Network pixels per scene pixel."""

    seconds: float

    @property
    def share(self) -> float:
        """Share of labels that differ."""
        return self.changed / max(1, self.pixels)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {**asdict(self), "share": self.share}


def measure_margins(
    scenes: Sequence[StrPath],
    *,
    model: StrPath | None = None,
    options: MarginOptions = MarginOptions(),
    device: str = "auto",
    track: Track = silent,
) -> list[MarginTrial]:
    """Predict scenes with each margin and compare the labels with those of the exact margin.

    Parameters
    ----------
    scenes
        Raster files, larger than a core of 1024 pixels and its margins; whole scenes are read into memory.
    model
        Model file; None: the shipped model.
    options
        Margins to measure, and whether the results are written to the model card. Then the smallest
        margin that changes at most 1 label in 10,000 becomes the default of the model.
    device
        Device of the network.
    track
        Progress.

    Returns
    -------
    list of MarginTrial
        By increasing margin; the last is the exact one.

    Raises
    ------
    ConfigError
        If the receptive field of the network is unbounded.
    SceneError
        If a scene cannot be read, or all are too small.
    ModelError
        If the model cannot be opened.
    """
    path = as_path(model)
    if options.write:
        check_card_file(path)
    spec = ModelSpec(path, device=choose_device(device))
    opened = open_model(spec)
    exact = resolve_margin("exact", opened)
    rounded = sorted({round_up(margin, opened.card.stride) for margin in options.margins})
    predictor = create_predictor(spec, opened)
    trials = [
        MarginTrial(margin, 0, 0, 0.0, 0.0)
        for margin in (*(margin for margin in rounded if margin < exact), exact)
    ]
    area = 0
    for scene in track(scenes, "measure"):
        file = scene_path(scene)
        with open_scenes([file]) as handles:
            source = SceneSpec((file,), bands=opened.card.bands, dtype=opened.card.dtype)
            reader = handles.reader(source)
            runs = [_predict_labels(reader, opened, predictor, t.margin) for t in trials]
        trials = [_add_run(*pair, runs[-1].labels) for pair in zip(trials, runs, strict=True)]
        area += runs[-1].labels.size
    trials = [replace(trial, ratio=trial.ratio / max(1, area)) for trial in trials]
    _check_trials(trials, scenes)
    if options.write:
        _write_trials(opened, trials)
    return trials


def margin_table(trials: Sequence[MarginTrial]) -> str:
    """Return a Markdown table with a row per margin."""
    *others, exact = trials
    lines = [
        "| margin, px | labels that change | network px per scene px | time |",
        "| --: | --: | --: | --: |",
        *(
            f"| {trial.margin} | {_one_in(trial)} | {trial.ratio:.2f} "
            f"| {trial.seconds / exact.seconds:.2f} |"
            for trial in others
        ),
        f"| {exact.margin} (exact) | none | {exact.ratio:.2f} | 1 |",
    ]
    return "\n".join(lines)


def best_margin(trials: Sequence[MarginTrial]) -> int:
    """Return the smallest margin that changes at most 1 label in 10,000; the exact one changes none."""
    return next(trial.margin for trial in trials if trial.share <= ACCEPTED)


@dataclass(frozen=True, slots=True)
class _Run:
    labels: NDArray[np.uint8]
    """(h, w) class IDs."""

    forward: int
    """Pixels that passed through the network."""

    seconds: float


def _predict_labels(reader: TileReader, model: Model, predictor: Predictor, margin: int) -> _Run:
    core = round_up(_CORE, model.card.stride)
    start = perf_counter()
    tiles = choose_tiles(reader.width, reader.height, model, core=core, margin=margin)
    labels = np.full((reader.height, reader.width), IGNORE, np.uint8)
    for prediction in predict_tiles(predictor, map(reader.read, tiles)):
        if prediction is not None:
            labels[prediction.window.toslices()] = prediction.labels
    forward = sum(tile.window.width * tile.window.height for tile in tiles)
    return _Run(labels, forward, perf_counter() - start)


def _add_run(trial: MarginTrial, run: _Run, exact: NDArray[np.uint8]) -> MarginTrial:
    """Add the run of one scene to a trial."""
    valid = exact != IGNORE
    return replace(
        trial,
        pixels=trial.pixels + int(np.count_nonzero(valid)),
        changed=trial.changed + int(np.count_nonzero((run.labels != exact) & valid)),
        ratio=trial.ratio + run.forward,
        seconds=trial.seconds + run.seconds,
    )


def _check_trials(trials: Sequence[MarginTrial], scenes: Sequence[StrPath]) -> None:
    if not trials[-1].pixels:
        raise SceneError(f"{scenes[0]}: no scene has a valid pixel. Name other scenes")
    if trials[0].ratio == trials[-1].ratio:
        raise SceneError(
            f"{scenes[0]}: no scene is larger than one tile, so no label can change. "
            "Use scenes of 2000 pixels or more"
        )


def _write_trials(model: Model, trials: Sequence[MarginTrial]) -> None:
    def add_margins(card: ModelCard) -> ModelCard:
        return replace(
            card,
            margin=best_margin(trials),
            context=trials[-1].margin if card.context is None else card.context,
            margins=tuple(
                {"margin": trial.margin, "changed": trial.share, "pixels": trial.pixels}
                for trial in trials
            ),
        )

    card = write_card(model, add_margins)
    log.info("%s: the default margin is now %d pixels", model.path, card.margin)


def _one_in(trial: MarginTrial) -> str:
    return f"1 in {trial.pixels / trial.changed:,.0f}" if trial.changed else "none"
