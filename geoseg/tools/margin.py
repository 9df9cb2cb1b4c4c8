"""How small a margin may be: labels with it are compared with those of the exact margin, on real scenes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.files import ScenePath
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
from geoseg.progress import Track, silent
from geoseg.raster.tiles import round_up

log = logging.getLogger(__name__)

ALLOWED = 1e-4
"""Share of labels that may change for a margin to become a model's default."""

_CORE = 1024
"""Side of the cores: smaller than most by default, so that there are more seams to count."""

MARGINS = (0, 32, 64, 96, 128, 192, 256, 384)
"""Tried unless others are named; the exact margin is what they are compared with."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a margin does to labels, with cores of 1024 pixels."""

    margin: int

    pixels: int
    """Labels compared."""

    changed: int
    """Those that are not what the exact margin makes them."""

    ratio: float
    """Pixels through the network per pixel of the scenes."""

    seconds: float

    @property
    def share(self) -> float:
        """Of labels that changed."""
        return self.changed / max(1, self.pixels)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**asdict(self), "share": self.share}


def measure_margins(
    scenes: Sequence[ScenePath],
    *,
    model: Path | None = None,
    margins: Sequence[int] = MARGINS,
    write: bool = False,
    device: str = "auto",
    track: Track = silent,
) -> list[Trial]:
    """Label `scenes` with each margin and compare with the exact one, which comes last.

    With `write` the model file gets what was found into its card, and as default the smallest margin
    that changes at most 1 label in 10,000. Scenes are to be larger than a core of 1024 pixels and its
    margins, or nothing can change. Raises ConfigError for a network whose context has no end,
    SceneError, ModelError.
    """
    if write:
        check_card_file(model)
    spec = ModelSpec(model, device=choose_device(device))
    opened = open_model(spec)
    exact = resolve_margin("exact", opened)
    rounded = sorted({round_up(margin, opened.card.stride) for margin in margins})
    asked = [*(margin for margin in rounded if margin < exact), exact]
    predictor = create_predictor(spec, opened)
    trials = [Trial(margin, 0, 0, 0.0, 0.0) for margin in asked]
    area = 0
    for scene in track(scenes, "measure"):
        with open_scenes([scene]) as handles:
            reader = handles.reader(
                SceneSpec((scene,), bands=opened.card.bands, dtype=opened.card.dtype)
            )
            *others, truth = [_labelled(reader, opened, predictor, margin) for margin in asked]
        seen = truth.labels != IGNORE
        area += truth.labels.size
        for number, found in enumerate([*others, truth]):
            changed = int(np.count_nonzero((found.labels != truth.labels) & seen))
            before = trials[number]
            trials[number] = Trial(
                before.margin,
                before.pixels + int(np.count_nonzero(seen)),
                before.changed + changed,
                before.ratio + found.forward,
                before.seconds + found.seconds,
            )
    if not trials[-1].pixels:
        raise SceneError(f"{scenes[0]}: no scene has a valid pixel. name others")
    trials = [replace(trial, ratio=trial.ratio / area) for trial in trials]
    if trials[0].ratio == trials[-1].ratio:
        raise SceneError(
            f"{scenes[0]}: no scene is larger than one tile, so no label can change. "
            "name scenes of 2000 pixels or more"
        )
    if write:
        _write(opened, trials)
    return trials


def margin_table(trials: Iterable[Trial]) -> str:
    """Markdown: a row for each margin."""
    rows = list(trials)
    last = rows[-1].seconds
    lines = [
        "| margin, px | labels that change | pixels through the network per pixel | time |",
        "| --: | --: | --: | --: |",
        *(
            f"| {row.margin} | {_one_in(row)} | {row.ratio:.2f} | {row.seconds / last:.2f} |"
            for row in rows[:-1]
        ),
        f"| {rows[-1].margin} (exact) | none | {rows[-1].ratio:.2f} | 1 |",
    ]
    return "\n".join(lines)


def best_margin(trials: Sequence[Trial]) -> int:
    """The smallest that changes at most 1 label in 10,000; the last, exact one changes none."""
    return next(trial.margin for trial in trials if trial.share <= ALLOWED)


@dataclass(frozen=True, slots=True)
class _Labelled:
    labels: NDArray[np.uint8]
    forward: int
    seconds: float


def _labelled(reader: TileReader, model: Model, predictor: Predictor, margin: int) -> _Labelled:
    """A whole scene's labels with cores of 1024 pixels, so keep scenes moderate."""
    core = round_up(_CORE, model.card.stride)
    began = perf_counter()
    cells = choose_tiles(reader.width, reader.height, model, core=core, margin=margin)
    labels = np.full((reader.height, reader.width), IGNORE, np.uint8)
    for prediction in predict_tiles(predictor, map(reader.read, cells)):
        if prediction is not None:
            labels[prediction.window.toslices()] = prediction.labels
    forward = sum(cell.window.width * cell.window.height for cell in cells)
    return _Labelled(labels, forward, perf_counter() - began)


def _write(model: Model, trials: Sequence[Trial]) -> None:
    def told(card: ModelCard) -> ModelCard:
        return replace(
            card,
            margin=best_margin(trials),
            context=trials[-1].margin if card.context is None else card.context,
            margins=tuple(
                {"margin": trial.margin, "changed": trial.share, "pixels": trial.pixels}
                for trial in trials
            ),
        )

    card = write_card(model, told)
    log.info("%s: its margin is %d pixels now", model.path, card.margin)


def _one_in(trial: Trial) -> str:
    return f"1 in {trial.pixels / trial.changed:,.0f}" if trial.changed else "none"
