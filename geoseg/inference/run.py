"""Prediction of a scene: read ahead, predict, write behind; tiles in the journal are not predicted again."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rasterio.io import DatasetWriter
from rasterio.windows import Window

from geoseg.concurrency import batched, map_buffered
from geoseg.inference.journal import Journal, JournalEntry, open_journal
from geoseg.inference.plan import ScenePlan
from geoseg.inference.predictor import (
    ModelSpec,
    Prediction,
    Predictor,
    create_predictor,
    predict_tiles,
)
from geoseg.inference.preflight import log_preflight
from geoseg.inference.reader import OpenScenes, SceneSpec, TileReader
from geoseg.legend import Legend
from geoseg.models.model_file import ModelCard
from geoseg.polygons.object_rules import rule_tags
from geoseg.polygons.styles import raster_colormap
from geoseg.progress import Track, silent
from geoseg.raster.cog import create_working_raster
from geoseg.raster.labels import legend_tags, pixel_size_tags
from geoseg.raster.scene import gdal_env
from geoseg.raster.tiles import Tile

LABELS, CONFIDENCE, INTERIOR = "labels", "confidence", "interior"
UNCERTAINTY, PROBABILITIES = "uncertainty", "probabilities"

_BATCHES_AHEAD = 16
"""Batches submitted to an executor before the first result is awaited."""

_EMPTY = Window(0, 0, 0, 0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a worker of an executor needs to predict tiles: plain data."""

    scene: SceneSpec

    model: ModelSpec

    identity: str
    """Changes when the content of scene or model does."""


def predict_scene(
    plan: ScenePlan,
    reader: TileReader,
    predictor: Predictor,
    folder: Path,
    *,
    card: ModelCard,
    output: Path,
    batch_size: int = 1,
    executor: Executor | None = None,
    track: Track = silent,
) -> dict[str, Path]:
    """Predict a scene into rasters on its own grid, and resume from the journal of an interrupted run.

    Parameters
    ----------
    plan
        The scene and its tiles.
    reader
        Reader of the scene.
    predictor
        Computes the predictions unless there is an `executor`.
    folder
        Folder of intermediate results; rasters and journal go to a folder of the scene in it.
    card
        Card of the model.
    output
        Product that messages name.
    batch_size
        Tiles per forward pass.
    executor
        Predicts on its workers (threads, processes, a cluster); each opens scene and model once.
    track
        Progress.

    Returns
    -------
    dict
        Paths of the rasters: labels, confidence, and interior, uncertainty and probabilities if the plan has them.

    Raises
    ------
    SceneError
        If the scene is damaged.
    OutputError
        If the rasters cannot be written.
    ConfigError
        If the journal belongs to other settings, or the memory does not suffice.
    """
    work = folder / plan.key
    work.mkdir(exist_ok=True)
    bands = _raster_bands(plan.spec, card.legend)
    with ExitStack() as stack:
        journal = stack.enter_context(
            open_journal(work / "journal", plan.dependencies, output=output)
        )
        rasters = _create_rasters(stack, plan, work, bands, card)
        done, has_data = _restore(journal, rasters)
        if done:
            log.info(
                "%s: %d of %d tiles are in the journal already",
                *(plan.name, len(done), len(plan.tiles)),
            )
        pending = {
            number: tile
            for number, tile in enumerate(plan.tiles)
            if number not in done and reader.intersects_area(tile)
        }
        tiles = list(pending.values())
        log_preflight(plan, reader, tiles, None if executor else predictor)
        writer = stack.enter_context(single_thread())
        if executor is None:
            predictions = stack.enter_context(
                predict_locally(reader, predictor, tiles, batch_size=batch_size)
            )
        else:
            task = WorkerTask(plan.scene, plan.spec, json.dumps(plan.dependencies))
            predictions = predict_by_executor(executor, task, tiles, batch_size=batch_size)
        numbered = zip(pending, predictions, strict=True)
        stored = map_buffered(writer, partial(_store, journal, rasters), numbered)
        for found in track(stored, "segment", total=len(pending)):
            has_data |= found
    if not has_data:
        log.warning("%s: no valid pixel, so the products are empty", plan.info.path)
    return {kind: _raster_path(work, kind) for kind in bands}


def predict_rasters(
    plan: ScenePlan,
    reader: TileReader,
    predictor: Predictor,
    folder: Path,
    card: ModelCard,
    *,
    batch_size: int = 1,
    track: Track = silent,
) -> dict[str, Path]:
    """Predict a scene into rasters in `folder`, without a journal, and return their paths by kind."""
    bands = _raster_bands(plan.spec, card.legend)
    with ExitStack() as stack:
        rasters = _create_rasters(stack, plan, folder, bands, card)
        writer = stack.enter_context(single_thread())
        predictions = stack.enter_context(
            predict_locally(reader, predictor, plan.tiles, batch_size=batch_size)
        )
        written = map_buffered(writer, partial(_write_planes, rasters), predictions)
        for _ in track(written, "segment", total=len(plan.tiles)):
            pass
    return {kind: _raster_path(folder, kind) for kind in bands}


@contextmanager
def predict_locally(
    reader: TileReader, predictor: Predictor, tiles: Sequence[Tile], *, batch_size: int = 1
) -> Iterator[Iterator[Prediction | None]]:
    """Provide the predictions of `tiles` in order, while a thread reads the next ones.

    None stands for a tile without data. The thread ends with the context.
    """
    with single_thread() as ahead:
        inputs = map_buffered(ahead, reader.read, tiles)
        yield predict_tiles(predictor, inputs, batch_size=batch_size)


def predict_by_executor(
    executor: Executor, task: WorkerTask, tiles: Sequence[Tile], *, batch_size: int = 1
) -> Iterator[Prediction | None]:
    """Yield the predictions of `tiles` in order, computed by the workers of `executor`."""
    results = map_buffered(
        executor,
        partial(predict_in_worker, task),
        batched(tiles, batch_size),
        depth=_BATCHES_AHEAD,
    )
    for predictions in results:
        yield from predictions


class _WorkerState(threading.local):
    """Scene and model that this thread has open, for the next tiles of the same task."""

    task: WorkerTask | None = None
    scenes: OpenScenes
    predictor: Predictor


_worker = _WorkerState()


def predict_in_worker(task: WorkerTask, tiles: Sequence[Tile]) -> list[Prediction | None]:
    """Predict one batch of tiles on a thread, process or machine with a scene handle of its own."""
    with gdal_env(*task.scene.files):
        if _worker.task != task:
            if _worker.task is not None:
                _worker.scenes.close()
            _worker.task = None
            _worker.scenes, _worker.predictor = OpenScenes(), create_predictor(task.model)
            _worker.scenes.open(task.scene)
            _worker.task = task
        inputs = map(_worker.scenes.reader(task.scene).read, tiles)
        return list(predict_tiles(_worker.predictor, inputs, batch_size=len(tiles)))


@contextmanager
def single_thread() -> Iterator[Executor]:
    """Provide an executor of one thread, so that a dataset is used by one thread only.

    Work that has not begun when the context ends is dropped.
    """
    executor = ThreadPoolExecutor(max_workers=1)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _raster_bands(spec: ModelSpec, legend: Legend) -> dict[str, Sequence[str]]:
    """Return the band names of each raster, in the order of the planes of a prediction."""
    bands: dict[str, Sequence[str]] = {LABELS: ("",), CONFIDENCE: ("",)}
    if spec.objects:
        bands[INTERIOR] = ("",)
    if spec.uncertainty:
        bands[UNCERTAINTY] = ("",)
    if spec.probabilities:
        bands[PROBABILITIES] = legend.names
    return bands


def _raster_path(work: Path, kind: str) -> Path:
    return work / f"{kind}.tif"


def _create_rasters(
    stack: ExitStack,
    plan: ScenePlan,
    work: Path,
    bands: Mapping[str, Sequence[str]],
    card: ModelCard,
) -> list[DatasetWriter]:
    tags = {LABELS: legend_tags(card.legend) | pixel_size_tags(plan.info)}
    if card.objects is not None:
        tags[INTERIOR] = rule_tags(card.objects, card.legend)
    rasters = []
    for kind, names in bands.items():
        path = _raster_path(work, kind)
        path.unlink(missing_ok=True)  # a killed run leaves it in an unknown state
        raster = create_working_raster(
            path,
            plan.info,
            bands=names,
            tags=tags.get(kind),
            colormap=raster_colormap(card.legend) if kind == LABELS else None,
        )
        rasters.append(stack.enter_context(raster))
    return rasters


def _restore(journal: Journal, rasters: Sequence[DatasetWriter]) -> tuple[set[int], bool]:
    """Write the entries of the journal; return their tile numbers, and True if one has data."""
    done, has_data = set(), False
    for entry in journal.read_entries():
        _write_planes(rasters, entry)
        done.add(entry.number)
        has_data |= entry.planes is not None
    return done, has_data


def _store(
    journal: Journal, rasters: Sequence[DatasetWriter], numbered: tuple[int, Prediction | None]
) -> bool:
    """Write a prediction to rasters and journal; return False if it has no data."""
    number, prediction = numbered
    if prediction is None:
        journal.append(JournalEntry(number, _EMPTY, None))
        return False
    entry = JournalEntry(number, prediction.window, prediction.planes)
    _write_planes(rasters, entry)
    journal.append(entry)
    return True


def _write_planes(
    rasters: Sequence[DatasetWriter], predicted: JournalEntry | Prediction | None
) -> None:
    """Write planes to the bands of the rasters, in order."""
    if predicted is None or predicted.planes is None:
        return
    first = 0
    for raster in rasters:
        raster.write(predicted.planes[first : first + raster.count], window=predicted.window)
        first += raster.count
