"""STAC item of a model, with the Machine Learning Model extension.

STAC 1.1, https://stac-extensions.github.io/mlm 1.4 and https://stac-extensions.github.io/classification 2.0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from math import sqrt
from typing import Any

from geoseg._version import __version__
from geoseg.legend import LegendClass
from geoseg.models.model_file import Model, ModelCard
from geoseg.models.objects import OBJECT_OUTPUTS
from geoseg.models.onnx import INPUT, OBJECTS, OPSET, PROBABILITIES
from geoseg.raster.bands import default_band_names

EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
)


def stac_item(model: Model, *, name: str, href: str, size: int) -> dict[str, Any]:
    """Build the STAC item of a model exported to ONNX.

    Parameters
    ----------
    model
        Exported model.
    name
        ID of the item.
    href
        Relative link to the ONNX file.
    size
        Side of its input in pixels.

    Notes
    -----
    The geometry is null: a model card does not state where the model is valid.
    """
    card = model.card
    outputs = _describe_outputs(card, size)
    bands = _name_bands(card)
    properties: dict[str, Any] = {
        "datetime": _format_date(card.training.get("date")),
        "title": str(card.training.get("name") or name),
        "description": _describe_model(model),
        "license": "other",
        "mlm:name": str(card.training.get("name") or name),
        "mlm:architecture": card.architecture,
        "mlm:tasks": [o["tasks"][0] for o in outputs],
        "mlm:framework": "ONNX",
        "mlm:framework_version": f"opset {OPSET}",
        "mlm:total_parameters": sum(p.numel() for p in model.network.parameters()),
        "mlm:pretrained": True,
        "mlm:input": [
            {
                "name": INPUT,
                "bands": list(bands),
                "input": _describe_tensor(["batch", "bands", "height", "width"], card.bands, size),
                "value_scaling": [
                    {"type": "z-score", "mean": mean, "stddev": std}
                    for mean, std in zip(card.mean, card.std, strict=True)
                ],
            }
        ],
        "mlm:output": outputs,
        "geoseg:card": card.to_json(),
        "geoseg:sha256": model.sha256,
    }
    if card.pixel_size_m:
        properties["gsd"] = round(sqrt(card.pixel_size_m[0] * card.pixel_size_m[1]), 4)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": name,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {
            "model": {
                "href": href,
                "type": "application/octet-stream; application=onnx",
                "title": "ONNX model",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "torch.onnx.export",
                "bands": _describe_bands(card, bands),
            }
        },
    }


def _name_bands(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the bands; those without one are numbered."""
    names = card.band_names or default_band_names(card.bands, card.dtype)
    return tuple(name or f"band-{number}" for number, name in enumerate(names, start=1))


def _describe_bands(card: ModelCard, names: Sequence[str]) -> list[dict[str, Any]]:
    """Describe the bands, with the statistics of the training scenes if the card has them."""
    bands: list[dict[str, Any]] = [{"name": name, "data_type": card.dtype} for name in names]
    for band, values in zip(bands, card.statistics, strict=False):
        band["statistics"] = {
            "minimum": values.minimum,
            "maximum": values.maximum,
            "mean": values.mean,
            "stddev": values.std,
        }
    return bands


def _describe_outputs(card: ModelCard, size: int) -> list[dict[str, Any]]:
    """Describe the output of classes, and that of objects if the model has one."""
    dimensions = ["batch", "class", "height", "width"]
    classes = {
        "name": PROBABILITIES,
        "tasks": ["semantic-segmentation"],
        "result": _describe_tensor(dimensions, len(card.legend), size),
        "classification:classes": [_describe_class(c) for c in card.legend],
    }
    if card.objects is None:
        return [classes]
    objects = {
        "name": OBJECTS,
        "tasks": ["instance-segmentation"],
        "description": f"Logits of: {', '.join(OBJECT_OUTPUTS)}",
        "result": _describe_tensor(dimensions, len(OBJECT_OUTPUTS), size),
    }
    return [classes, objects]


def _describe_tensor(dimensions: list[str], channels: int, size: int) -> dict[str, Any]:
    return {"shape": [-1, channels, size, size], "dim_order": dimensions, "data_type": "float32"}


def _describe_class(c: LegendClass) -> dict[str, Any]:
    """Describe a class; the extension restricts the characters of its name, so the full name is the description."""
    short = re.sub("[^0-9A-Za-z_-]+", "-", c.name).strip("-") or f"class-{c.id}"
    return {
        "value": c.id,
        "name": short,
        "description": c.name,
        "color_hint": c.colour[1:].upper(),
    }


def _format_date(date: Any) -> str:
    """Return an ISO date as UTC time, or the current time if it is none."""
    try:
        when = datetime.fromisoformat(str(date))
    except ValueError:
        when = datetime.now(UTC)
    return (when.astimezone(UTC) if when.tzinfo else when).strftime("%Y-%m-%dT%H:%M:%SZ")


def _describe_model(model: Model) -> str:
    training = model.card.training
    sentences = [
        f"Semantic segmentation, {len(model.card.legend) - 1} classes, by geoseg {__version__}."
    ]
    sentences += [
        f"{key.capitalize()}: {training[key]}." for key in ("data", "terms") if training.get(key)
    ]
    return " ".join(sentences)
