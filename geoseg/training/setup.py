"""What a run is made of, as its configuration says, and what is wrong with that."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, DatasetError
from geoseg.models.architectures import build
from geoseg.models.pretrained import load_pretrained
from geoseg.training.batches import Scaling
from geoseg.training.config import TrainConfig, rename_keys
from geoseg.training.sampler import Sampler
from geoseg.training.weights import class_weights
from geoseg.training.windows import Scenes

log = logging.getLogger(__name__)

_MEASURED = 64  # windows, for mean and standard deviation


def opened_dataset(config: TrainConfig) -> Dataset:
    """The dataset. Raises ConfigError when none is named, DatasetError when it is none."""
    if not config.data.dataset:
        raise ConfigError("data.dataset: missing. name a folder made by geoseg prepare")
    return Dataset.open(Path(config.data.dataset))


def chosen_layer(config: TrainConfig, dataset: Dataset) -> str:
    """Which truth is learned from. Raises ConfigError when the dataset has it not."""
    name = config.data.layer
    if name is not None and name not in dataset.layers:
        known = ", ".join(dataset.layers)
        raise ConfigError(f"data.layer: the dataset has no layer {name!r}. known: {known}")
    return name or dataset.default_layer


def scenes_of(config: TrainConfig, dataset: Dataset, split: str) -> Scenes:
    """The scenes of a split with the truth that is learned from."""
    layer = chosen_layer(config, dataset)
    return Scenes(dataset, split, layer=layer, difficult=config.data.difficult)


def sampler_of(config: TrainConfig, scenes: Scenes, *, tell: bool) -> Sampler:
    """What draws the windows; `tell` logs where they lie."""
    data = config.data
    sampler = Sampler(scenes, seed=config.training.seed, data=data, augment=config.augment)
    if tell and not sampler.classes:
        log.warning("the training scenes hold no object to learn from: windows lie anywhere")
    elif tell:
        log.info(
            "windows: %.0f %% around an object of %d classes drawn evenly, %.0f %% without objects, "
            "%.0f %% anywhere, with objects or without",
            *(100 * data.balanced, sampler.classes, 100 * data.background),
            100 * (1 - data.balanced - data.background),
        )
    return sampler


def scaling_of(config: TrainConfig, dataset: Dataset, sampler: Sampler) -> Scaling:
    """As configured, else measured on windows. Raises ConfigError, DatasetError."""
    network = config.network
    if network.mean is not None and network.std is not None:
        if not len(network.mean) == len(network.std) == dataset.bands:
            raise ConfigError(
                f"network.mean and network.std: the dataset has {dataset.bands} bands"
            )
        return Scaling(network.mean, network.std)
    if network.mean is not None or network.std is not None:
        raise ConfigError("network.mean and network.std come together")
    try:
        return Scaling.of(sampler(n) for n in range(_MEASURED))
    except ValueError as error:
        raise DatasetError(
            f"{dataset.folder}: has no valid pixel in {_MEASURED} windows. check it"
        ) from error


def built_network(
    config: TrainConfig, dataset: Dataset
) -> tuple[nn.Module, int, dict[str, Any] | None]:
    """The network with its first weights, its stride, and what the model that it goes on from says of itself, if
    it does. Raises ConfigError, ModelError."""
    torch.manual_seed(config.training.seed)
    network, window = config.network, config.data.window
    built = build(network.architecture, dataset.bands, len(dataset.legend), network.parameters)
    ancestor = load_pretrained(built, network.pretrained) if network.pretrained else None
    stride = int(built.stride)  # type: ignore[arg-type]
    if window % stride:
        raise ConfigError(f"data.window: {window} is no multiple of the network's stride {stride}")
    return built, stride, ancestor


def weights_of(config: TrainConfig, dataset: Dataset, *, tell: bool) -> NDArray[np.float64]:
    """Class weights from the pixels of the training split; `tell` logs them."""
    counts = dataset.layers[chosen_layer(config, dataset)].splits["train"].pixels
    names, loss = dataset.legend.names, config.loss
    weights = class_weights(
        [counts.get(n, 0) for n in names], loss.weights, cap=loss.cap, beta=loss.beta
    )
    if tell:
        shown = (f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
        log.info("class weights (%s): %s", loss.weights, ", ".join(shown))
    return weights


def completed(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's stored configuration under the current keys, with the defaults of keys it does not have."""
    configuration = rename_keys(configuration)
    sections = {name: of for name, of in configuration.items() if name != "processes"}
    try:
        whole = TrainConfig.model_validate_json(json.dumps(sections))
    except ValidationError:
        return dict(configuration)
    return configured(whole, int(configuration.get("processes", 1)))


def configured(config: TrainConfig, processes: int) -> dict[str, Any]:
    """What decides the outcome of a run, as JSON data."""
    text = config.model_dump_json(exclude={"data": {"dataset"}, "card": True})
    return {**json.loads(text), "processes": processes}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Settings that are not what they were, each as ``name: before → now``."""
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            changed.append(f"{prefix}{key}: {old!r} → {new!r}")
    return changed
