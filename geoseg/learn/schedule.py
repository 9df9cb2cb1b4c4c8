"""Which parameters learn how fast, and when."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from torch import nn

from geoseg.learn.sections import Training


def learning_rate(step: int, training: Training) -> float:
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


def groups(network: nn.Module, training: Training) -> list[Group]:
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
