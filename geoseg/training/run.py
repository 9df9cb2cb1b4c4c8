"""A training run: dataset, trainer, validation and history, which can be checkpointed and resumed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from os import PathLike
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.errors import ConfigError
from geoseg.metrics.confusion import Scores
from geoseg.models.architectures import build
from geoseg.models.pretrained import load_pretrained
from geoseg.progress import format_duration
from geoseg.training.checkpoint import (
    Checkpoint,
    complete_configuration,
    describe_configuration,
    list_differences,
)
from geoseg.training.class_weights import class_weights
from geoseg.training.config import TrainConfig
from geoseg.training.distillation import Distillation
from geoseg.training.distributed import Processes
from geoseg.training.inheritance import inherit_settings, read_parent
from geoseg.training.loading import (
    Batch,
    choose_scaling,
    load_batches,
    read_in_processes,
    read_in_threads,
)
from geoseg.training.log import LogLine
from geoseg.training.logit_adjustment import fit_logit_shifts
from geoseg.training.sampler import build_sampler, log_sampling
from geoseg.training.trainer import Tensors, Trainer, copy_tensors, learning_rate
from geoseg.training.validation import (
    EvenWindows,
    WindowScores,
    choose_margin,
    score_network,
)
from geoseg.training.windows import choose_layer, open_dataset, open_split

_CHANGEABLE = (
    "training.steps:",
    "training.minutes:",
    "training.validate_every:",
    "training.checkpoint_every:",
    "loss.logit_adjustment_windows:",
)
"""Settings that may change when a run is resumed."""

_KEPT_SCORE = 0.97
"""Fraction of the best validation mIoU that a mean with the initial weights has at least."""

_LOG_EVERY = 10  # steps
_SMOOTHED_LOSSES = 50  # steps over which the logged loss is averaged

log = logging.getLogger(__name__)


class TrainingRun:
    """State of a run between two steps.

    Parameters
    ----------
    config
        Configuration of the run.
    device
        Device of the network.
    processes
        Processes that share the run; None: this one alone.
    threads
        Threads that read windows.
    workers
        Processes that read windows instead of threads; 0: none.

    Raises
    ------
    ConfigError, DatasetError, ModelError
        If configuration, dataset and initial weights do not fit.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: str,
        processes: Processes | None = None,
        *,
        threads: int = 2,
        workers: int = 0,
    ) -> None:
        self.processes = processes or Processes()
        self._threads, self._workers = threads, workers
        self.dataset = open_dataset(config.data)
        self.parent = read_parent(config.network)
        """Card of the geoseg model that the run starts from, or None."""
        self.config = config = inherit_settings(config, self.dataset, self.parent)
        self.layer = choose_layer(config.data, self.dataset)
        self._train = open_split(config.data, self.dataset, "train")
        network, self.ancestor = build_network(config, self.dataset)
        self.has_objects = bool(getattr(network, "object_outputs", ()))
        """True if the network has object outputs."""
        self.sampler = build_sampler(config, self._train, objects=self.has_objects)
        if self.processes.is_leader:
            log_sampling(self.sampler, config.data)
        self.scaling = choose_scaling(config.network, self.dataset, self.sampler)
        self.stride = int(network.stride)  # type: ignore[arg-type]
        self._val = open_split(config.data, self.dataset, "val")
        self._validation = EvenWindows(
            self._val,
            self.scaling,
            size=config.data.window,
            most=config.training.validation_windows,
            device=device,
            objects=self.has_objects,
            margin=choose_margin(config.data.window, self.stride),
            stride=self.stride,
        )
        weights = compute_class_weights(config, self.dataset)
        if self.processes.is_leader:
            log_class_weights(config, self.dataset, weights)
        self._initial: Tensors = {}
        names = self.dataset.legend.names
        if (
            config.training.interpolation
            and self.parent
            and set(names) <= {*self.parent.legend.names}
        ):
            self._initial = copy_tensors(network.state_dict(), "cpu")
        distillation = self._load_distillation(device)
        self.trainer = Trainer(network, weights, config, device, self.processes, distillation)
        self.best: Tensors | None = None
        """Averaged weights of the best validation."""
        self.best_miou = -1.0
        self.logit_shifts: dict[str, float] = {}
        """By class, after `adjust_logits`."""
        self.history: list[LogLine] = []
        self.seconds = 0.0
        """Time spent in steps and validations."""
        self.between_steps = True
        """False during a step, when `checkpoint` would return an inconsistent state."""
        self.losses: deque[float] = deque(maxlen=_SMOOTHED_LOSSES)
        self._validations_since_best = 0
        self._started, self._first_step = monotonic(), 0
        self._earlier_seconds, self._is_over = 0.0, False

    @property
    def scenes(self) -> Sequence[DatasetScene]:
        """Scenes that are trained on."""
        return self._train.scenes

    @property
    def configuration(self) -> dict[str, Any]:
        """Settings that determine the weights, as JSON data."""
        return describe_configuration(self.config, self.processes.count)

    @property
    def elapsed(self) -> float:
        """Seconds since the start, waiting for windows included, of this run and of those that it resumes."""
        return self._earlier_seconds + monotonic() - self._started

    @property
    def remaining_steps(self) -> int | None:
        """Number of steps until the end; None if the run is limited by time."""
        training = self.config.training
        return None if training.minutes else training.steps - self.trainer.step

    @property
    def is_finished(self) -> bool:
        """True after the last step, a requested stop, or `patience` validations without a better mIoU."""
        remaining = self.remaining_steps
        out_of_steps = remaining is not None and remaining <= 0
        return self._is_over or out_of_steps or self.has_stalled

    @property
    def has_stalled(self) -> bool:
        """True after `patience` validations without a better mIoU."""
        return 0 < self.config.training.patience <= self._validations_since_best

    def progress_text(self) -> str:
        """Return loss, best mIoU and remaining time."""
        if not self.losses:
            return "train"
        best = f", mIoU {100 * self.best_miou:.1f} %" if self.best is not None else ""
        minutes = self._estimate_minutes()
        left = f", {format_duration(60 * minutes)} left" if minutes else ""
        return f"train, loss {np.mean(self.losses):.3f}{best}{left}"

    def _estimate_minutes(self) -> float:
        """Return the remaining minutes, 0 if unknown."""
        if limit := self.config.training.minutes:
            return max(0.0, limit - self.elapsed / 60)
        done = self.trainer.step - self._first_step
        seconds = (monotonic() - self._started) / done if done else 0.0
        return (self.config.training.steps - self.trainer.step) * seconds / 60

    @contextmanager
    def load_steps(self) -> Iterator[Iterator[Sequence[Batch]]]:
        """Yield an iterator of the batches of each remaining step, loaded ahead."""
        training = self.config.training
        first = self.trainer.step
        steps: Iterable[int] = count(first) if training.minutes else range(first, training.steps)
        numbers = (
            batch
            for step in steps
            for batch in self.processes.sample_numbers(
                step, training.batch_size, training.accumulate
            )
        )
        self._earlier_seconds, self._started = self.elapsed, monotonic()
        self._first_step = self.trainer.step
        reading = (
            read_in_processes(self.config, self._workers, objects=self.has_objects)
            if self._workers
            else read_in_threads(self.sampler, self._threads)
        )
        with (
            reading as submit,
            load_batches(submit, numbers, self.scaling, device=self.trainer.device) as batches,
        ):
            yield zip(*[batches] * training.accumulate, strict=True)

    def train_step(
        self, batches: Sequence[Batch], *, is_stopped: Callable[[], bool] | None = None
    ) -> None:
        """Train on the batches of one step, validate if it is due, and extend the history.

        Parameters
        ----------
        batches
            Batches of the step.
        is_stopped
            Returns True to end the run after this step. All processes follow the first.
        """
        started = monotonic()
        self.between_steps = False
        training, trainer = self.config.training, self.trainer
        done = self._share_time()
        rate = learning_rate(trainer.step, training, done)
        self.losses.append(trainer.train_step(batches, done))
        time_is_over = done is not None and done >= 1
        self._is_over = time_is_over or (is_stopped is not None and self._share_flag(is_stopped()))
        is_last = self._is_over or self.remaining_steps == 0
        due = is_last or trainer.step % training.validate_every == 0
        scores = self.validate() if due else None
        self.seconds += monotonic() - started
        if scores is not None or trainer.step % _LOG_EVERY == 0:
            self.history.append(self._log_line(rate, scores))
        self.between_steps = True

    def _share_time(self) -> float | None:
        """Return the fraction of the time that is over, the same in all processes; None without a time limit."""
        limit = self.config.training.minutes
        if limit is None:
            return None
        done = torch.tensor(min(1.0, self.elapsed / (60 * limit)), device=self.trainer.device)
        self.processes.broadcast([done])
        return done.item()

    def _share_flag(self, flag: bool) -> bool:
        """Return the flag of the first process."""
        shared = torch.tensor(float(flag), device=self.trainer.device)
        self.processes.broadcast([shared])
        return bool(shared.item())

    def validate(self) -> WindowScores:
        """Score the averaged weights on the validation windows, and keep the best."""
        network = self.trainer.averaged_network()
        scores = self.score(network, self.processes)
        self._validations_since_best += 1
        if (miou := _mean_iou(scores.labels)) > self.best_miou:
            self.best_miou, self.best = miou, copy_tensors(network.state_dict(), "cpu")
            self._validations_since_best = 0
        return scores

    def score(self, network: nn.Module, processes: Processes) -> WindowScores:
        """Score a network on the validation windows."""
        classes = len(self.dataset.legend)
        return score_network(network, self._validation, classes=classes, processes=processes)

    def _load_distillation(self, device: str) -> Distillation | None:
        """Load the model that the run starts from as a teacher, if it is a geoseg model."""
        source, bands = self.config.network.pretrained, self.dataset.bands
        if source is None or self.parent is None or not self.config.loss.distillation:
            return None
        theirs = self.parent.legend
        teacher = build(self.parent.architecture, bands, len(theirs), self.parent.parameters)
        load_pretrained(teacher, source, band_names=self.dataset.band_names, legend=theirs)
        return Distillation(
            teacher,
            theirs,
            self.dataset.legend,
            objects=self.has_objects and self.parent.objects is not None,
            device=device,
            reduce=self.processes.reduce_sum,
        )

    def interpolate_weights(self) -> None:
        """Replace the best weights by a mean with the initial ones, see `TrainingSection.interpolation`."""
        if self.best is None or not self._initial:
            return
        scores: dict[float, float] = {}
        for alpha in sorted(self.config.training.interpolation):
            network = self.trainer.network_with(self._interpolate(self.best, alpha))
            scores[alpha] = _mean_iou(self.score(network, Processes()).labels)
        enough = _KEPT_SCORE * max(scores.values())
        chosen = next(alpha for alpha, miou in scores.items() if miou >= enough)
        self.best, self.best_miou = self._interpolate(self.best, chosen), scores[chosen]
        listed = ", ".join(f"{alpha:g} {100 * miou:.1f} %" for alpha, miou in scores.items())
        log.info("validation mIoU by the weight of the trained model: %s; used %g", listed, chosen)

    def _interpolate(self, trained: Tensors, alpha: float) -> Tensors:
        """Return ``α trained + (1 - α) initial`` weights."""
        return {
            name: torch.lerp(self._initial[name], tensor.cpu(), alpha)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in trained.items()
        }

    def adjust_logits(self) -> None:
        """Adjust the logits of the best weights on training windows, and score them again."""
        most = self.config.loss.logit_adjustment_windows
        if self.best is None or "head.bias" not in self.best or not most:
            return
        log.info("adjusting the logits on training windows")
        network = self.trainer.network_with(self.best)
        windows = EvenWindows(
            self._train,
            self.scaling,
            size=self.config.data.window,
            most=most,
            device=self.trainer.device,
            stride=self.stride,
        )
        with windows.load() as batches:
            shifts = fit_logit_shifts(network, batches, len(self.dataset.legend))
        self.best["head.bias"][: len(shifts)] += torch.from_numpy(shifts)
        names = self.dataset.legend.names
        self.logit_shifts = dict(zip(names, shifts.round(2).tolist(), strict=True))
        network.load_state_dict(self.best)
        self.best_miou = _mean_iou(self.score(network, Processes()).labels)

    def checkpoint(self) -> Checkpoint:
        """Return everything that the next step depends on."""
        best = {"best": self.best} if self.best is not None else {}
        facts = {
            "configuration": self.configuration,
            "scenes": [scene.name for scene in self.dataset.scenes],
            "best_miou": self.best_miou,
            "stale": self._validations_since_best,
            "losses": list(self.losses),
            "history": self.history,
            "seconds": self.seconds,
            "elapsed": self.elapsed,
            "ancestor": self.ancestor,
        }
        return Checkpoint(self.trainer.step, {**self.trainer.state(), **best}, facts)

    def restore(self, path: str | PathLike[str]) -> None:
        """Set the state of a checkpoint.

        Raises
        ------
        ConfigError
            If it belongs to a run with other settings. The number of steps, the intervals of validations and
            checkpoints, and logit adjustment may differ.
        ModelError
            If it is not a checkpoint.
        """
        checkpoint = Checkpoint.load(path)
        facts = checkpoint.facts
        changed = list_differences(
            complete_configuration(facts["configuration"]), self.configuration
        )
        if facts["scenes"] != [scene.name for scene in self.dataset.scenes]:
            changed.append("the dataset's scenes")
        if fixed := [change for change in changed if not change.startswith(_CHANGEABLE)]:
            raise ConfigError(
                f"{path}: belongs to a run with other settings ({', '.join(fixed[:5])}). "
                "Restore them, or start again without --resume"
            )
        if changed:
            log.info("resuming with %s", ", ".join(changed))
        self.trainer.restore(checkpoint.step, checkpoint.tensors)
        best = checkpoint.tensors.get("best")
        self.best = copy_tensors(best) if best is not None else None
        self.best_miou, self.seconds = facts["best_miou"], facts["seconds"]
        self._validations_since_best = facts.get("stale", 0)
        self._earlier_seconds = facts.get("elapsed", self.seconds)
        self._started = monotonic()
        self.losses.extend(facts["losses"])
        self.history = facts["history"]
        self.ancestor = facts.get("ancestor", self.ancestor)

    def close(self) -> None:
        """Close the files of the scenes."""
        self._train.close()
        self._val.close()

    def _log_line(self, rate: float, scores: WindowScores | None) -> LogLine:
        line: dict[str, Any] = {
            "step": self.trainer.step,
            "loss": round(float(np.mean(self.losses)), 5),
            "learning_rate": rate,
            "miou": None if scores is None else round(_mean_iou(scores.labels), 5),
            "seconds": round(self.seconds, 1),
        }
        if scores is not None:
            classes = scores.labels.to_json(self.dataset.legend)["classes"]
            line["iou"] = {name: of_class["iou"] for name, of_class in classes.items()}
            if scores.interior is not None:
                line["interior_f1"] = round(float(np.nan_to_num(scores.interior.f1[1])), 5)
        return line


def build_network(config: TrainConfig, dataset: Dataset) -> tuple[nn.Module, dict[str, Any] | None]:
    """Build the network with its initial weights, seeded by the configuration after `inherit_settings`.

    Returns
    -------
    network
        With an integer attribute `stride`.
    ancestor
        Summary of the training of the geoseg model that it starts from, or None.

    Raises
    ------
    ConfigError
        If the window size is not a multiple of the stride.
    ModelError
        If the architecture is unknown, or the initial weights cannot be read.
    """
    torch.manual_seed(config.training.seed)
    settings, window = config.network, config.data.window
    legend, bands = dataset.legend, dataset.bands
    assert settings.architecture is not None
    network = build(settings.architecture, bands, len(legend), settings.parameters or {})
    ancestor = None
    if settings.pretrained:
        ancestor = load_pretrained(
            network, settings.pretrained, band_names=dataset.band_names, legend=legend
        )
    if window % network.stride:  # type: ignore[operator]
        raise ConfigError(
            f"data.window: {window} is not a multiple of the network's stride {network.stride}. "
            "Choose a multiple"
        )
    return network, ancestor


def compute_class_weights(config: TrainConfig, dataset: Dataset) -> NDArray[np.float64]:
    """Compute class weights from the pixel counts of the training split."""
    counts = dataset.layers[choose_layer(config.data, dataset)].splits["train"].pixels
    pixels = [counts.get(name, 0) for name in dataset.legend.names]
    loss = config.loss
    return class_weights(pixels, loss.weights, cap=loss.cap or None, beta=loss.beta)


def log_class_weights(config: TrainConfig, dataset: Dataset, weights: NDArray[np.float64]) -> None:
    """Log the weight of each class."""
    pairs = zip(dataset.legend.names, weights, strict=True)
    listed = ", ".join(f"{name} {weight:.3g}" for name, weight in pairs)
    log.info("class weights (%s): %s", config.loss.weights, listed)


def _mean_iou(scores: Scores) -> float:
    """Return the mean IoU without background, 0 to 1; 0 if the reference has no objects."""
    return float(np.nan_to_num(scores.mean_iou()))
