"""Classes renamed, merged and dropped, as a TOML file says.

```toml
"large-vehicle" = "vehicle"   # renamed
"small-vehicle" = "vehicle"   # and merged, as both become the same
"helipad" = ""                # dropped
"*" = ""                      # every class that is not named here; without this line they stay as they are
```
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError, ConfigError
from geoseg.files import input_file
from geoseg.legend import BACKGROUND, DOTA_V1, DOTA_V2, DOTA_V15, IGNORE, Legend, hue

ALL_OTHERS = "*"
DROPPED = ""

_GONE = -1


@dataclass(frozen=True, slots=True)
class Renaming:
    """What becomes of each class."""

    targets: Mapping[str, str] = field(default_factory=dict)
    """Class as annotated → class of the dataset, or DROPPED; perhaps also what ALL_OTHERS become."""

    path: Path | None = None
    """The file that says so."""

    def __call__(self, name: str) -> str:
        """The class that `name` becomes, or DROPPED."""
        return self.targets.get(name, self.targets.get(ALL_OTHERS, name))

    @property
    def sources(self) -> tuple[str, ...]:
        """The classes that are named."""
        return tuple(name for name in self.targets if name != ALL_OTHERS)

    def check(self, known: Iterable[str]) -> None:
        """Raise ConfigError, with the nearest name, when a class that is named is not one of `known`."""
        names = set(known)
        for name in self.sources:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigError(
                    f"{self.path}: class {name!r} occurs nowhere ({hint}there are: "
                    f"{', '.join(sorted(names))}). correct it or remove the line"
                )

    def legend(self, former: Legend) -> Legend:
        """The classes that those of a legend become, in their order.

        A name that DOTA knows has its colour, any other that of the first class that becomes it. Raises
        ConfigError when none is left.
        """
        known = {c.name: c.colour for c in DOTA_V2.objects}
        colours: dict[str, str] = {}
        for c in former.objects:
            if target := self(c.name):
                colours.setdefault(
                    target, c.colour if target == c.name else known.get(target, c.colour)
                )
        if not colours:
            raise ConfigError(f"{self.path}: drops every class there is. keep one")
        return Legend.of(colours)

    def table(self, former: Legend, legend: Legend) -> NDArray[np.int16]:
        """(256,) new label by former label, -1 where the class is dropped.

        Raises ValueError for a class that `legend` does not have.
        """
        targets = [self(c.name) for c in former.objects]
        ids = [legend.id_of(target) if target else _GONE for target in targets]
        table = np.full(IGNORE + 1, _GONE, np.int16)
        table[: len(former)] = [BACKGROUND, *ids]
        table[IGNORE] = IGNORE
        return table


def read_classes(path: Path) -> Renaming:
    """What a TOML file says about classes. Raises ConfigError."""
    try:
        said = tomllib.loads(input_file(path, ConfigError).read_text(encoding="utf-8-sig"))
    except ValueError as fault:
        raise ConfigError(f'{path}: is no TOML ({fault}). write lines like "a" = "b"') from fault
    for name, target in said.items():
        if not isinstance(target, str):
            raise ConfigError(
                f'{path}: class {name!r} must become a name or "", got {target!r}. '
                "names with dots need quotes"
            )
        if target == DOTA_V2[BACKGROUND].name:
            raise ConfigError(f'{path}: class {name!r} cannot become background. drop it: ""')
    return Renaming(said, path)


def unknown_class(path: Path, fault: ValueError) -> AnnotationError:
    """The error for annotations with a class that a legend does not have."""
    return AnnotationError(f"{path}: {fault}. correct it, name another --legend, or use --classes")


# Which legend a dataset gets.

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
        from geoseg.models.model_file import read_card, shipped_model  # torch

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


def united(legends: Mapping[Path, Legend], report: ValidationReport) -> Legend:
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
                report.add(IssueKind.CLASS_COLOUR, path, Action.REPAIRED, note=c.name)
    return Legend.of(colours)


def _free(taken: Container[str]) -> str:
    """A colour that is not taken: the first of DOTA's, or a hue."""
    spare = (c.colour for c in DOTA_V2.objects)
    return next(c for c in chain(spare, map(hue, count())) if c not in taken)
