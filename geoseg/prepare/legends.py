"""Which legend a dataset gets."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from itertools import chain, count
from pathlib import Path

import numpy as np

from geoseg.annotations import Annotations
from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.legend import DOTA_V1, DOTA_V2, DOTA_V15, Legend, hue
from geoseg.prepare.findings import Done, Findings, Kind

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


def smallest_legend(legend: Legend, annotations: Iterable[Annotations]) -> Legend:
    """The smallest DOTA legend that has every class of `annotations`, and those of them that DOTA does not know.

    `legend`, whose ids they have, begins with the largest DOTA legend.
    """
    used = {int(number) for a in annotations for number in np.unique(a.class_id)}
    highest = max((number for number in used if number < len(DOTA_V2)), default=0)
    dota = next(known for known in LEGENDS.values() if highest < len(known))
    return with_names(dota, [legend[n].name for n in sorted(used) if n >= len(DOTA_V2)])


def with_names(legend: Legend, names: Iterable[str]) -> Legend:
    """A legend and, after its classes, those of `names` that it does not have."""
    colours = {c.name: c.colour for c in legend.objects}
    for name in names:
        if name not in colours:
            colours[name] = _free(set(colours.values()))
    return Legend.of(colours)


def united(legends: Mapping[Path, Legend], findings: Findings) -> Legend:
    """Every class of several legends once, by name, in the order they come, in the colour of the first.

    A class that has another colour elsewhere, or one that an earlier class has, is told.
    """
    taken = {c.colour for legend in legends.values() for c in legend}
    colours: dict[str, str] = {}
    for path, legend in legends.items():
        for c in legend.objects:
            if c.name not in colours:
                clash = c.colour in colours.values()
                colours[c.name] = _free(taken | set(colours.values())) if clash else c.colour
            if colours[c.name] != c.colour:
                findings.add(Kind.CLASS_COLOUR, path, Done.REPAIRED, note=c.name)
    return Legend.of(colours)


def _free(taken: Container[str]) -> str:
    """A colour that is not taken: the first of DOTA's, or a hue."""
    spare = (c.colour for c in DOTA_V2.objects)
    return next(c for c in chain(spare, map(hue, count())) if c not in taken)
