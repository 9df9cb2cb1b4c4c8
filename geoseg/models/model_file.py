"""The model file: one ``.safetensors`` with the weights and, in its header, a JSON model card.

Nothing in it is executed. Opening a model checks its format, architecture, names and shapes of the weights, their
sha256, and that they are finite.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
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
from geoseg.options import check_pixel_sizes
from geoseg.polygons.object_rules import ObjectRules
from geoseg.raster.bands import BandStatistics, default_band_names

FORMAT = "geoseg model 1"
SHIPPED = "dota.safetensors"
"""File name of the default model of `segment` and `evaluate`, in ``geoseg/weights``."""

ACCEPT_TERMS = "GEOSEG_ACCEPT_MODEL_TERMS"
"""Environment variable that silences the notice about the terms of the shipped model."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Architecture, expected input, origin and scores of a model."""

    architecture: str
    """Name in `geoseg.models.architectures`."""

    parameters: dict[str, Any]
    """Keyword arguments of the architecture besides bands and classes."""

    legend: Legend

    bands: int
    """Bands of the input."""

    dtype: str
    """Data type of the training scenes."""

    mean: tuple[float, ...]
    """Per band, in units of the scene. The input of the network is ``(pixels - mean) / std``."""

    std: tuple[float, ...]
    """Per band, in units of the scene."""

    stride: int
    """Windows begin and end at multiples of this many pixels."""

    margin: int
    """Default context in pixels that a tile reads around its core; a multiple of `stride`."""

    context: int | None = None
    """Pixels beyond a core that its logits depend on; None: unbounded or unknown."""

    margins: tuple[dict[str, float], ...] = ()
    """Measurements of smaller margins on real scenes: ``margin`` in pixels, ``changed`` the fraction of labels
    that differ from those of one forward pass over the whole scene, ``pixels`` that were compared; with object outputs
    also ``objects``, and the fractions ``objects_changed`` and ``objects_lost``."""

    pixel_size_m: tuple[float, float] | None = None
    """Smallest and largest pixel size of the training scenes in metres; None: unknown."""

    training: dict[str, Any] = field(default_factory=dict)
    """Data, terms, configuration, steps, hours; ``failures``: known failures; ``logit_shifts``: logit adjustment by
    class; ``ancestor``: summary of the model that training started from."""

    scores: dict[str, Any] = field(default_factory=dict)
    """Scores of `evaluate` by split and annotation layer."""

    objects: ObjectRules | None = None
    """Rules for the object outputs of the network, see `geoseg.models.objects`; None: it has none."""

    band_names: tuple[str, ...] = ()
    """Names of the bands, in lower case, empty for a band without one; (): all unknown. Bands of a scene are chosen by
    them where the scene has names."""

    statistics: tuple[BandStatistics, ...] = ()
    """Values of each band in the training scenes; (): unknown."""

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON data."""
        return {
            "format": FORMAT,
            "architecture": self.architecture,
            "parameters": self.parameters,
            "legend": self.legend.to_json(),
            "bands": self.bands,
            "dtype": self.dtype,
            "band_names": list(self.band_names),
            "statistics": [band.to_json() for band in self.statistics],
            "mean": list(self.mean),
            "std": list(self.std),
            "stride": self.stride,
            "margin": self.margin,
            "context": self.context,
            "margins": list(self.margins),
            "pixel_size_m": list(self.pixel_size_m) if self.pixel_size_m else None,
            "training": self.training,
            "scores": self.scores,
            "objects": self.objects and self.objects.to_json(self.legend),
        }

    @staticmethod
    def from_json(card: Mapping[str, Any]) -> ModelCard:
        """Return the card of JSON data. Raises ValueError, KeyError or TypeError if the data is not a card."""
        if card["format"] != FORMAT:
            raise ValueError(f"format {card['format']!r}, this version reads {FORMAT!r}")
        legend = Legend.from_json(card["legend"])
        objects = card.get("objects")
        made = ModelCard(
            architecture=str(card["architecture"]),
            parameters=dict(card["parameters"]),
            legend=legend,
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
            objects=None if objects is None else ObjectRules.from_json(objects, legend),
            band_names=_band_names(card),
            statistics=tuple(map(BandStatistics.from_json, card.get("statistics", ()))),
        )
        if not len(made.mean) == len(made.std) == made.bands or min(made.std) <= 0:
            raise ValueError("mean and std must have one number per band, std above 0")
        for name, values in (("band_names", made.band_names), ("statistics", made.statistics)):
            if values and len(values) != made.bands:
                raise ValueError(f"{name} must have one entry per band")
        check_pixel_sizes(made.pixel_size_m)
        if made.stride < 1 or made.margin < 0 or made.margin % made.stride:
            raise ValueError(f"margin {made.margin} is not a multiple of stride {made.stride}")
        return made


def _band_names(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the bands; cards of earlier versions have none."""
    default = default_band_names(int(card["bands"]), str(card["dtype"]))
    return tuple(str(name) for name in card.get("band_names", default))


@dataclass(frozen=True, slots=True)
class Model:
    """A network in eval mode and its card."""

    path: Path

    card: ModelCard

    network: nn.Module
    """float32 (N, bands, H, W) → logits (N, classes, H, W), with those of `geoseg.models.objects.OBJECT_OUTPUTS` after
    the classes if the card has `objects`; H and W are multiples of ``card.stride``."""

    sha256: str
    """SHA-256 of the weights, in hexadecimal."""

    window: int | None = None
    """Side in pixels of every window, for a network of fixed input size; None: any multiple of the stride."""


def shipped_model() -> Path:
    """Return the path of the shipped model. Raises ModelError if this installation has none."""
    with as_file(files("geoseg") / "weights" / SHIPPED) as path:
        if not path.is_file():
            raise ModelError("this installation ships no model. Name one with -m MODEL.safetensors")
        return path


def load_model(path: str | os.PathLike[str] | None = None, device: str = "cpu") -> Model:
    """Open and check a model file.

    Parameters
    ----------
    path
        Model file; None: the shipped model.
    device
        Device of the network: cpu, cuda or mps.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not a geoseg model.

    Examples
    --------
    >>> from geoseg import load_model
    >>> model = load_model()
    >>> model.card.architecture, model.card.stride
    ('two-scale-unet', 64)
    """
    file = shipped_model() if path is None else input_file(path, ModelError)
    card, digest, weights = _read(file)
    if path is None:
        _report_terms(file)
    network = build(card.architecture, card.bands, len(card.legend), card.parameters)
    if bool(getattr(network, "object_outputs", ())) != (card.objects is not None):
        raise ModelError(
            f"{file}: its card and its architecture differ in object outputs. Train it again"
        )
    _check_names(file, network.state_dict(), weights)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    network.eval().requires_grad_(False)
    return Model(file, card, network.to(device), digest)


@cache
def _report_terms(file: Path) -> None:
    """Log the terms of the shipped weights, once per process."""
    if not os.environ.get(ACCEPT_TERMS):
        log.warning(
            "%s: the weights of the shipped model are for non-commercial research use only; geoseg info "
            "shows the terms in its model card. Set %s=1 to silence this message",
            *(file, ACCEPT_TERMS),
        )


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card of a model file without building the network. Raises ModelError, as `load_model`."""
    return _read(input_file(path, ModelError))[0]


def save_model(
    path: Path,
    weights: Mapping[str, Tensor],
    card: ModelCard,
    *,
    half: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a model file atomically.

    Parameters
    ----------
    path
        File to write.
    weights
        State dict of the network.
    card
        Model card.
    half
        Store float16, in half the space; `load_model` converts it to float32.
    overwrite
        Replace an existing file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    ValueError
        If a weight is not finite.
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
    """Raise ConfigError or OutputError if `write_card` cannot write to `model`."""
    if model is None or model.suffix.lower() != ".safetensors":
        raise ConfigError("--write: no model to write to. Name a .safetensors file with -m")
    check_output(model.resolve(), overwrite=True)
    if model.exists() and not os.access(model, os.W_OK):
        raise OutputError(f"{model}: no permission to write. Copy it, and name the copy")


def write_card(measured: Model, change: Callable[[ModelCard], ModelCard]) -> ModelCard:
    """Replace the card in a model file; the weights are unchanged.

    Parameters
    ----------
    measured
        Model that the new values were measured on.
    change
        Returns the new card for the one in the file, which may have changed since `measured` was loaded.

    Raises
    ------
    ModelError
        If the file has other weights than `measured`.
    OutputError
        If it cannot be written.
    """
    file = measured.path.resolve()
    card, digest, weights = _read(file)
    if digest != measured.sha256:
        raise ModelError(f"{file}: replaced by another model during the measurement. Measure again")
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
            f"{file}: damaged, or not a .safetensors file ({error}). "
            "Name a model written by geoseg train; other formats are not opened, since they can run code"
        ) from error
    if "geoseg" not in header:
        raise ModelError(f"{file}: no geoseg model card. Use a model written by geoseg train")
    try:
        card = ModelCard.from_json(json.loads(header["geoseg"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: invalid model card ({error}). Train it again") from error
    digest = _digest(weights)
    if header.get("sha256") != digest:
        raise ModelError(
            f"{file}: the weights differ from their checksum. Copy or download it again"
        )
    _check_finite(file, weights, ModelError)
    return card, digest, weights


def _digest(weights: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_finite(file: Path, weights: Mapping[str, Tensor], error: type[Exception]) -> None:
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise error(f"{file}: {name} is not finite: training has diverged. Lower learning_rate")


def _check_names(file: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    wrong = [
        name
        for name in sorted(expected.keys() | found.keys())
        if name not in expected or name not in found or expected[name].shape != found[name].shape
    ]
    if wrong:
        raise ModelError(
            f"{file}: {len(wrong)} weights do not fit its architecture, first {', '.join(wrong[:3])}. "
            "Train it again"
        )
