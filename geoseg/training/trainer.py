"""A training run: a dataset, a learner, and how well it does."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import nn

from geoseg.errors import ConfigError
from geoseg.metrics.confusion import Scores
from geoseg.training import workers as readers
from geoseg.training.batches import Batch, batches
from geoseg.training.checkpoint import Checkpoint
from geoseg.training.config import TrainConfig
from geoseg.training.distributed import Processes
from geoseg.training.optimizer import Learner, Tensors, copied, learning_rate
from geoseg.training.setup import (
    built_network,
    chosen_layer,
    completed,
    configured,
    differences,
    opened_dataset,
    sampler_of,
    scaling_of,
    scenes_of,
    weights_of,
)
from geoseg.training.validation import Windows, class_shifts, score

_MAY_CHANGE = (
    "training.steps:",
    "training.validate_every:",
    "training.checkpoint_every:",
    "loss.logit_adjustment_windows:",
)
"""Settings with which a run may go on otherwise than it began."""

log = logging.getLogger(__name__)


class Run:
    """Everything a run has, ready for its next step."""

    def __init__(
        self,
        config: TrainConfig,
        device: str,
        processes: Processes | None = None,
        *,
        threads: int = 2,
        workers: int = 0,
    ) -> None:
        self.config, self.processes = config, processes or Processes()
        self.dataset = opened_dataset(config)
        self.layer = chosen_layer(config, self.dataset)
        self._threads, self._workers = threads, workers
        self._train = scenes_of(config, self.dataset, "train")
        tell = self.processes.leads
        self._sampler = sampler_of(config, self._train, tell=tell)
        self.scaling = scaling_of(config, self.dataset, self._sampler)
        self._validation = Windows(
            scenes_of(config, self.dataset, "val"),
            self.scaling,
            size=config.data.window,
            most=config.training.validation_windows,
            device=device,
        )
        network, self.stride, self.ancestor = built_network(config, self.dataset)
        weights = weights_of(config, self.dataset, tell=tell)
        self.learner = Learner(network, weights, config, device, self.processes)
        self.best: Tensors | None = None
        self.best_miou = -1.0
        self.shifts: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.settled = True
        """False in the middle of a step: what `checkpoint` would give then is torn."""
        self._losses: deque[float] = deque(maxlen=50)
        self._stale = 0  # validations since the best
        self._began, self._first = monotonic(), 0

    @property
    def configuration(self) -> dict[str, Any]:
        """What decides the outcome, as JSON data."""
        return configured(self.config, self.processes.count)

    @property
    def finished(self) -> bool:
        """True after the last step, or when validation has not found better for too long."""
        training = self.config.training
        return self.learner.step >= training.steps or 0 < training.patience <= self._stale

    def standing(self) -> str:
        """How the run stands, for whoever watches."""
        if not self._losses:
            return "train"
        best = f", mIoU {100 * self.best_miou:.1f} %" if self.best is not None else ""
        done = self.learner.step - self._first
        pace = (monotonic() - self._began) / done if done else 0.0
        minutes = (self.config.training.steps - self.learner.step) * pace / 60
        left = f", {minutes // 60:.0f}:{minutes % 60:02.0f} h left" if minutes >= 1 else ""
        return f"train, loss {np.mean(self._losses):.3f}{best}{left}"

    @contextmanager
    def steps(self) -> Iterator[Iterator[Sequence[Batch]]]:
        """The batches of each step that is left, in order, read ahead."""
        training, processes = self.config.training, self.processes
        numbers = (
            batch
            for step in range(self.learner.step, training.steps)
            for batch in processes.numbers(step, training.batch_size, training.accumulate)
        )
        self._began, self._first = monotonic(), self.learner.step
        reading = (
            readers.workers(self.config, self._workers)
            if self._workers
            else readers.threads(self._sampler, self._threads)
        )
        with (
            reading as submit,
            batches(submit, numbers, self.scaling, device=self.learner.device) as read,
        ):
            yield zip(*[read] * training.accumulate, strict=True)

    def advance(self, parts: Sequence[Batch]) -> None:
        """Learn from the batches of one step; validate when it is time; keep the history."""
        started = monotonic()
        self.settled = False
        training, learner = self.config.training, self.learner
        rate = learning_rate(learner.step, training)
        self._losses.append(learner.advance(parts))
        last = learner.step == training.steps
        scores = self._validate() if last or learner.step % training.validate_every == 0 else None
        self.seconds += monotonic() - started
        if scores is not None or learner.step % 10 == 0:
            line: dict[str, Any] = {
                "step": learner.step,
                "loss": round(float(np.mean(self._losses)), 5),
                "learning_rate": rate,
                "miou": None if scores is None else round(_miou(scores), 5),
                "seconds": round(self.seconds, 1),
            }
            if scores is not None:
                classes = scores.to_json(self.dataset.legend)["classes"]
                line["iou"] = {name: found["iou"] for name, found in classes.items()}
            self.history.append(line)
        self.settled = True

    def checkpoint(self) -> Checkpoint:
        """Everything that the next step depends on."""
        best = {"best": self.best} if self.best is not None else {}
        facts = {
            "configuration": self.configuration,
            "scenes": [scene.name for scene in self.dataset.scenes],
            "best_miou": self.best_miou,
            "stale": self._stale,
            "losses": list(self._losses),
            "history": self.history,
            "seconds": self.seconds,
            "ancestor": self.ancestor,
        }
        return Checkpoint(self.learner.step, {**self.learner.state(), **best}, facts)

    def restore(self, path: Path) -> None:
        """Go back to where the checkpoint `path` was taken. Raises ConfigError when it belongs to another
        run; how long that was to be, how often looked at, and what comes after it, may change."""
        checkpoint = Checkpoint.load(path)
        facts = checkpoint.facts
        changed = differences(completed(facts["configuration"]), self.configuration)
        if facts["scenes"] != [scene.name for scene in self.dataset.scenes]:
            changed.append("the dataset's scenes")
        if other := [change for change in changed if not change.startswith(_MAY_CHANGE)]:
            raise ConfigError(
                f"{path}: was taken with other settings ({', '.join(other[:5])}). "
                "go back to them, or start again without --resume"
            )
        if changed:
            log.info("goes on with %s", ", ".join(changed))
        self.learner.restore(checkpoint.step, checkpoint.tensors)
        self.best = copied(checkpoint.tensors["best"]) if "best" in checkpoint.tensors else None
        self.best_miou, self.seconds = facts["best_miou"], facts["seconds"]
        self._stale = facts.get("stale", 0)
        self._losses.extend(facts["losses"])
        self.history = facts["history"]
        self.ancestor = facts.get("ancestor", self.ancestor)

    def put_shares_right(self) -> None:
        """Shift the logits of the best weights, class by class, to where mean IoU over training windows is
        best."""
        if (
            self.best is None
            or "head.bias" not in self.best
            or not self.config.loss.logit_adjustment_windows
        ):
            return
        network = self.learner.network_with(self.best)
        windows = Windows(
            self._train,
            self.scaling,
            size=self.config.data.window,
            most=self.config.loss.logit_adjustment_windows,
            device=self.learner.device,
        )
        with windows.read() as read:
            shifts = class_shifts(network, read)
        self.best["head.bias"] += torch.from_numpy(shifts)
        names = self.dataset.legend.names
        self.shifts = dict(zip(names, shifts.round(2).tolist(), strict=True))
        network.load_state_dict(self.best)
        self.best_miou = _miou(self._score(network, Processes()))

    def _validate(self) -> Scores:
        """Scores over the validation windows; the best weights so far are kept."""
        network = self.learner.mean_network()
        scores = self._score(network, self.processes)
        self._stale += 1
        if (miou := _miou(scores)) > self.best_miou:
            self.best_miou, self.best, self._stale = miou, copied(network.state_dict(), "cpu"), 0
        return scores

    def _score(self, network: nn.Module, processes: Processes) -> Scores:
        return score(
            network,
            self._validation,
            classes=len(self.dataset.legend),
            processes=processes,
        )


def _miou(scores: Scores) -> float:
    """Mean IoU without background, 0 to 1; 0 where the truth holds no object."""
    return float(np.nan_to_num(scores.mean_iou()))
