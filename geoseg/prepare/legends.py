"""Which legend a dataset gets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from geoseg.annotations import Annotations
from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.legend import DOTA_V1, DOTA_V2, DOTA_V15, Legend

LEGENDS = {"dota-v1.0": DOTA_V1, "dota-v1.5": DOTA_V15, "dota-v2.0": DOTA_V2}
"""Those that can be asked for by name, smallest first; each begins with the one before."""

SHIPPED = "shipped"


def legend_named(name: str) -> Legend:
    """A DOTA legend by name, that of a model (a .safetensors file, or ``shipped``), or any legend from a JSON
    file: a list of id, name, colour.

    Raises ConfigError, ModelError.
    """
    if name in LEGENDS:
        return LEGENDS[name]
    if name == SHIPPED or Path(name).suffix.lower() == ".safetensors":
        from geoseg.model.file import read_card, shipped_model  # torch

        return read_card(shipped_model() if name == SHIPPED else Path(name)).legend
    if Path(name).suffix.lower() != ".json":
        raise ConfigError(
            f"legend {name!r}: is not known. use {', '.join(LEGENDS)}, {SHIPPED}, a model or a .json file"
        )
    try:
        return Legend.from_json(json.loads(input_file(name, ConfigError).read_text("utf-8")))
    except ValueError as fault:
        raise ConfigError(
            f"{name}: is no legend ({fault}). list id, name and colour of each class"
        ) from fault


def smallest_legend(annotations: Iterable[Annotations]) -> Legend:
    """The smallest DOTA legend that has every class of `annotations`, which were read by the largest."""
    highest = max((int(a.class_id.max()) for a in annotations if len(a)), default=0)
    return next(legend for legend in LEGENDS.values() if highest < len(legend))
