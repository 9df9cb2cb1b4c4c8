"""The model file: one ``.safetensors`` with the weights, and in its header a JSON card that says all there
is to know.

Nothing in it is ever executed. A model is checked when it is opened: format, architecture, names and shapes
of the weights, their sha256, and that they are finite.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError, OutputError
from geoseg.files import check_output, input_file, replacing
from geoseg.legend import Legend
from geoseg.models.architectures import build

FORMAT = "geoseg model 1"
SHIPPED = "dota.safetensors"
"""The model that `segment` and `evaluate` use when none is named."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is, expects and is worth."""

    architecture: str

    parameters: dict[str, Any]
    """What the architecture was built with, beside bands and classes."""

    legend: Legend

    bands: int

    dtype: str
    """Data type of the scenes it was trained on."""

    mean: tuple[float, ...]
    """Per band, in units of the scene: the network sees ``(pixels - mean) / std``."""

    std: tuple[float, ...]
    """Per band, in units of the scene."""

    stride: int
    """Windows begin, and end, at multiples of this many pixels."""

    margin: int
    """Pixels around a core that a tile reads by default; a multiple of `stride`."""

    context: int | None = None
    """How far beyond a core, in pixels, its logits depend on the scene; None: without end, or not
    known."""

    margins: tuple[dict[str, float], ...] = ()
    """What was measured on real scenes, per margin tried: ``margin`` in pixels, ``changed`` the share of
    labels that are not those of one forward pass over the whole scene, ``pixels`` that were compared."""

    pixel_size_m: tuple[float, float] | None = None
    """Smallest and largest ground size of a pixel that the model was trained at, in metres; None: not
    known."""

    training: dict[str, Any] = field(default_factory=dict)
    """Data, terms, recipe, steps, hours; `failures`: what it is known to get wrong; `logit_shifts`: what was
    added to each class's logit after learning; `ancestor`: the same of the model that it went on from, in short."""

    scores: dict[str, Any] = field(default_factory=dict)
    """What `evaluate` found, by split and truth."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "format": FORMAT,
            "architecture": self.architecture,
            "parameters": self.parameters,
            "legend": self.legend.to_json(),
            "bands": self.bands,
            "dtype": self.dtype,
            "mean": list(self.mean),
            "std": list(self.std),
            "stride": self.stride,
            "margin": self.margin,
            "context": self.context,
            "margins": list(self.margins),
            "pixel_size_m": list(self.pixel_size_m) if self.pixel_size_m else None,
            "training": self.training,
            "scores": self.scores,
        }

    @staticmethod
    def from_json(card: Mapping[str, Any]) -> ModelCard:
        """The inverse of `to_json`. Raises ValueError, KeyError or TypeError when it is no card."""
        if card["format"] != FORMAT:
            raise ValueError(f"format {card['format']!r}, this geoseg reads {FORMAT!r}")
        made = ModelCard(
            architecture=str(card["architecture"]),
            parameters=dict(card["parameters"]),
            legend=Legend.from_json(card["legend"]),
            bands=int(card["bands"]),
            dtype=str(card["dtype"]),
            mean=tuple(float(v) for v in card["mean"]),
            std=tuple(float(v) for v in card["std"]),
            stride=int(card["stride"]),
            margin=int(card["margin"]),
            context=int(card["context"]) if card.get("context") is not None else None,
            margins=tuple(dict(trial) for trial in card.get("margins", ())),
            pixel_size_m=(
                (float(card["pixel_size_m"][0]), float(card["pixel_size_m"][1]))
                if card["pixel_size_m"]
                else None
            ),
            training=dict(card["training"]),
            scores=dict(card["scores"]),
        )
        if not len(made.mean) == len(made.std) == made.bands or min(made.std) <= 0:
            raise ValueError("mean and std need one number per band, std above 0")
        if made.stride < 1 or made.margin < 0 or made.margin % made.stride:
            raise ValueError(f"margin {made.margin} is no multiple of stride {made.stride}")
        return made


@dataclass(frozen=True, slots=True)
class Model:
    """A network that is ready to use, and its card."""

    path: Path

    card: ModelCard

    network: nn.Module
    """In eval mode: float32 (N, bands, H, W) → logits (N, classes, H, W); H and W multiples of
    ``card.stride``."""

    sha256: str
    """Of the weights."""

    window: int | None = None
    """Side in pixels of every window, for a network that takes no other."""


def shipped_model() -> Path:
    """The model file inside the package. Raises ModelError if this installation has none."""
    with as_file(files("geoseg") / "weights" / SHIPPED) as path:
        if not path.is_file():
            raise ModelError("this installation ships no model. name one with -m MODEL.safetensors")
        return path


def load_model(path: Path | None = None, device: str = "cpu") -> Model:
    """Open and check a model file; None is the shipped model.

    Raises ModelError when it is missing, damaged, or no geoseg model.
    """
    file = shipped_model() if path is None else input_file(path, ModelError)
    card, digest, weights = _read(file)
    network = build(card.architecture, card.bands, len(card.legend), card.parameters)
    _check_names(file, network.state_dict(), weights)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    network.eval().requires_grad_(False)
    return Model(file, card, network.to(device), digest)


def read_card(path: Path) -> ModelCard:
    """The card alone, without building the network. Raises ModelError."""
    return _read(input_file(path, ModelError))[0]


def save_model(
    path: Path,
    weights: Mapping[str, Tensor],
    card: ModelCard,
    *,
    half: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a model file, complete or not at all; `half` stores float16 (half the size, used as float32).

    Raises OutputError when it cannot be written, ValueError for weights that are not finite.
    """
    stored = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .detach()
        .to("cpu", memory_format=torch.contiguous_format)
        .contiguous()
        for name, tensor in weights.items()
    }
    _check_finite(path, stored, ValueError)
    _write(path, stored, card, _digest(stored), overwrite=overwrite)
    return path


def check_card_file(model: Path | None) -> None:
    """Raise ConfigError or OutputError now if `write_card` could not write to `model` later."""
    if model is None or model.suffix.lower() != ".safetensors":
        raise ConfigError("--write: name the model to write to, a .safetensors file, with -m")
    check_output(model.resolve(), overwrite=True)
    if model.exists() and not os.access(model, os.W_OK):
        raise OutputError(f"{model}: no permission to write to it. copy it, and name the copy")


def write_card(measured: Model, change: Callable[[ModelCard], ModelCard]) -> ModelCard:
    """Change the card in the file of a model; the weights stay as they are.

    Raises ModelError when the file holds another model by now, OutputError when it cannot be written.
    """
    file = measured.path.resolve()
    card, digest, weights = _read(file)
    if digest != measured.sha256:
        raise ModelError(f"{file}: was replaced while it was measured. measure again")
    card = change(card)
    _write(file, weights, card, digest, overwrite=True)
    return card


def _write(
    path: Path, weights: dict[str, Tensor], card: ModelCard, digest: str, *, overwrite: bool
) -> None:
    header = {"geoseg": json.dumps(card.to_json()), "sha256": digest}
    with replacing(path, overwrite=overwrite) as scratch:
        save_file(weights, scratch, metadata=header)


def _read(file: Path) -> tuple[ModelCard, str, dict[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{file}: is damaged, or no .safetensors file ({error}). "
            "geoseg opens its own models only and never runs code from a file"
        ) from error
    if "geoseg" not in header:
        raise ModelError(f"{file}: has no geoseg card. use a model written by `geoseg train`")
    try:
        card = ModelCard.from_json(json.loads(header["geoseg"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{file}: its card cannot be read ({error}). train or export it again"
        ) from error
    digest = _digest(weights)
    if header.get("sha256") != digest:
        raise ModelError(
            f"{file}: the weights are not those that were saved. copy or download it again"
        )
    _check_finite(file, weights, ModelError)
    return card, digest, weights


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_finite(file: Path, weights: Mapping[str, Tensor], error: type[Exception]) -> None:
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise error(
                f"{file}: {name} is not finite. the training has diverged, lower learning_rate"
            )


def _check_names(file: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    wrong = [
        name
        for name in sorted(expected.keys() | found.keys())
        if name not in expected or name not in found or expected[name].shape != found[name].shape
    ]
    if wrong:
        raise ModelError(
            f"{file}: {len(wrong)} weights do not fit its architecture, first {', '.join(wrong[:3])}. "
            "the file is not what its card says"
        )
