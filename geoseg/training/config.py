"""Training configuration: the tables of a TOML file, their defaults, and reading them."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.options import Difficult, check_pixel_sizes
from geoseg.training.class_weights import BETA, Weighting

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["float32", "bfloat16", "float16"]

RENAMED_KEYS = {
    "augment.turn": "augment.rotate90",
    "augment.paste": "augment.copy_paste",
    "augment.paste_objects": "augment.copy_paste_objects",
    "augment.paste_classes": "augment.copy_paste_classes",
    "loss.prior_windows": "loss.logit_adjustment_windows",
}
"""Keys of earlier versions and what they are called now."""

_MAX_DEPTH = 8  # of configurations that extend one another


def _check_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"give the smallest value first, then the largest, got {list(bounds)}")
    return bounds


Range = Annotated[tuple[Positive, Positive], AfterValidator(_check_order)]


def _check_pixel_sizes(sizes: tuple[float, float]) -> tuple[float, float]:
    check_pixel_sizes(sizes)
    return sizes


PixelSizes = Annotated[tuple[Positive, Positive], AfterValidator(_check_pixel_sizes)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataSection(_Section):
    """``[data]``: the dataset, and how training windows are sampled from it."""

    dataset: str = ""
    """Dataset folder. A relative path in a file starts at the file's folder."""

    layer: str | None = None
    """Annotation layer to learn from. None: outlines where the dataset has them."""

    difficult: Difficult = "keep"
    """Treatment of objects marked as difficult: "keep", "ignore" (exclude their pixels from the loss) or "drop"
    (treat them as background)."""

    window: Annotated[int, Field(ge=32, le=4096)] = 512
    """Side of a training window in pixels, a multiple of the network's stride."""

    balanced: Fraction = 0.5
    """Fraction of windows centred near an object whose class is drawn first, see `class_power`."""

    class_power: Fraction = 0.0
    """Power of the number of its objects with which the class of a balanced window is drawn: 0 for all classes alike,
    1 for all objects alike."""

    background: Fraction = 0.0
    """Fraction of windows without objects. The rest, neither `balanced` nor `background`, is placed uniformly."""

    unlabelled: Fraction = 0.0
    """Fraction of windows placed anywhere in the scenes, even outside the annotated area: for `loss.distillation`."""

    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Fraction of the training scenes that are not trained on, rounded to one in n and chosen by the CRC-32 of their
    names, for choosing object rules."""

    @model_validator(mode="after")
    def _check_fractions(self) -> Self:
        if self.balanced + self.background + self.unlabelled > 1:
            raise ValueError(
                "balanced, background and unlabelled are fractions of all windows: at most 1 together"
            )
        return self


class NetworkSection(_Section):
    """``[network]``: architecture, first weights and input scaling."""

    architecture: str | None = None
    """Name of the network: "unet", "mobile-unet", "two-scale-unet", "deeplab", or that of an installed package. None:
    that of the geoseg model in `pretrained`, else "two-scale-unet"."""

    parameters: dict[str, Any] | None = None
    """Keyword arguments of the architecture. None: those of the geoseg model in `pretrained`, if it has this
    architecture."""

    pretrained: str | None = None
    """Initial weights. "shipped" or a .safetensors file: all weights of a geoseg model. "package": encoder weights
    of the extra `pretrained`. Another file: encoder weights. "": random. None: the shipped model, or random weights if
    `architecture` is set. A relative path starts at the working directory."""

    mean: tuple[float, ...] | None = None
    """Mean of each band, in units of the scene. None: that of the geoseg model in `pretrained`, if it has the same
    number of bands and data type, else from the statistics of the dataset."""

    std: tuple[float, ...] | None = None
    """Standard deviation of each band, in units of the scene. Set together with `mean`."""


class LossSection(_Section):
    """``[loss]``: class weights and terms of the loss. `geoseg.training.loss` has the formula."""

    weights: Weighting = "sqrt"
    """Class weights as a function of pixel counts: "none", "inverse", "sqrt", "enet" or "effective"."""

    cap: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3.0
    """Largest class weight, as a multiple of the background's; 0: no limit."""

    beta: Annotated[float, Field(gt=0, lt=1)] = BETA
    """β of the weights "effective". 1 / (1 - β) is the number of pixels at which the effective number saturates."""

    dice: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Factor of the Dice term; 0 switches it off."""

    focal: Annotated[float, Field(ge=0, le=10)] = 0.0
    """γ of the focal loss; 0 switches it off."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """ε of label smoothing; 0 switches it off."""

    distillation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Factor of the distillation from the geoseg model in `network.pretrained` on pixels without a label; 0 switches it
    off. Other initial weights have none."""

    logit_adjustment_windows: Annotated[int, Field(ge=0)] = 100
    """Evenly spaced windows of the training split on which the class logits are adjusted after training (logit
    adjustment, Menon et al. 2021); 0 switches it off."""


class ObjectsSection(_Section):
    """``[objects]``: the loss of a network with object outputs, see `geoseg.training.object_loss`."""

    interior: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """Factor of the interior of objects."""

    touching: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.3
    """Factor of touching borders."""


class AugmentSection(_Section):
    """``[augment]``: random changes of training windows, each switched by itself."""

    flip: bool = True
    """Flip half of the windows."""

    rotate90: bool = True
    """Rotate by a random multiple of 90°."""

    rotate: Fraction = 0.0
    """Fraction of windows rotated by a further angle of up to ±45°."""

    scale: Range = (1.0, 1.0)
    """Smallest and largest scale factor of scale jitter, log-uniform."""

    pixel_size_m: Range | None = None
    """Replaces `scale`: smallest and largest pixel size of windows in metres, log-uniform. Scenes of unknown pixel
    size fall back to `scale`."""

    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Largest change of brightness, as a fraction of the value range."""

    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Largest relative change of contrast."""

    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Largest relative change of saturation."""

    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Largest shift of hue, as a fraction of the colour circle."""

    blur: Fraction = 0.0
    """Fraction of windows blurred by a Gaussian of σ = 0.3 to 1.5 pixels."""

    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest standard deviation of Gaussian noise, as a fraction of the value range."""

    copy_paste: Fraction = 0.0
    """Fraction of windows into which objects of other scenes are pasted (Copy-Paste, Ghiasi et al. 2021)."""

    copy_paste_objects: Count = 3
    """Largest number of objects pasted into a window."""

    copy_paste_classes: tuple[str, ...] = ()
    """Classes to paste. Empty: all, rare classes more often."""


class TrainingSection(_Section):
    """``[training]``: optimization, validation and checkpoints."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the random weights and windows."""

    steps: Count = 1000
    """Optimizer steps."""

    minutes: Positive | None = None
    """Train for this time instead of a number of `steps`, with a learning rate that falls with the time. Such a run
    is not reproducible: how many steps it takes, and at which rates, depends on the speed of the machine."""

    batch_size: Count = 8
    """Windows in memory at once, in each process."""

    accumulate: Count = 1
    """Batches per step (gradient accumulation), for steps of more windows than fit into memory."""

    batch_norm: Literal["batch", "running"] | None = None
    """Statistics by which batch norm normalizes: those of each batch, or the running ones of the initial weights, which
    then stay as they are. "running" suits a start from a trained model with batches of few windows. None: "running"
    from a geoseg model, else "batch"."""

    precision: Precision = "float32"
    """Arithmetic of the forward and backward pass: "float32", "bfloat16" or "float16" (mixed precision, for GPUs).
    Weights are float32."""

    learning_rate: Positive = 1e-3
    """Largest learning rate, after the warm-up."""

    encoder_learning_rate: Positive | None = None
    """Learning rate of the encoders. None: `learning_rate`."""

    learning_rates: dict[str, Positive] = {}
    """Learning rates of other parts of the network by the names of its attributes, for example ``{ head = 2e-3 }``."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""

    warmup: Annotated[int, Field(ge=0)] = 50
    """Steps of linear warm-up of the learning rate."""

    ema: Fraction = 0.99
    """Decay of the exponential moving average of the weights, which becomes the model."""

    interpolation: tuple[Fraction, ...] = ()
    """Weights α of the trained model in means with the geoseg model in `network.pretrained`,
    ``α trained + (1 - α) initial`` (Wortsman et al. 2022, arXiv 2109.01903). The mean with the smallest α whose
    validation mIoU is at least 97 % of the best becomes the model. Empty, or with a class that the initial model does
    not have: the trained model itself."""

    gradient_norm: Positive = 5.0
    """Largest norm of the gradient; longer gradients are scaled down."""

    validate_every: Count = 250
    """Steps between validations."""

    validation_windows: Count = 100
    """Largest number of windows of the validation split, evenly spaced."""

    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many validations without a better mIoU; 0: never."""

    checkpoint_every: Count = 100
    """Steps between checkpoints."""


class CardSection(_Section):
    """``[card]``: entries of the model card. A configuration does not inherit this table by ``extends``."""

    name: str | None = None
    """Name of the model."""

    author: str | None = None
    """Author of the model."""

    data: str | None = None
    """Training data, in words."""

    terms: str | None = None
    """Terms of use of the data and therefore of the model. None: those of the geoseg model in `network.pretrained`."""

    note: str | None = None
    """Further remarks."""

    failures: tuple[str, ...] = ()
    """Known failures of the model, a sentence each."""

    pixel_size_m: PixelSizes | None = None
    """Smallest and largest pixel size of the training scenes in metres, for scenes of unknown pixel size. Scenes of
    other sizes are resampled for the model."""


class TrainConfig(_Section):
    """A training configuration, one attribute per table of the TOML file."""

    data: DataSection = DataSection()
    network: NetworkSection = NetworkSection()
    loss: LossSection = LossSection()
    objects: ObjectsSection = ObjectsSection()
    augment: AugmentSection = AugmentSection()
    training: TrainingSection = TrainingSection()
    card: CardSection = CardSection()


def read_config(path: str | PathLike[str], settings: Sequence[str] = ()) -> TrainConfig:
    """Read a training configuration.

    Parameters
    ----------
    path
        TOML file. ``extends = "other.toml"`` at its head names a file, relative to its own folder, whose
        values it inherits, except ``[card]``.
    settings
        Values that override the file, each as ``section.key=value``. A relative dataset folder in a setting
        starts at the working directory.

    Raises
    ------
    ConfigError
        For a file that cannot be read, an unknown or renamed key, or a value out of range.

    Examples
    --------
    >>> from geoseg.training.config import read_config
    >>> config = read_config("configs/dota-mobile.toml", ["training.steps=500"])
    >>> config.training.steps, config.network.architecture
    (500, 'mobile-unet')
    """
    file = Path(path)
    values = _read(file, _MAX_DEPTH)
    for setting in settings:
        _set(values, setting)
    return parse_config(values, f"{file} with --set" if settings else str(file))


def parse_config(values: dict[str, Any], where: str) -> TrainConfig:
    """Validate the tables of a configuration.

    Parameters
    ----------
    values
        Plain TOML or JSON values by section and key.
    where
        Name of their source, for error messages.

    Raises
    ------
    ConfigError
        For an unknown or renamed key, or a value out of range.
    """
    try:
        # strict JSON mode accepts arrays as tuples, but no text as a number
        return TrainConfig.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(map(_explain, error.errors()[:5]))) from error
    except ValueError as error:
        raise ConfigError(f"{where}: {error}. Numbers must be finite") from error


def rename_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a stored configuration under the current names of their keys."""
    renamed = {
        name: dict(section) if isinstance(section, Mapping) else section
        for name, section in values.items()
    }
    for old, new in RENAMED_KEYS.items():
        (section, old_key), (_, new_key) = old.split("."), new.split(".")
        table = renamed.get(section)
        if isinstance(table, dict) and old_key in table:
            table.setdefault(new_key, table.pop(old_key))
    return renamed


def _read(path: Path, depth: int) -> dict[str, Any]:
    """Return the values of a file and of those that it extends."""
    file = input_file(path, ConfigError)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{file}: not valid TOML ({error}). See configs/ for examples") from error
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("dataset"), str):
        data["dataset"] = str(file.parent / data["dataset"])
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{file}: extends: must name one file, got {base!r}")
    if not depth:
        raise ConfigError(f"{file}: extends: circular or nested too deeply. Shorten the chain")
    inherited = _read(file.parent / base, depth - 1)
    inherited.pop("card", None)  # describes another model
    return _merge(inherited, values)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two configurations key by key; `above` wins."""
    merged = {**below, **above}
    for section in below.keys() & above.keys():
        if isinstance(below[section], dict) and isinstance(above[section], dict):
            merged[section] = {**below[section], **above[section]}
    return merged


def _set(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot or not name:
        raise ConfigError(
            f"--set {setting!r}: must be section.key=value, for example training.steps=500"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    if not isinstance(table := values.setdefault(section, {}), dict):
        raise ConfigError(
            f"--set {setting!r}: {section!r} is not a table. Correct the configuration"
        )
    table[name] = value


def _explain(error: Any) -> str:
    """Describe one validation error of pydantic."""
    location = [str(part) for part in error["loc"]]
    name = ".".join(location)
    if error["type"] == "value_error":  # raised by a validator above
        return f"{name}: {error['ctx']['error']}"
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"
    if name in RENAMED_KEYS:
        return f"key {name!r} was renamed. Write {RENAMED_KEYS[name]!r}"
    section: type[BaseModel] = TrainConfig
    for part in location[:-1]:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        section = annotation
    near = difflib.get_close_matches(location[-1], section.model_fields, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(section.model_fields)}"
    return f"unknown key {name!r}. {hint}"
