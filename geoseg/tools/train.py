"""Train a network on a dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg._version import __version__
from geoseg.errors import ConfigError, ModelError, OutputError
from geoseg.files import check_output
from geoseg.inference.tiling import default_margin
from geoseg.models.model_file import ModelCard, save_model
from geoseg.models.receptive_field import context
from geoseg.models.runtime import choose_device
from geoseg.progress import Track, silent
from geoseg.report.figures import plot_curves
from geoseg.training.config import TrainConfig
from geoseg.training.distributed import own_device, processes
from geoseg.training.log import Board, write_log
from geoseg.training.trainer import Run

log = logging.getLogger(__name__)


_MOST_READERS = 16


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run leaves."""

    model: Path
    log: Path
    curves: Path

    miou: float
    """Best mean IoU, without background, over the validation windows, 0 to 1."""


def train(
    config: TrainConfig,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 0,
    tensorboard: Path | None = None,
    track: Track = silent,
) -> TrainResult:
    """Train as `config` says and write the best model to `output` (``.safetensors``).

    Beside it lie ``NAME.log.jsonl`` and the same as ``.csv``, ``NAME.curves.png`` and, until the run is
    finished, ``NAME.checkpoint.safetensors``, from which `resume` continues to the same weights as if the
    run had never stopped. `threads` read windows (default: `most_readers`) or, for a GPU that is faster than
    one process can read, so many `workers`, processes of their own, for which a script must guard its start
    by ``if __name__ == "__main__":``; both give the same windows in the same order. `tensorboard` is a folder
    for TensorBoard's event files. Under torchrun its processes share the run, and the first of them writes.
    Raises ConfigError, DatasetError, ModelError, OutputError.
    """
    checkpoint = _check(output, resume=resume, overwrite=overwrite)
    own = own_device(choose_device(device))
    with processes(own) as shared, ExitStack() as stack:
        run = Run(config, own, shared, threads=threads or most_readers(), workers=workers)
        if resume:
            run.restore(checkpoint)
        if shared.leads and not config.card.terms and (terms := _terms(run)):
            log.warning(
                "network.pretrained: the terms of that model hold for this one too (%s). "
                "if others do, say so in [card] terms",
                terms,
            )
        board = Board(tensorboard, step=run.learner.step) if tensorboard and shared.leads else None
        if board:
            stack.callback(board.close)

        def keep() -> None:
            if shared.leads:
                run.checkpoint().save(checkpoint)
                write_log(output, run.history)
            if board:
                board.tell(run.history)

        _learn(run, keep, track if shared.leads else silent)
        result = TrainResult(
            output, output.with_suffix(".log.jsonl"), output.with_suffix(".curves.png"), -1.0
        )
        if not shared.leads:
            return replace(result, miou=run.best_miou)
        run.put_shares_right()
        assert run.best is not None  # the last step validates
        write_log(output, run.history)
        if board:
            board.tell(run.history)
        plot_curves(run.history, result.curves)
        save_model(output, run.best, _card(run), overwrite=overwrite)
        checkpoint.unlink(missing_ok=True)
        return replace(result, miou=run.best_miou)


def _check(output: Path, *, resume: bool, overwrite: bool) -> Path:
    """The path of the checkpoint, if all may begin."""
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output}: a model's name ends in .safetensors. rename it")
    check_output(output, overwrite=overwrite)
    checkpoint = output.with_suffix(".checkpoint.safetensors")
    if resume and not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: no checkpoint to go on from. start without --resume")
    if checkpoint.is_file() and not resume and not overwrite:
        raise OutputError(
            f"{checkpoint}: holds an interrupted run. go on with --resume, or use --overwrite"
        )
    return checkpoint


def _learn(run: Run, keep: Callable[[], None], track: Track) -> None:
    """Every step that is left."""
    training = run.config.training
    left = training.steps - run.learner.step
    with run.steps() as steps:
        try:
            for parts in track(steps, run.standing, total=left):
                if run.finished:
                    log.info("no better mIoU in %d validations: finished", training.patience)
                    break
                run.advance(parts)
                if run.learner.step % training.checkpoint_every == 0:
                    keep()
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C; SIGTERM becomes a SystemExit
            if run.settled:  # else what the last checkpoint says is the last that is whole
                keep()
            log.warning("stopped at step %d. go on with --resume", run.learner.step)
            raise


def usual_workers(device: str, threads: int | None = None) -> int:
    """How many workers read windows where nobody says it: `most_readers` for a GPU, none for a CPU, nor where
    `threads` are asked for."""
    return most_readers() if threads is None and choose_device(device) == "cuda" else 0


def most_readers() -> int:
    """As many as there are cores, at most 16, shared among the processes of a run."""
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MOST_READERS, (os.cpu_count() or 1) // together))


def _card(run: Run) -> ModelCard:
    dataset, network, card = run.dataset, run.config.network, run.config.card
    reach = context(run.learner.network, bands=dataset.bands, stride=run.stride)
    return ModelCard(
        architecture=network.architecture,
        parameters=network.parameters,
        legend=dataset.legend,
        bands=dataset.bands,
        dtype=dataset.dtype,
        mean=run.scaling.mean,
        std=run.scaling.std,
        stride=run.stride,
        margin=default_margin(reach, run.stride),
        context=reach,
        pixel_size_m=_pixel_sizes(run) or card.pixel_size_m,
        training={
            **card.model_dump(mode="json", exclude={"pixel_size_m"}, exclude_defaults=True),
            **({"terms": terms} if (terms := _terms(run)) else {}),
            **({"ancestor": run.ancestor} if run.ancestor else {}),
            "geoseg": __version__,
            "date": datetime.now(UTC).date().isoformat(),
            "configuration": _configuration(run),
            "layer": run.layer,
            "scenes": len(dataset.split("train")),
            "steps": run.learner.step,
            "hours": round(run.seconds / 3600, 3),
            "logit_shifts": run.shifts,
        },
        scores={"validation_windows": {"miou": round(run.best_miou, 4), "truth": run.layer}},
    )


def _terms(run: Run) -> str | None:
    """Under which the model may be used: its own, or those of the model that it went on from."""
    return run.config.card.terms or (run.ancestor or {}).get("terms")


def _configuration(run: Run) -> dict[str, Any]:
    """Of files of the user's only the names."""
    told = run.configuration
    if start := told["network"]["pretrained"]:
        told["network"]["pretrained"] = Path(start).name
    return told


def _pixel_sizes(run: Run) -> tuple[float, float] | None:
    sizes = [scene.pixel_size_m for scene in run.dataset.split("train") if scene.pixel_size_m]
    return (min(sizes), max(sizes)) if sizes else None
