"""Gradient descent: a network, its optimizer, and the moving average of its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from geoseg.errors import ConfigError, ModelError
from geoseg.legend import IGNORE
from geoseg.models.encoder import Encoder
from geoseg.training.config import TrainConfig, TrainingSection
from geoseg.training.distillation import Distillation
from geoseg.training.distributed import Processes
from geoseg.training.loading import Batch
from geoseg.training.loss import Loss
from geoseg.training.object_loss import ObjectLoss

Tensors = dict[str, Tensor]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # state of AdamW per parameter


def learning_rate(step: int, training: TrainingSection, done: float | None = None) -> float:
    """Compute the learning rate of a step: linear warm-up, then cosine decay to 1 % of the configured rate.

    Parameters
    ----------
    step
        Steps done.
    training
        Settings.
    done
        Fraction of the time that is over, 0 to 1, in a run that is limited by time instead of steps.
    """
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    progress = (step - training.warmup) / max(1, training.steps - training.warmup)
    if done is not None:
        progress = done
    return training.learning_rate * (0.01 + 0.99 * (1 + cos(pi * progress)) / 2)


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """Parameters with the same weight decay and learning rate."""

    named: dict[str, nn.Parameter]
    weight_decay: float

    factor: float
    """Multiple of the learning rate of the step."""


def group_parameters(network: nn.Module, training: TrainingSection) -> list[ParameterGroup]:
    """Group parameters by learning rate, which parts of the network may have their own, and by weight decay or not.

    Parameters of at most one dimension (norms and biases) are not decayed.

    Raises
    ------
    ConfigError
        If `training` has a rate for a part that the network does not have.
    """
    encoders = [n for n, part in network.named_children() if isinstance(part, Encoder)]
    rates = dict.fromkeys(
        ("encoder", *encoders), training.encoder_learning_rate or training.learning_rate
    )
    rates |= training.learning_rates
    parts = {name.partition(".")[0] for name, _ in network.named_parameters()}
    if unknown := sorted(training.learning_rates.keys() - parts):
        raise ConfigError(
            f"training.learning_rates: the network has no part {unknown[0]!r}. "
            f"Known: {', '.join(sorted(parts))}"
        )
    named: dict[tuple[float, bool], dict[str, nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = rates.get(name.partition(".")[0], training.learning_rate)
        named.setdefault((rate, parameter.ndim > 1), {})[name] = parameter
    return [
        ParameterGroup(
            parameters,
            weight_decay=training.weight_decay if decayed else 0.0,
            factor=rate / training.learning_rate,
        )
        for (rate, decayed), parameters in named.items()
    ]


class Trainer:
    """Train a network step by step. A step depends only on its batches and on the state before it.

    Parameters
    ----------
    network
        Network with its initial weights; it is moved to the device and trained in place.
    class_weights
        (classes,) weights of the loss.
    config
        Configuration of the run.
    device
        Device of the network.
    processes
        Processes that share the run.
    distillation
        Loss on pixels without a label.
    """

    def __init__(
        self,
        network: nn.Module,
        class_weights: NDArray[np.float64],
        config: TrainConfig,
        device: str,
        processes: Processes | None = None,
        distillation: Distillation | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self._distillation, self._distillation_factor = distillation, config.loss.distillation
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.training = device, config.training
        self.step = 0
        """Steps done."""
        self._wrapped = self.processes.wrap_network(self.network, device)
        self._loss = Loss(
            torch.as_tensor(class_weights, dtype=torch.float32, device=device),
            config.loss,
            self.processes.reduce_sum,
        )
        self._object_loss = ObjectLoss(config.objects, self.processes.reduce_sum)
        self._classes = len(class_weights)
        self._groups = group_parameters(self.network, config.training)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(group.named.values()), "weight_decay": group.weight_decay}
                for group in self._groups
            ],
            lr=config.training.learning_rate,
        )
        half = config.training.precision == "float16"  # whose gradients would underflow unscaled
        self._scaler = torch.amp.GradScaler(torch.device(device).type, enabled=half)
        self._average = copy_tensors(self.network.state_dict())

    def train_step(self, batches: Sequence[Batch], done: float | None = None) -> float:
        """Take one optimizer step on the mean loss of some batches.

        Parameters
        ----------
        batches
            Batches of equal size.
        done
            Fraction of the time that is over, see `learning_rate`.

        Returns
        -------
        float
            The mean loss.

        Raises
        ------
        ModelError
            If the loss is not finite.
        """
        _seed_torch(self.training.seed, self.step, self.processes.rank)
        rate = learning_rate(self.step, self.training, done)
        for group, settings in zip(self._groups, self._optimizer.param_groups, strict=True):
            settings["lr"] = rate * group.factor
        self._optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        for number, batch in enumerate(batches, start=1):
            with self._defer_all_reduce(number < len(batches)):
                loss += self._accumulate_gradient(batch, len(batches))
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.training.gradient_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        self._update_average()
        return loss

    def averaged_network(self) -> nn.Module:
        """Return a copy in eval mode with the averaged weights, identical in every process."""
        self.processes.broadcast(self._average.values())
        return self.network_with(self._average)

    def network_with(self, weights: Tensors) -> nn.Module:
        """Return a copy in eval mode with these weights."""
        network: nn.Module = copy.deepcopy(self.network).eval().requires_grad_(False)
        network.load_state_dict(weights)
        return network

    def state(self) -> dict[str, Mapping[str, Tensor]]:
        """Return everything that the next step depends on, by role and name."""
        moments = self._optimizer.state_dict()["state"]
        scaler = self._scaler.state_dict()  # empty unless enabled
        return {
            "weights": self.network.state_dict(),
            "mean": self._average,
            **{
                moment: {n: moments[i][moment] for i, n in enumerate(self._names()) if i in moments}
                for moment in _MOMENTS
            },
            "scaler": {n: torch.tensor(value, dtype=torch.float64) for n, value in scaler.items()},
        }

    def restore(self, step: int, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Set the state that `state` returned after `step` steps."""
        self.step = step
        self.network.load_state_dict(state["weights"])
        self._average = copy_tensors(state["mean"], self.device)
        moments = {
            i: {moment: state[moment][name] for moment in _MOMENTS}
            for i, name in enumerate(self._names())
            if name in state.get("step", {})
        }
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        if scaler := state.get("scaler"):
            types = self._scaler.state_dict()
            self._scaler.load_state_dict({n: type(types[n])(t.item()) for n, t in scaler.items()})

    def _accumulate_gradient(self, batch: Batch, parts: int) -> float:
        """Add the gradient of a batch, one of `parts` of the step, and return its part of the loss."""
        with self._mixed_precision():
            outputs = self._in_train_mode()(batch.inputs)  # (N, classes + object outputs, h, w)
        loss = self._loss(outputs[:, : self._classes], batch.labels)
        if batch.objects is not None:
            of_objects = outputs[:, self._classes :]
            loss = loss + self._object_loss(of_objects, batch.objects, batch.labels)
        if self._distillation:
            unlabelled = (batch.labels == IGNORE) & batch.inputs.any(dim=1)  # not valid: all 0
            with self._mixed_precision():
                distilled = self._distillation(batch.inputs, outputs, unlabelled)
            loss = loss + self._distillation_factor * distilled
        loss = loss / parts
        if not loss.isfinite():
            raise ModelError(f"step {self.step + 1}: the loss is not finite. Lower learning_rate")
        # each process has the whole loss and a part of the gradient, and DDP averages where parts must add up
        self._scaler.scale(loss * self.processes.count).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _in_train_mode(self) -> nn.Module:
        wrapped = self._wrapped.train()
        if self.training.batch_norm == "running":
            for module in wrapped.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return wrapped

    def _mixed_precision(self) -> AbstractContextManager[object]:
        precision = self.training.precision
        if precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, getattr(torch, precision))

    def _defer_all_reduce(self, defer: bool) -> AbstractContextManager[object]:
        """Keep gradients in this process until the last batch of the step."""
        if defer and isinstance(self._wrapped, DistributedDataParallel):
            return self._wrapped.no_sync()
        return nullcontext()

    def _update_average(self) -> None:
        decay = min(self.training.ema, self.step / (10 + self.step))  # shorter memory at the start
        averages, tensors = [], []
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self._average[name])
                tensors.append(tensor)
            else:
                self._average[name].copy_(tensor)
        torch._foreach_lerp_(averages, tensors, 1 - decay)  # one launch on a GPU, not hundreds

    def _names(self) -> list[str]:
        return [name for group in self._groups for name in group.named]


def copy_tensors(tensors: Mapping[str, Tensor], device: str | None = None) -> Tensors:
    """Return copies of tensors, on a device or where they are."""
    return {
        name: tensor.detach().to(device or tensor.device, copy=True)
        for name, tensor in tensors.items()
    }


def _seed_torch(*numbers: int) -> None:
    """Seed torch's generators, which dropout draws from."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
