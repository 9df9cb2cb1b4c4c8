"""Measurement of margins: how many labels and objects differ from those of the exact margin, on real scenes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.files import ScenePath, scene_path
from geoseg.inference.predictor import (
    ModelSpec,
    Predictor,
    create_predictor,
    open_model,
    predict_tiles,
)
from geoseg.inference.reader import OpenScenes, SceneSpec, TileReader, choose_scale, open_scenes
from geoseg.inference.tiling import choose_tiles, resolve_margin
from geoseg.legend import IGNORE
from geoseg.models.model_file import Model, ModelCard, check_card_file, write_card
from geoseg.models.runtime import choose_device
from geoseg.options import MarginOptions, StrPath, as_path
from geoseg.polygons.objects import Objects, decode_objects
from geoseg.progress import Track, silent
from geoseg.raster.scene import assume_pixel_size
from geoseg.raster.tiles import round_up

ACCEPTED = 1e-4
"""Share of labels that may change with the default margin of a model."""

ACCEPTED_OBJECTS = 1e-3
"""Share of objects that may be lost with the default margin of a model with object outputs."""

_SAME = 0.5
"""IoU from which on an object of the same class counts as the same, so that it is not lost."""

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
    """Pixels that pass through the network per pixel of the scenes, at the pixel size of the network."""

    seconds: float

    objects: int = 0
    """Number of objects with the exact margin; 0 for a model without object outputs."""

    objects_changed: int = 0
    """Number of those whose pixels or class differ."""

    objects_lost: int = 0
    """Number of those without an object of their class of an IoU of at least 0.5."""

    @property
    def share(self) -> float:
        """Share of labels that differ."""
        return self.changed / max(1, self.pixels)

    @property
    def accepted(self) -> bool:
        """True if few enough labels differ and few enough objects are lost for a default margin."""
        return self.share <= ACCEPTED and self.objects_lost <= ACCEPTED_OBJECTS * self.objects

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
    """Predict scenes with each margin and compare labels and objects with those of the exact margin.

    Parameters
    ----------
    scenes
        Raster files, larger than a core of 1024 pixels and its margins; whole scenes are read into memory.
    model
        Model file; None: the shipped model.
    options
        Margins to measure, and whether the results are written to the model card. Then the smallest
        margin that changes at most 1 label in 10,000, and loses at most 1 object in 1,000, becomes the
        default of the model.
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
    opened = open_model(ModelSpec(path))
    exact = resolve_margin("exact", opened)
    rounded = sorted({round_up(margin, opened.card.stride) for margin in options.margins})
    spec = ModelSpec(path, device=choose_device(device), objects=opened.card.objects is not None)
    predictor = create_predictor(spec, opened)
    trials = [
        MarginTrial(margin, 0, 0, 0.0, 0.0)
        for margin in (*(margin for margin in rounded if margin < exact), exact)
    ]
    area = 0
    for scene in track(scenes, "measure"):
        file = scene_path(scene)
        with open_scenes([file]) as handles:
            reader = _open_reader(file, opened.card, options, handles)
            reference = _predict(reader, opened, predictor, exact)
            trials = [
                *(
                    _add_run(t, _predict(reader, opened, predictor, t.margin), reference)
                    for t in trials[:-1]
                ),
                _add_run(trials[-1], reference, reference),
            ]
        area += reader.width * reader.height
    trials = [replace(trial, ratio=trial.ratio / max(1, area)) for trial in trials]
    _check_trials(trials, scenes)
    if options.write:
        _write_trials(opened, trials)
    return trials


def _open_reader(
    file: ScenePath, card: ModelCard, options: MarginOptions, handles: OpenScenes
) -> TileReader:
    """Return a reader of the bands of a scene that a model takes, at the pixel size of the model."""
    source = SceneSpec(
        (file,), options.bands, card.band_names, card.bands, card.dtype, options.allow_vrt
    )
    info = assume_pixel_size(handles.open(source).info, options.pixel_size_m)
    scale = choose_scale(info, card, options.gsd)
    return handles.reader(replace(source, scale=scale))


def margin_table(trials: Sequence[MarginTrial]) -> str:
    """Return a Markdown table with a row per margin."""
    *others, exact = trials
    objects = exact.objects > 0
    head = ["margin, px", "labels that change"]
    head += ["objects that change", "objects lost"] * objects
    lines = [
        _format_row([*head, "network px per scene px", "time"]),
        _format_row(["--:"] * (len(head) + 2)),
    ]
    for trial in others:
        row = [str(trial.margin), _one_in(trial.changed, trial.pixels)]
        if objects:
            row += [_one_in(n, trial.objects) for n in (trial.objects_changed, trial.objects_lost)]
        row += [f"{trial.ratio:.2f}", f"{trial.seconds / exact.seconds:.2f}"]
        lines.append(_format_row(row))
    unchanged = ["none"] * (len(head) - 1)
    lines.append(_format_row([f"{exact.margin} (exact)", *unchanged, f"{exact.ratio:.2f}", "1"]))
    return "\n".join(lines)


def best_margin(trials: Sequence[MarginTrial]) -> int:
    """Return the smallest margin that changes at most 1 label in 10,000 and loses at most 1 object in 1,000."""
    return next(trial.margin for trial in trials if trial.accepted)


def compare_objects(found: Objects, expected: Objects) -> tuple[int, int]:
    """Count the objects that differ between two decodings of one scene.

    Returns
    -------
    tuple of int
        Number of `expected` objects that are not in `found` with the same pixels and class, and of those that have no
        object of their class with an IoU of at least 0.5.
    """
    both = (found.ids > 0) & (expected.ids > 0)
    count = len(found.class_id) + 1
    pairs, shared = np.unique(
        expected.ids[both].astype(np.int64) * count + found.ids[both], return_counts=True
    )
    ours, theirs = pairs // count - 1, pairs % count - 1
    iou = shared / (expected.pixels[ours] + found.pixels[theirs] - shared)
    iou[expected.class_id[ours] != found.class_id[theirs]] = 0
    best = np.zeros(len(expected.class_id))
    np.maximum.at(best, ours, iou)
    return int((best < 1).sum()), int((best < _SAME).sum())


@dataclass(frozen=True, slots=True)
class _Run:
    labels: NDArray[np.uint8]
    """(h, w) class IDs."""

    objects: Objects | None
    """None for a model without object outputs."""

    forward: int
    """Pixels that passed through the network."""

    seconds: float


def _predict(reader: TileReader, model: Model, predictor: Predictor, margin: int) -> _Run:
    core = round_up(_CORE, model.card.stride)
    start = perf_counter()
    tiles = choose_tiles(reader.width, reader.height, model, core=core, margin=margin)
    rules, legend = model.card.objects, model.card.legend
    shape = reader.info.height, reader.info.width
    planes = np.full((2 if rules is None else 3, *shape), IGNORE, np.uint8)
    for prediction in predict_tiles(predictor, map(reader.read, tiles)):
        if prediction is not None:
            planes[:, *prediction.window.toslices()] = prediction.planes
    forward = sum(tile.window.width * tile.window.height for tile in tiles)
    seconds = perf_counter() - start
    objects = None
    if rules is not None:
        objects = decode_objects(planes[0], planes[2], rules, legend.countable, across_classes=True)
    return _Run(planes[0], objects, forward, seconds)


def _add_run(trial: MarginTrial, run: _Run, exact: _Run) -> MarginTrial:
    """Add the run of one scene to a trial."""
    valid = exact.labels != IGNORE
    changed, lost, count = 0, 0, 0
    if run.objects is not None and exact.objects is not None:
        changed, lost = compare_objects(run.objects, exact.objects)
        count = len(exact.objects.class_id)
    return replace(
        trial,
        pixels=trial.pixels + int(np.count_nonzero(valid)),
        changed=trial.changed + int(np.count_nonzero((run.labels != exact.labels) & valid)),
        ratio=trial.ratio + run.forward,
        seconds=trial.seconds + run.seconds,
        objects=trial.objects + count,
        objects_changed=trial.objects_changed + changed,
        objects_lost=trial.objects_lost + lost,
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
            margins=tuple(map(_card_entry, trials)),
        )

    card = write_card(model, add_margins)
    log.info("%s: the default margin is now %d pixels", model.path, card.margin)


def _card_entry(trial: MarginTrial) -> dict[str, float]:
    entry: dict[str, float] = {
        "margin": trial.margin, "changed": trial.share, "pixels": trial.pixels
    }  # fmt: skip
    if trial.objects:
        entry |= {
            "objects": trial.objects,
            "objects_changed": trial.objects_changed / trial.objects,
            "objects_lost": trial.objects_lost / trial.objects,
        }
    return entry


def _format_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _one_in(changed: int, count: int) -> str:
    return f"1 in {count / changed:,.0f}" if changed else "none"
