"""Which parameters learn how fast, and when."""

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

from geoseg.errors import ModelError
from geoseg.training.batches import Batch
from geoseg.training.config import TrainConfig, TrainingSection
from geoseg.training.distributed import Processes
from geoseg.training.loss import Objective


def learning_rate(step: int, training: TrainingSection) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of ``training.learning_rate``."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    done = (step - training.warmup) / max(1, training.steps - training.warmup)
    return training.learning_rate * (0.01 + 0.99 * (1 + cos(pi * done)) / 2)


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn alike."""

    named: dict[str, nn.Parameter]
    weight_decay: float

    factor: float
    """Of the learning rate."""


def groups(network: nn.Module, training: TrainingSection) -> list[Group]:
    """Norms and biases do not decay; a pretrained encoder may learn at a rate of its own."""
    named: dict[tuple[bool, bool], dict[str, nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        alike = name.startswith("encoder."), parameter.ndim > 1
        named.setdefault(alike, {})[name] = parameter
    slower = (training.encoder_learning_rate or training.learning_rate) / training.learning_rate
    return [
        Group(parameters, training.weight_decay if decays else 0.0, slower if encodes else 1.0)
        for (encodes, decays), parameters in named.items()
    ]


# A network that learns: its weights, their running mean, and the moments of its optimiser.

Tensors = dict[str, Tensor]

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Learner:
    """One step of gradient descent after the other; what step n does depends on its batches and on the state alone."""

    def __init__(
        self,
        network: nn.Module,
        weights: NDArray[np.float64],
        config: TrainConfig,
        device: str,
        processes: Processes | None = None,
    ) -> None:
        processes = processes or Processes()
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.training, self.processes = device, config.training, processes
        self.step = 0
        self._joined = processes.joined(self.network, device)
        self._objective = Objective(
            torch.as_tensor(weights, dtype=torch.float32, device=device),
            config.loss,
            processes.everywhere,
        )
        self._groups = groups(self.network, config.training)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(group.named.values()), "weight_decay": group.weight_decay}
                for group in self._groups
            ],
            lr=config.training.learning_rate,
        )
        half = config.training.precision == "float16"  # whose gradients would underflow
        self._scaler = torch.amp.GradScaler(torch.device(device).type, enabled=half)
        self._mean = copied(self.network.state_dict())

    def advance(self, batches: Sequence[Batch]) -> float:
        """Learn from the mean of the losses of some batches, and return it.

        Raises ModelError when it is not finite.
        """
        _seed(self.training.seed, self.step, self.processes.rank)
        rate = learning_rate(self.step, self.training)
        for group, settings in zip(self._groups, self._optimizer.param_groups, strict=True):
            settings["lr"] = rate * group.factor
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for number, batch in enumerate(batches, start=1):
            with self._apart(number < len(batches)):
                total += self._descend(batch, len(batches))
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.training.gradient_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        self._average()
        return total

    def mean_network(self) -> nn.Module:
        """A copy, in eval mode, whose weights are the running mean: the same in every process."""
        self.processes.same(self._mean.values())
        return self.network_with(self._mean)

    def network_with(self, weights: Tensors) -> nn.Module:
        """A copy, in eval mode, with these weights."""
        network: nn.Module = copy.deepcopy(self.network).eval().requires_grad_(False)
        network.load_state_dict(weights)
        return network

    def state(self) -> dict[str, Mapping[str, Tensor]]:
        """Everything that the next step depends on, by role and name."""
        moments = self._optimizer.state_dict()["state"]
        scaler = self._scaler.state_dict()  # empty unless it is on
        return {
            "weights": self.network.state_dict(),
            "mean": self._mean,
            **{
                moment: {n: moments[i][moment] for i, n in enumerate(self._names()) if i in moments}
                for moment in _MOMENTS
            },
            "scaler": {n: torch.tensor(value, dtype=torch.float64) for n, value in scaler.items()},
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
        if scaler := state.get("scaler"):
            kinds = self._scaler.state_dict()
            self._scaler.load_state_dict({n: type(kinds[n])(t.item()) for n, t in scaler.items()})

    def _descend(self, batch: Batch, parts: int) -> float:
        """Add the gradient of a batch, one of so many `parts` of a step; its part of the loss."""
        inputs, labels = batch
        with self._mixed():
            logits = self._joined.train()(inputs)
        loss = self._objective(logits, labels) / parts
        if not loss.isfinite():
            raise ModelError(f"step {self.step + 1}: the loss is not finite. lower learning_rate")
        # every process has the loss of all, and the gradients that are averaged are parts of a sum
        self._scaler.scale(loss * self.processes.count).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _mixed(self) -> AbstractContextManager[object]:
        precision = self.training.precision
        if precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, getattr(torch, precision))

    def _apart(self, apart: bool) -> AbstractContextManager[object]:
        """Where gradients need not be shared yet, since more are added to them."""
        if apart and isinstance(self._joined, DistributedDataParallel):
            return self._joined.no_sync()
        return nullcontext()

    def _average(self) -> None:
        decay = min(self.training.ema, self.step / (10 + self.step))  # young weights count less
        means, tensors = [], []
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                means.append(self._mean[name])
                tensors.append(tensor)
            else:
                self._mean[name].copy_(tensor)
        torch._foreach_lerp_(means, tensors, 1 - decay)  # on a GPU one launch, not hundreds

    def _names(self) -> list[str]:
        return [name for group in self._groups for name in group.named]


def _seed(*numbers: int) -> None:
    """Let what a network draws, in dropout, depend on these numbers alone."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def copied(tensors: Mapping[str, Tensor], device: str | None = None) -> Tensors:
    """The same tensors in memory of their own."""
    return {
        name: tensor.detach().to(device or tensor.device, copy=True)
        for name, tensor in tensors.items()
    }
