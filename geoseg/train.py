"""Train a network on a dataset."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import geoseg
from geoseg.device import choose_device
from geoseg.engine.tiling import default_margin
from geoseg.errors import ConfigError, ModelError, OutputError
from geoseg.files import check_output, write_lines
from geoseg.learn.config import TrainConfig
from geoseg.learn.run import Run
from geoseg.model.file import ModelCard, save_model
from geoseg.model.receptive import context
from geoseg.progress import Track, silent
from geoseg.report.plots import plot_curves

log = logging.getLogger(__name__)


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
    track: Track = silent,
) -> TrainResult:
    """Train as `config` says and write the best model to `output` (``.safetensors``).

    Beside it lie ``NAME.log.jsonl``, ``NAME.curves.png`` and, until the run is finished,
    ``NAME.checkpoint.safetensors``, from which `resume` continues to the same weights as if the run
    had never stopped. Raises ConfigError, DatasetError, ModelError, OutputError.
    """
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
    run = Run(config, choose_device(device))
    log_file = output.with_suffix(".log.jsonl")
    if resume:
        run.restore(checkpoint)

    def keep() -> None:
        run.checkpoint().save(checkpoint)
        write_lines(log_file, run.history)

    left = config.training.steps - run.learner.step
    with run.batches() as batches:
        try:
            for samples in track(batches, run.standing, total=left):
                run.advance(samples)
                if run.learner.step % config.training.checkpoint_every == 0:
                    keep()
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C; SIGTERM becomes a SystemExit
            if run.settled:  # else what the last checkpoint says is the last that is whole
                keep()
            log.warning("stopped at step %d. go on with --resume", run.learner.step)
            raise
    run.put_shares_right()
    assert run.best is not None  # the last step validates
    write_lines(log_file, run.history)
    curves = plot_curves(run.history, output.with_suffix(".curves.png"))
    save_model(output, run.best, _card(run), overwrite=overwrite)
    checkpoint.unlink(missing_ok=True)
    return TrainResult(output, log_file, curves, run.best_miou)


def _card(run: Run) -> ModelCard:
    dataset, network, extra = run.dataset, run.config.network, dict(run.config.card)
    reach = context(run.learner.network, bands=dataset.bands, stride=run.stride)
    return ModelCard(
        architecture=network.architecture,
        parameters=network.parameters,
        legend=dataset.legend,
        bands=dataset.bands,
        dtype=dataset.dtype,
        mean=run.mean,
        std=run.std,
        stride=run.stride,
        margin=default_margin(reach, run.stride),
        context=reach,
        pixel_size_m=extra.pop("pixel_size_m", None) or _pixel_sizes(run),
        training={
            **extra,
            "geoseg": geoseg.__version__,
            "date": datetime.now(UTC).date().isoformat(),
            "configuration": run.configuration,
            "layer": run.layer,
            "scenes": len(dataset.split("train")),
            "steps": run.learner.step,
            "hours": round(run.seconds / 3600, 3),
            "logit_shifts": run.shifts,
        },
        scores={"validation_windows": {"miou": round(run.best_miou, 4), "truth": run.layer}},
    )


def _pixel_sizes(run: Run) -> tuple[float, float] | None:
    sizes = [scene.pixel_size_m for scene in run.dataset.split("train") if scene.pixel_size_m]
    return (min(sizes), max(sizes)) if sizes else None
