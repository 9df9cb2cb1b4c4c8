"""The training configuration: TOML, checked, unknown keys refused with a suggestion."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoseg.annotations import Difficult
from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.learn.weights import BETA, Weighting

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(_Section):
    """Which windows of which dataset."""

    dataset: str = ""
    """Dataset folder; a relative path starts at the config file."""

    layer: str | None = None
    """Which truth: a layer of the dataset (None: its default)."""

    difficult: Difficult = "keep"

    window: Annotated[int, Field(ge=32, le=4096)] = 512
    """Side of a training window, pixels; a multiple of the network's stride."""

    balanced: Share = 0.5
    """Share of windows that are drawn around an object of a class drawn evenly; the rest lie anywhere."""


class Network(_Section):
    """What is trained."""

    architecture: str = "unet"
    parameters: dict[str, Any] = {}
    pretrained: str | None = None
    """Weights to start from: "shipped" or a .safetensors file for those of a geoseg model, "package" for
    the encoder weights of the extra `pretrained`, or a file of such weights."""

    mean: tuple[float, ...] | None = None
    """Per band, in units of the scene; None: measured on the dataset."""

    std: tuple[float, ...] | None = None


class Loss(_Section):
    """Weighted cross-entropy, and what is switched on beside it; the formula is in `geoseg.learn.loss`."""

    weights: Weighting = "inverse"
    """How a class's weight follows from its number of pixels: `geoseg.learn.weights` has the formulas."""

    cap: Positive | None = None
    """No class weighs more than this many times the background."""

    beta: Annotated[float, Field(gt=0, lt=1)] = BETA
    """Of the weights "effective": 1 / (1 - beta) is about the number of pixels from which on more say nothing new."""

    dice: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """What the Dice term is multiplied by before it is added; 0: without."""

    focal: Annotated[float, Field(ge=0, le=10)] = 0.0
    """γ of the focal loss: how much less a pixel counts that is right already; 0: every pixel the same."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """ε of label smoothing: what part of a label goes to all classes alike."""

    prior_windows: Annotated[int, Field(ge=0)] = 100
    """Windows of the training split, evenly spread, by which the classes' shares are put right after
    training; 0: not at all."""


class Augment(_Section):
    """What is changed at random, each switch by itself."""

    flip: bool = True
    turn: bool = True
    """Quarter turns."""

    rotate: Share = 0.0
    """Share of windows that are rotated by any angle."""

    scale: tuple[Positive, Positive] = (1.0, 1.0)
    """Smallest and largest zoom, drawn evenly in the logarithm."""

    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.15
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.15
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.15
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Of the whole colour circle."""


class Training(_Section):
    """How long, how fast."""

    seed: Annotated[int, Field(ge=0)] = 0
    steps: Count = 1000
    batch_size: Count = 8
    learning_rate: Positive = 1e-3
    encoder_learning_rate: Positive | None = None
    """For pretrained encoders; None: the same."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    warmup: Annotated[int, Field(ge=0)] = 50
    ema: Share = 0.99
    """Decay of the running mean of the weights that is kept as the model."""

    gradient_norm: Positive = 5.0
    validate_every: Count = 250
    validation_windows: Count = 100
    """At most this many windows of the validation split, evenly spread."""

    checkpoint_every: Count = 100


class TrainConfig(_Section):
    """A whole configuration file."""

    data: Data = Data()
    network: Network = Network()
    loss: Loss = Loss()
    augment: Augment = Augment()
    training: Training = Training()
    card: dict[str, Any] = {}
    """Goes into the model card as it is: data, terms, pixel sizes."""


def read_config(path: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """A configuration file, with ``section.key=value`` settings on top of it.

    A relative dataset folder in the file starts at the file's folder, one in a setting at the
    working directory. Raises ConfigError.
    """
    file = input_file(path, ConfigError)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{file}: is not TOML ({error}). see configs/ for examples") from error
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("dataset"), str):
        data["dataset"] = str(file.parent / data["dataset"])
    for setting in settings:
        _set(values, setting)
    return parse_config(values, str(file))


def parse_config(values: dict[str, Any], where: str) -> TrainConfig:
    """Check plain values; `where` names them in a ConfigError."""
    try:
        # through JSON, in which a TOML array may become a tuple, though strictness lets no text become a
        # number
        return TrainConfig.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(map(_explain, error.errors()[:5]))) from error
    except ValueError as error:
        raise ConfigError(f"{where}: {error}. numbers must be finite") from error


def _set(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot or not name:
        raise ConfigError(f"--set {setting!r}: write section.key=value, e.g. training.steps=500")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    if not isinstance(table := values.setdefault(section, {}), dict):
        raise ConfigError(f"--set {setting!r}: {section!r} is no section")
    table[name] = value


def _explain(error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    name = ".".join(location)
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"
    section: type[BaseModel] = TrainConfig
    for part in location[:-1]:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        section = annotation
    near = difflib.get_close_matches(location[-1], section.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(section.model_fields)}"
    return f"unknown key {name!r}. {hint}"
