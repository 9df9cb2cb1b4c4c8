"""A training run: a dataset, a learner, and how well it does."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.dataset import Dataset
from geoseg.errors import ConfigError, DatasetError
from geoseg.learn.checkpoint import Checkpoint
from geoseg.learn.config import Network, TrainConfig
from geoseg.learn.learner import Learner, Tensors, copied, learning_rate
from geoseg.learn.metrics import Scores, confusion
from geoseg.learn.prior import class_shifts
from geoseg.learn.sampling import Sample, Sampler, Scenes, batch_of
from geoseg.learn.weights import class_weights
from geoseg.model.architectures import build
from geoseg.model.pretrained import load_pretrained

log = logging.getLogger(__name__)

_AHEAD = 3  # batches that are read before they are needed


class Run:
    """Everything a run has, ready for its next step."""

    def __init__(self, config: TrainConfig, device: str) -> None:
        self.config = config
        self.dataset = _open(config.data.dataset)
        self.layer = _layer(self.dataset, config.data.layer)
        self._train, self._validation = (
            Scenes(self.dataset, split, layer=self.layer, difficult=config.data.difficult)
            for split in ("train", "val")
        )
        self._sampler = Sampler(
            self._train,
            seed=config.training.seed,
            size=config.data.window,
            balanced=config.data.balanced,
            augment=config.augment,
        )
        self.mean, self.std = self._scaling(config.network)
        network = _network(config, self.dataset)
        self.stride = int(network.stride)  # type: ignore[arg-type]
        if config.data.window % self.stride:
            raise ConfigError(
                f"data.window: {config.data.window} is no multiple of "
                f"the network's stride {self.stride}"
            )
        self.learner = Learner(network, self._class_weights(), config, device)
        self.best: Tensors | None = None
        self.best_miou = -1.0
        self.shifts: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.settled = True
        """False in the middle of a step: what `checkpoint` would give then is torn."""
        self._losses: deque[float] = deque(maxlen=50)

    @property
    def configuration(self) -> dict[str, Any]:
        """What decides the outcome, as JSON data."""
        text = self.config.model_dump_json(exclude={"data": {"dataset"}, "card": True})
        return dict(json.loads(text))

    def standing(self) -> str:
        """How the run stands, for whoever watches."""
        if not self._losses:
            return "train"
        best = f", mIoU {100 * self.best_miou:.1f} %" if self.best is not None else ""
        return f"train, loss {np.mean(self._losses):.3f}{best}"

    @contextmanager
    def batches(self) -> Iterator[Iterable[list[Sample]]]:
        """The batches of the steps that are left, in order, read ahead by two threads."""
        size, training = self.config.training.batch_size, self.config.training
        numbers = range(self.learner.step * size, training.steps * size)
        with ThreadPoolExecutor(2) as pool:

            def read() -> Iterator[list[Sample]]:
                ahead: deque[Future[Sample]] = deque()
                for n in numbers:
                    ahead.append(pool.submit(self._sampler, n))
                    if len(ahead) == _AHEAD * size:
                        yield [ahead.popleft().result() for _ in range(size)]
                while ahead:
                    yield [ahead.popleft().result() for _ in range(size)]

            try:
                yield read()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def advance(self, samples: Sequence[Sample]) -> None:
        """Learn from one batch; validate when it is time; keep the history."""
        started = monotonic()
        self.settled = False
        training, learner = self.config.training, self.learner
        rate = learning_rate(learner.step, training)
        self._losses.append(learner.advance(*batch_of(samples, self.mean, self.std)))
        last = learner.step == training.steps
        miou = self._validate() if last or learner.step % training.validate_every == 0 else None
        self.seconds += monotonic() - started
        if miou is not None or learner.step % 10 == 0:
            line = {
                "step": learner.step,
                "loss": round(float(np.mean(self._losses)), 5),
                "learning_rate": rate,
                "miou": miou,
                "seconds": round(self.seconds, 1),
            }
            self.history.append(line)
        self.settled = True

    def checkpoint(self) -> Checkpoint:
        """Everything that the next step depends on."""
        best = {"best": self.best} if self.best is not None else {}
        facts = {
            "configuration": self.configuration,
            "scenes": [scene.name for scene in self.dataset.scenes],
            "best_miou": self.best_miou,
            "losses": list(self._losses),
            "history": self.history,
            "seconds": self.seconds,
        }
        return Checkpoint(self.learner.step, {**self.learner.state(), **best}, facts)

    def restore(self, path: Path) -> None:
        """Go back to where the checkpoint `path` was taken. Raises ConfigError when it belongs to another
        run."""
        checkpoint = Checkpoint.load(path)
        facts = checkpoint.facts
        changed = _differences(facts["configuration"], self.configuration)
        if facts["scenes"] != [scene.name for scene in self.dataset.scenes]:
            changed.append("the dataset's scenes")
        if changed:
            raise ConfigError(
                f"{path}: was taken with other settings ({', '.join(changed[:5])}). "
                "go back to them, or start again without --resume"
            )
        self.learner.restore(checkpoint.step, checkpoint.tensors)
        self.best = copied(checkpoint.tensors["best"]) if "best" in checkpoint.tensors else None
        self.best_miou, self.seconds = facts["best_miou"], facts["seconds"]
        self._losses.extend(facts["losses"])
        self.history = facts["history"]

    def put_shares_right(self) -> None:
        """Shift the logits of the best weights, class by class, to where mean IoU over training windows is
        best."""
        if self.best is None or "head.bias" not in self.best or not self.config.loss.prior_windows:
            return
        network = self.learner.mean_network()
        network.load_state_dict(self.best)
        windows = self._windows(self._train, self.config.loss.prior_windows)
        shifts = class_shifts(network, windows, self.learner.device)
        self.best["head.bias"] += torch.from_numpy(shifts)
        names = self.dataset.legend.names
        self.shifts = dict(zip(names, shifts.round(2).tolist(), strict=True))
        network.load_state_dict(self.best)
        self.best_miou = self._score(network)

    def _validate(self) -> float:
        """Mean IoU over the validation windows, 0 to 1; the best weights so far are kept."""
        network = self.learner.mean_network()
        miou = self._score(network)
        if miou > self.best_miou:
            self.best_miou, self.best = miou, copied(network.state_dict(), "cpu")
        return round(miou, 5)

    def _score(self, network: nn.Module) -> float:
        """Mean IoU over the validation windows, 0 to 1."""
        classes = len(self.dataset.legend)
        matrix = np.zeros((classes, classes), np.int64)
        for inputs, truth in self._windows(
            self._validation, self.config.training.validation_windows
        ):
            images = torch.from_numpy(inputs).to(
                self.learner.device, memory_format=torch.channels_last
            )
            with torch.inference_mode():
                labels = network(images).argmax(1).byte().cpu().numpy()
            matrix += confusion(truth, labels, classes)
        return float(np.nan_to_num(Scores(matrix).mean_iou()))

    def _windows(
        self, scenes: Scenes, most: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        """Plain windows, evenly spread over `scenes`, as batches of one."""
        size = self.config.data.window
        for number, transform in scenes.tiles(size, most):
            yield batch_of([scenes.read(number, transform, size)], self.mean, self.std)

    def _scaling(self, network: Network) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per band: as configured, else those of 64 windows."""
        if network.mean is not None and network.std is not None:
            if not len(network.mean) == len(network.std) == self.dataset.bands:
                raise ConfigError(
                    f"network.mean and network.std: the dataset has {self.dataset.bands} bands"
                )
            return network.mean, network.std
        if network.mean is not None or network.std is not None:
            raise ConfigError("network.mean and network.std come together")
        samples = [self._sampler(n) for n in range(64)]
        pixels = np.concatenate([s.pixels[s.valid] for s in samples]).astype(np.float64)
        if not len(pixels):
            raise DatasetError(f"{self.dataset.folder}: has no valid pixel in 64 windows. check it")
        mean, std = pixels.mean(0), pixels.std(0).clip(1)
        return tuple(mean.round(3).tolist()), tuple(std.round(3).tolist())

    def _class_weights(self) -> NDArray[np.float64]:
        counts = self.dataset.layers[self.layer].splits["train"].pixels
        names, loss = self.dataset.legend.names, self.config.loss
        weights = class_weights(
            [counts.get(n, 0) for n in names], loss.weights, cap=loss.cap, beta=loss.beta
        )
        shown = (f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
        log.info("class weights (%s): %s", loss.weights, ", ".join(shown))
        return weights


def _open(folder: str) -> Dataset:
    if not folder:
        raise ConfigError("data.dataset: missing. name a folder made by geoseg prepare")
    return Dataset.open(Path(folder))


def _layer(dataset: Dataset, name: str | None) -> str:
    if name is not None and name not in dataset.layers:
        known = ", ".join(dataset.layers)
        raise ConfigError(f"data.layer: the dataset has no layer {name!r}. known: {known}")
    return name or dataset.default_layer


def _network(config: TrainConfig, dataset: Dataset) -> nn.Module:
    torch.manual_seed(config.training.seed)
    network = config.network
    built = build(network.architecture, dataset.bands, len(dataset.legend), network.parameters)
    if network.pretrained:
        load_pretrained(built, network.pretrained)
    return built


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            changed.append(f"{prefix}{key}: {old!r} → {new!r}")
    return changed
