"""What a training configuration can say, table by table, with the defaults."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from geoseg.annotations.burn import Difficult
from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.training.weights import BETA, Weighting

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["float32", "bfloat16", "float16"]


def _smallest_first(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"smallest first, then largest, got {list(bounds)}")
    return bounds


Bounds = Annotated[tuple[Positive, Positive], AfterValidator(_smallest_first)]


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
    """Share of windows that are drawn around an object of a class drawn evenly."""

    background: Share = 0.0
    """Share of windows that hold no object. The rest, neither `balanced` nor `background`, lie anywhere."""

    @model_validator(mode="after")
    def _shares_of_one(self) -> Self:
        if self.balanced + self.background > 1:
            raise ValueError(
                "balanced and background are shares of the same windows: at most 1 together"
            )
        return self


class Network(_Section):
    """What is trained."""

    architecture: str = "unet"
    parameters: dict[str, Any] = {}
    pretrained: str | None = None
    """Weights to start from: "shipped" or a .safetensors file for those of a geoseg model, "package" for
    the encoder weights of the extra `pretrained`, or a file of such weights; None or "": none. A relative path
    starts at the working directory."""

    mean: tuple[float, ...] | None = None
    """Per band, in units of the scene; None: measured on the dataset."""

    std: tuple[float, ...] | None = None


class Loss(_Section):
    """Weighted cross-entropy, and what is switched on beside it; the formula is in `geoseg.training.loss`."""

    weights: Weighting = "inverse"
    """How a class's weight follows from its number of pixels: `geoseg.training.weights` has the formulas."""

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

    scale: Bounds = (1.0, 1.0)
    """Smallest and largest zoom, drawn evenly in the logarithm."""

    pixel_size_m: Bounds | None = None
    """Instead of `scale`: smallest and largest size on the ground of a window's pixels, in metres, drawn evenly in
    the logarithm. Where a scene does not know its pixel size, `scale` holds."""

    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.15
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.15
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.15
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Of the whole colour circle."""

    blur: Share = 0.0
    """Share of windows that are blurred, by a Gaussian of 0.3 to 1.5 pixels."""

    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest standard deviation of the noise, as a part of the whole range of values."""

    paste: Share = 0.0
    """Share of windows into which objects of other scenes are pasted."""

    paste_objects: Count = 3
    """At most so many of them in a window."""

    paste_classes: tuple[str, ...] = ()
    """Of which classes; none named: of all, rare ones more often."""


class Training(_Section):
    """How long, how fast."""

    seed: Annotated[int, Field(ge=0)] = 0
    steps: Count = 1000
    batch_size: Count = 8
    """Windows that are in memory at once, in each process."""

    accumulate: Count = 1
    """Batches that make up a step: for steps of more windows than fit into memory."""

    precision: Precision = "float32"
    """Of the arithmetic where it may be less (mixed precision); weights are float32 always. For GPUs."""

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

    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many validations without a better mIoU; 0: never."""

    checkpoint_every: Count = 100


class Card(_Section):
    """What the model card says beside what a run knows by itself. A file that `extends` another does not inherit
    this section: it speaks of one model."""

    name: str | None = None
    author: str | None = None
    data: str | None = None
    terms: str | None = None
    """Under which the data, and so the model, may be used; None: those of the geoseg model in `network.pretrained`."""

    note: str | None = None
    failures: tuple[str, ...] = ()
    """What the model is known to get wrong, a sentence each."""

    pixel_size_m: Bounds | None = None
    """Smallest and largest size of the train scenes' pixels on the ground, in metres, where the scenes themselves do
    not tell: scenes of other sizes will be read resampled."""


class TrainConfig(_Section):
    """A whole configuration file."""

    data: Data = Data()
    network: Network = Network()
    loss: Loss = Loss()
    augment: Augment = Augment()
    training: Training = Training()
    card: Card = Card()


# Reading a training configuration: TOML, checked, unknown keys refused with a suggestion.

_DEEPEST = 8  # configurations that build on one another


def read_config(path: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """A configuration file, with ``section.key=value`` settings on top of it.

    ``extends = "other.toml"`` at its head names a file, beside it, that it builds on: what it does not
    say, that says. A relative dataset folder in a file starts at the file's folder, one in a setting at
    the working directory. Raises ConfigError.
    """
    values = _read(path, _DEEPEST)
    for setting in settings:
        _set(values, setting)
    return parse_config(values, str(path))


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


def _read(path: Path, deepest: int) -> dict[str, Any]:
    """What a file and those that it builds on say."""
    file = input_file(path, ConfigError)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{file}: is not TOML ({error}). see configs/ for examples") from error
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("dataset"), str):
        data["dataset"] = str(file.parent / data["dataset"])
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{file}: extends: name one file, got {base!r}")
    if not deepest:
        raise ConfigError(f"{file}: extends: goes round in circles, or too deep. shorten it")
    below = _read(file.parent / base, deepest - 1)
    below.pop("card", None)  # it speaks of another model
    return _merged(below, values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both; of tables that both hold, table by table, otherwise `above` wins."""
    merged = {**below, **above}
    for section in below.keys() & above.keys():
        if isinstance(below[section], dict) and isinstance(above[section], dict):
            merged[section] = {**below[section], **above[section]}
    return merged


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
    if error["type"] == "value_error":  # ours: it says itself what it found
        return f"{name}: {error['ctx']['error']}"
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
