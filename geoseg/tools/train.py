"""Train a network on a dataset."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from geoseg._version import __version__
from geoseg.errors import ConfigError, ModelError, OutputError
from geoseg.files import check_output
from geoseg.inference.tiling import default_margin
from geoseg.models.model_file import ModelCard, save_model
from geoseg.models.receptive_field import measure_context
from geoseg.models.runtime import choose_device
from geoseg.options import PIXEL_SIZES_M, StrPath, TrainOptions
from geoseg.polygons.object_rules import ObjectRule, ObjectRules, default_rules
from geoseg.progress import Track, silent
from geoseg.report.figures import plot_curves
from geoseg.training.config import TrainConfig
from geoseg.training.distributed import connect_processes, local_device
from geoseg.training.inheritance import range_pixel_sizes
from geoseg.training.log import TensorBoardLog, write_log
from geoseg.training.run import TrainingRun

log = logging.getLogger(__name__)

_MAX_READERS = 16


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Files of a training run, and its score."""

    model: Path
    log: Path
    curves: Path

    miou: float
    """Best mean IoU, without background, on the validation windows, 0 to 1."""


def train(
    config: TrainConfig,
    output: StrPath,
    *,
    options: TrainOptions = TrainOptions(),
    device: str = "auto",
    track: Track = silent,
) -> TrainResult:
    """Train a model and write it to a file.

    Parameters
    ----------
    config
        Configuration, see `geoseg.training.config.read_config`.
    output
        Model file, ``.safetensors``. Next to it are written ``NAME.log.jsonl`` and ``.csv``, ``NAME.curves.png``
        and, until the run is finished, ``NAME.checkpoint.safetensors``.
    options
        Products, existing ones and interrupted runs, and how windows are read. A resumed run ends with the
        same weights as an uninterrupted one. Here, unlike on the command line, ``workers=None`` starts no
        processes: a script that sets `workers` must guard its start by ``if __name__ == "__main__":``.
        The windows and their order do not depend on `threads` and `workers`.
    device
        auto, cpu, cuda or mps.
    track
        Wrapper of the steps that reports progress.

    Raises
    ------
    ConfigError, DatasetError, ModelError
        If configuration, dataset, initial weights or checkpoint do not fit.
    OutputError
        If the model exists or cannot be written.

    Notes
    -----
    Under torchrun, its processes share the run and the first of them writes.
    """
    model = Path(output)
    checkpoint = check_files(model, options)
    own_device = local_device(choose_device(device))
    with connect_processes(own_device) as processes, ExitStack() as stack:
        run = stack.enter_context(
            closing(
                TrainingRun(
                    config,
                    own_device,
                    processes,
                    threads=options.threads or max_readers(),
                    workers=options.workers or 0,
                )
            )
        )
        if options.resume:
            run.restore(checkpoint)
        if processes.is_leader:
            _warn_of_terms(run)
        board = None
        if options.tensorboard is not None and processes.is_leader:
            board = TensorBoardLog(Path(options.tensorboard), step=run.trainer.step)
            stack.callback(board.close)
        save = partial(_save_state, run, model, checkpoint, board)
        stop_file = None if options.stop_file is None else Path(options.stop_file)
        _train_steps(run, save, checkpoint, stop_file, track if processes.is_leader else silent)
        result = TrainResult(
            model, model.with_suffix(".log.jsonl"), model.with_suffix(".curves.png"), run.best_miou
        )
        if not processes.is_leader:
            return result
        if options.keep_checkpoint:
            save()
        _write_products(run, result, board, overwrite=options.overwrite)
        if not options.keep_checkpoint:
            checkpoint.unlink(missing_ok=True)
        return replace(result, miou=run.best_miou)


def default_workers(device: str, threads: int | None = None) -> int:
    """Return the default number of worker processes: `max_readers` for a GPU; 0 for a CPU, or if `threads` is set."""
    return max_readers() if threads is None and choose_device(device) == "cuda" else 0


def max_readers() -> int:
    """Return the number of CPU cores, at most 16, divided among the processes of a run."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MAX_READERS, (os.cpu_count() or 1) // processes))


def check_files(output: Path, options: TrainOptions) -> Path:
    """Check that a run may start, and return the path of its checkpoint.

    Raises
    ------
    ConfigError, ModelError, OutputError
        If it may not.
    """
    resume, overwrite = options.resume, options.overwrite
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output}: a model file ends in .safetensors. Rename it")
    check_output(output, overwrite=overwrite)
    checkpoint = output.with_suffix(".checkpoint.safetensors")
    if resume and not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: no checkpoint to resume from. Start without --resume")
    if checkpoint.is_file() and not resume and not overwrite:
        raise OutputError(
            f"{checkpoint}: belongs to an interrupted run. Continue it with --resume, or pass --overwrite"
        )
    return checkpoint


def _train_steps(
    run: TrainingRun,
    save: Callable[[], None],
    checkpoint: Path,
    stop_file: Path | None,
    track: Track,
) -> None:
    """Train all remaining steps, and save checkpoints."""
    training = run.config.training
    is_stopped = None if stop_file is None else stop_file.exists
    with run.load_steps() as steps:
        try:
            for batches in track(steps, run.progress_text, total=run.remaining_steps):
                if run.is_finished:
                    if run.has_stalled:
                        log.info(
                            "stopped early: no better mIoU in %d validations", training.patience
                        )
                    break
                with defer_interrupt():
                    run.train_step(batches, is_stopped=is_stopped)
                if run.trainer.step % training.checkpoint_every == 0:
                    save()
        except (KeyboardInterrupt, SystemExit):  # SIGTERM raises SystemExit
            if run.between_steps:  # else the last checkpoint is the last consistent state
                save()
            if checkpoint.is_file():
                log.warning("interrupted at step %d. Continue with --resume", run.trainer.step)
            raise


@contextmanager
def defer_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt for a Ctrl-C in the block when that ends; a second Ctrl-C raises it at once."""
    before = signal.getsignal(signal.SIGINT)
    if current_thread() is not main_thread() or before is not signal.default_int_handler:
        yield
        return
    received = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            signal.default_int_handler(number, frame)
        received = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt


def _save_state(
    run: TrainingRun, model: Path, checkpoint: Path, board: TensorBoardLog | None
) -> None:
    if run.processes.is_leader:
        run.checkpoint().save(checkpoint)
        write_log(model, run.history)
    if board:
        board.write(run.history)


def _write_products(
    run: TrainingRun, result: TrainResult, board: TensorBoardLog | None, *, overwrite: bool
) -> None:
    run.interpolate_weights()
    run.adjust_logits()
    assert run.best is not None  # the last step validates
    write_log(result.model, run.history)
    if board:
        board.write(run.history)
    plot_curves(run.history, result.curves)
    save_model(result.model, run.best, _make_card(run), overwrite=overwrite)


def _make_card(run: TrainingRun) -> ModelCard:
    dataset, network, card = run.dataset, run.config.network, run.config.card
    assert network.architecture is not None
    reach = _find_context(run)
    return ModelCard(
        architecture=network.architecture,
        parameters=network.parameters or {},
        legend=dataset.legend,
        bands=dataset.bands,
        dtype=dataset.dtype,
        band_names=dataset.band_names,
        statistics=dataset.statistics,
        mean=run.scaling.mean,
        std=run.scaling.std,
        stride=run.stride,
        margin=default_margin(reach, run.stride),
        context=reach,
        pixel_size_m=range_pixel_sizes(_range_pixel_sizes(run) or card.pixel_size_m, run.parent),
        training=_describe_training(run),
        objects=_choose_rules(run) if run.has_objects else None,
        scores={"validation_windows": {"miou": round(run.best_miou, 4), "truth": run.layer}},
    )


def _find_context(run: TrainingRun) -> int | None:
    """Return the receptive field: that of the parent, if it is the same network, else a measured one."""
    network, parent = run.config.network, run.parent
    same = (network.architecture, network.parameters)
    if parent and parent.context is not None and (parent.architecture, parent.parameters) == same:
        return parent.context
    log.info("measuring the receptive field")
    return measure_context(run.trainer.network, bands=run.dataset.bands, stride=run.stride)


def _choose_rules(run: TrainingRun) -> ObjectRules:
    """Return the object rules of the parent's classes of the same names, and the default ones of new classes."""
    parent, legend = run.parent, run.dataset.legend
    if parent is None or parent.objects is None:
        return default_rules(len(legend))
    known = dict(zip(parent.legend.names, parent.objects.rules, strict=True))
    rules = tuple(known.get(name, ObjectRule()) for name in legend.names)
    return ObjectRules(rules, reach=parent.objects.reach)


def _describe_training(run: TrainingRun) -> dict[str, Any]:
    """Return the card's entries about data, terms and recipe."""
    card = run.config.card
    return {
        **card.model_dump(mode="json", exclude={"pixel_size_m"}, exclude_defaults=True),
        **({"terms": terms} if (terms := _find_terms(run)) else {}),
        **({"ancestor": run.ancestor} if run.ancestor else {}),
        "geoseg": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "configuration": _public_configuration(run),
        "layer": run.layer,
        "scenes": len(run.scenes),
        "steps": run.trainer.step,
        "hours": round(run.seconds / 3600, 3),
        "logit_shifts": run.logit_shifts,
    }


def _find_terms(run: TrainingRun) -> str | None:
    """Return the terms of use: the configured ones, or those of the model that the run started from."""
    return run.config.card.terms or (run.ancestor or {}).get("terms")


def _warn_of_terms(run: TrainingRun) -> None:
    if not run.config.card.terms and (terms := _find_terms(run)):
        log.warning(
            "network.pretrained: the terms of that model also apply to this one (%s). "
            "Set [card] terms if other terms apply",
            terms,
        )


def _public_configuration(run: TrainingRun) -> dict[str, Any]:
    """Return the configuration with the name instead of the path of the initial weights."""
    configuration = run.configuration
    if start := configuration["network"]["pretrained"]:
        configuration["network"]["pretrained"] = Path(start).name
    return configuration


def _range_pixel_sizes(run: TrainingRun) -> tuple[float, float] | None:
    low, high = PIXEL_SIZES_M
    sizes = [s.pixel_size_m for s in run.scenes if s.pixel_size_m and low <= s.pixel_size_m <= high]
    return (min(sizes), max(sizes)) if sizes else None
