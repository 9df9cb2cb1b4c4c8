"""A network that learns: its weights, their running mean, and the moments of its optimiser."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.learn.config import TrainConfig, Training
from geoseg.learn.loss import Objective

Tensors = dict[str, Tensor]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Learner:
    """One step of gradient descent after the other; what step n does depends on its batch and on the state alone."""

    def __init__(
        self, network: nn.Module, weights: NDArray[np.float64], config: TrainConfig, device: str
    ) -> None:
        training = config.training
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.training = device, training
        self.step = 0
        self._objective = Objective(
            torch.as_tensor(weights, dtype=torch.float32, device=device), config.loss
        )
        self._groups = _groups(self.network, training)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(group.named.values()), "weight_decay": group.weight_decay}
                for group in self._groups
            ],
            lr=training.learning_rate,
        )
        self._mean = copied(self.network.state_dict())

    def advance(self, inputs: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
        """Learn from one batch and return its loss. Raises ModelError when that is not finite."""
        rate = learning_rate(self.step, self.training)
        for group, settings in zip(self._groups, self._optimizer.param_groups, strict=True):
            settings["lr"] = rate * group.factor
        images = torch.from_numpy(inputs).to(self.device, memory_format=torch.channels_last)
        truth = torch.from_numpy(labels).to(self.device)
        loss = self._objective(self.network.train()(images), truth)
        if not loss.isfinite():
            raise ModelError(f"step {self.step + 1}: the loss is not finite. lower learning_rate")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.training.gradient_norm)
        self._optimizer.step()
        self.step += 1
        self._average()
        return loss.item()

    def mean_network(self) -> nn.Module:
        """A copy, in eval mode, whose weights are the running mean."""
        network: nn.Module = copy.deepcopy(self.network).eval().requires_grad_(False)
        network.load_state_dict(self._mean)
        return network

    def state(self) -> dict[str, Mapping[str, Tensor]]:
        """Everything that the next step depends on, by role and name."""
        moments = self._optimizer.state_dict()["state"]
        return {
            "weights": self.network.state_dict(),
            "mean": self._mean,
            **{
                moment: {n: moments[i][moment] for i, n in enumerate(self._names()) if i in moments}
                for moment in _MOMENTS
            },
        }

    def restore(self, step: int, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go back to what `state` gave after `step` steps."""
        self.step = step
        self.network.load_state_dict(state["weights"])
        self._mean = copied(state["mean"], self.device)
        moments = {
            i: {moment: state[moment][name] for moment in _MOMENTS}
            for i, name in enumerate(self._names())
            if name in state.get("step", {})
        }
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})

    def _average(self) -> None:
        decay = min(self.training.ema, self.step / (10 + self.step))  # young weights count less
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                self._mean[name].lerp_(tensor, 1 - decay)
            else:
                self._mean[name].copy_(tensor)

    def _names(self) -> list[str]:
        return [name for group in self._groups for name in group.named]


def learning_rate(step: int, training: Training) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of ``training.learning_rate``."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    done = (step - training.warmup) / max(1, training.steps - training.warmup)
    return training.learning_rate * (0.01 + 0.99 * (1 + cos(pi * done)) / 2)


def copied(tensors: Mapping[str, Tensor], device: str | None = None) -> Tensors:
    """The same tensors in memory of their own."""
    return {
        name: tensor.detach().to(device or tensor.device, copy=True)
        for name, tensor in tensors.items()
    }


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters that learn alike."""

    named: dict[str, nn.Parameter]
    weight_decay: float

    factor: float
    """Of the learning rate."""


def _groups(network: nn.Module, training: Training) -> list[_Group]:
    """Norms and biases do not decay; a pretrained encoder may learn at a rate of its own."""
    named: dict[tuple[bool, bool], dict[str, nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        alike = name.startswith("encoder."), parameter.ndim > 1
        named.setdefault(alike, {})[name] = parameter
    slower = (training.encoder_learning_rate or training.learning_rate) / training.learning_rate
    return [
        _Group(parameters, training.weight_decay if decays else 0.0, slower if encodes else 1.0)
        for (encodes, decays), parameters in named.items()
    ]
