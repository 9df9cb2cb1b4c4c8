"""ONNX models, geoseg's own and those made elsewhere: what they want is read, never guessed.

It stands in the file's metadata, as geoseg or as Deepness writes them, or in a card of the user's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import ConfigError, ModelError
from geoseg.files import input_file
from geoseg.legend import IGNORE, Legend, LegendClass
from geoseg.models.model_file import FORMAT, Model, ModelCard
from geoseg.models.onnx import CARD, OUTPUT, PROBABILITIES, read_onnx_metadata
from geoseg.models.runtime import RuntimeNetwork

_COLOURS = (
    *("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45"),
    *("#469990", "#9a6324", "#800000", "#808000", "#000075", "#ffe119", "#aaffc3", "#fabed4"),
)


def load_onnx(path: Path, card: Path | None = None) -> Model:
    """Open an ONNX file as a model that onnxruntime computes. `card` is a JSON file with what its
    metadata do not say: see `docs/models.md`.

    Raises ModelError when it cannot be run, or nothing says what it wants; ConfigError without the
    extra *onnx*.
    """
    file = input_file(path, ModelError)
    told = read_onnx_metadata(file)
    graph = file.read_bytes()
    try:
        network = RuntimeNetwork(graph, "onnx")
        bands, side = _shape(network)
        found = _card(file, told, card, bands, side)
    except ModelError as error:
        if str(file) in str(error):
            raise
        raise ModelError(f"{file}: {error}. export it again, opset 17 or lower") from error
    if len(found.mean) != bands:
        raise ModelError(
            f"{file}: takes {bands} bands, its card says {found.bands}. correct the card"
        )
    network.probabilities = _gives_probabilities(file, network, found, side, told.get(OUTPUT))
    return Model(file, found, network, hashlib.sha256(graph).hexdigest(), window=side)


def _shape(network: RuntimeNetwork) -> tuple[int, int | None]:
    """Bands, and the side of a window where it is fixed."""
    shape = network.input_shape
    if len(shape) != 4 or not isinstance(shape[1], int):
        raise ModelError(f"does not take images (N, bands, H, W), but {shape}")
    height, width = shape[2:]
    if isinstance(height, int) != isinstance(width, int) or (
        isinstance(height, int) and height != width
    ):
        raise ModelError(f"takes windows of {width} x {height} pixels, which are no squares")
    return shape[1], height if isinstance(height, int) else None


def _card(
    file: Path, told: Mapping[str, str], card: Path | None, bands: int, side: int | None
) -> ModelCard:
    if card is not None:
        return _from_user(card, bands, side)
    if CARD in told:
        found = ModelCard.from_json(json.loads(told[CARD]))
        return found if side is None else _in_squares(found, side)
    if told.get("model_type") == json.dumps("Segmentor") or "class_names" in told:
        return _from_deepness(file, told, bands, side)
    raise ModelError(
        f"{file}: says nothing of its classes and scaling. say it with --card CARD.json"
    )


def _in_squares(card: ModelCard, side: int) -> ModelCard:
    """A margin of at most a quarter of a window that has only one size."""
    margin = min(card.margin, side // 4 // card.stride * card.stride)
    return replace(card, margin=margin, context=None)


def _from_user(path: Path, bands: int, side: int | None) -> ModelCard:
    try:
        told = json.loads(input_file(path, ConfigError).read_text(encoding="utf-8"))
        stride = max(1, int(told.get("stride", 1 if side else 32)))
        margin = told.get("margin", (side or 512) // 8 // stride * stride)
        plain = {
            "format": FORMAT, "architecture": "onnx", "parameters": {}, "bands": bands,
            "dtype": "uint8", "stride": stride, "margin": margin, "pixel_size_m": None,
            "training": {}, "scores": {},
        } | told  # fmt: skip
        plain["legend"] = _legend(told["legend"])
        return ModelCard.from_json(plain)
    except KeyError as error:
        raise ConfigError(f"{path}: lacks {error}. a card needs legend, mean and std") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: is no card of a model ({error}). see docs/models.md") from error


def _legend(told: Any) -> Any:
    """A legend in full, or a list of class names, background first."""
    if told and all(isinstance(name, str) for name in told):
        return _named(dict(enumerate(told))).to_json()
    return told


def _named(names: Mapping[int, str]) -> Legend:
    """Classes with colours of ours; the first is the background."""
    return Legend(
        tuple(
            LegendClass(i, names[i], "#000000" if i == 0 else _COLOURS[(i - 1) % len(_COLOURS)])
            for i in range(len(names))
        )
    )


def _from_deepness(file: Path, told: Mapping[str, str], bands: int, side: int | None) -> ModelCard:
    try:
        values = {key: json.loads(text) for key, text in told.items()}
        names = {int(number): str(name) for number, name in values["class_names"].items()}
        size = side or int(values.get("tile_size") or values.get("tiles_size") or 512)
        margin = int(values.get("tiles_overlap", 15) / 100 * size / 2)
        metres = float(values["resolution"]) / 100 if values.get("resolution") else None
        return ModelCard(
            architecture="onnx",
            parameters={},
            legend=_named(names),
            bands=bands,
            dtype="uint8",
            mean=tuple(255 * float(v) for v in values.get("standardization_mean", [0.0] * bands)),
            std=tuple(255 * float(v) for v in values.get("standardization_std", [1.0] * bands)),
            stride=1 if side else 32,
            margin=margin if side else ceil(margin / 32) * 32,
            pixel_size_m=(metres, metres) if metres else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file}: its metadata cannot be understood ({error})") from error


def _gives_probabilities(
    file: Path, network: RuntimeNetwork, card: ModelCard, side: int | None, told: str | None
) -> bool:
    """What the file says, or what a look at an output of noise says: shares add up to 1."""
    length = side or 4 * card.stride
    noise = np.random.default_rng(0).standard_normal((1, card.bands, length, length), np.float32)
    output = network.raw(noise)
    classes = len(card.legend)
    if output.ndim != 4 or output.shape[2:] != noise.shape[2:]:
        raise ModelError(
            f"{file}: gives {output.shape} for a window of {length} pixels, no logits per pixel. "
            "geoseg runs models for semantic segmentation"
        )
    if output.shape[1] != classes and not (output.shape[1] == 1 and classes == 2):
        raise ModelError(
            f"{file}: tells {output.shape[1]} classes apart, its card names {classes}. "
            "background counts as one"
        )
    if classes > IGNORE:
        raise ModelError(f"{file}: has {classes} classes, more than {IGNORE}")
    if told is not None:
        return told == PROBABILITIES
    shares = bool(output.min() >= 0 and output.max() <= 1 + 1e-3)
    return shares and (output.shape[1] == 1 or bool(np.abs(output.sum(axis=1) - 1).max() < 1e-3))
