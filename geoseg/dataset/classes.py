"""Classes of a dataset: its legend, and renaming, merging and dropping by a TOML file.

```toml
"large-vehicle" = "vehicle"   # rename
"small-vehicle" = "vehicle"   # and merge, since both get the same name
"helipad" = ""                # drop
"*" = ""                      # all classes that are not listed; without this line they are kept
```
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError, ConfigError
from geoseg.files import input_file
from geoseg.legend import BACKGROUND, DOTA_V1, DOTA_V2, DOTA_V15, IGNORE, Legend, hue
from geoseg.options import ALL_CLASSES, PrepareOptions

ALL_OTHERS = "*"
DROPPED = ""
SHIPPED = "shipped"

LEGENDS = {"dota-v1.0": DOTA_V1, "dota-v1.5": DOTA_V15, "dota-v2.0": DOTA_V2}
"""Legends by name, smallest first; each starts with the classes of the one before."""

_DROP = -1


@dataclass(frozen=True, slots=True)
class ClassMapping:
    """Renaming of classes, and the legend that the user requests."""

    targets: Mapping[str, str] = field(default_factory=dict)
    """Class of the dataset, or DROPPED, by class of the annotations; ALL_OTHERS is one of the keys, perhaps."""

    path: Path | None = None
    """File of `targets`; None without renaming."""

    requested: Legend | None = None
    """Legend of the dataset, if the user names one."""

    countable: tuple[str, ...] | None = None
    """Countable classes of the dataset, or ALL_CLASSES; None: as in the legend."""

    def __call__(self, name: str) -> str:
        """Return the class that `name` becomes, or DROPPED."""
        return self.targets.get(name, self.targets.get(ALL_OTHERS, name))

    @property
    def sources(self) -> tuple[str, ...]:
        """Classes that are listed."""
        return tuple(name for name in self.targets if name != ALL_OTHERS)

    @property
    def source_legend(self) -> Legend | None:
        """Legend of the annotations, if it is known before they are read."""
        return None if self.path else self.requested

    def check_sources(self, known: Iterable[str]) -> None:
        """Raise ConfigError, with the nearest name, if a class that is listed is not one of `known`."""
        names = set(known)
        for name in self.sources:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigError(
                    f"{self.path}: class {name!r} does not occur ({hint}classes: "
                    f"{', '.join(sorted(names))}). Correct it or remove the line"
                )

    def map_legend(self, source: Legend) -> Legend:
        """Return the classes that those of a legend become, in their order.

        A class of DOTA gets DOTA's colour, another one that of the first class that becomes it. Raises ConfigError if
        no class is left.
        """
        known = {c.name: c.colour for c in DOTA_V2.objects}
        colours: dict[str, str] = {}
        for c in source.objects:
            if target := self(c.name):
                colour = c.colour if target == c.name else known.get(target, c.colour)
                colours.setdefault(target, colour)
        if not colours:
            raise ConfigError(f"{self.path}: drops all classes. Keep at least one")
        return Legend.of(colours)

    def label_table(self, source: Legend, legend: Legend) -> NDArray[np.int16]:
        """Return (256,) labels of `legend` by label of `source`; -1 where a class is dropped.

        Raises ValueError for a class that `legend` does not have.
        """
        targets = [self(c.name) for c in source.objects]
        ids = [legend.id_of(target) if target else _DROP for target in targets]
        table = np.full(IGNORE + 1, _DROP, np.int16)
        table[: len(source)] = [BACKGROUND, *ids]
        table[IGNORE] = IGNORE
        return table


def read_class_options(options: PrepareOptions) -> ClassMapping:
    """Read the legend and the renaming of classes that the options name. Raises ConfigError, ModelError."""
    requested = find_legend(options.legend) if options.legend else None
    mapping = read_class_mapping(Path(options.classes)) if options.classes else ClassMapping()
    return replace(mapping, requested=requested, countable=options.countable)


def mark_countable(legend: Legend, names: tuple[str, ...]) -> Legend:
    """Return a legend of which these classes are countable, or every one for ALL_CLASSES.

    Raises ConfigError for an unknown class.
    """
    every = names == (ALL_CLASSES,)
    try:
        chosen = set() if every else {legend.id_of(name) for name in names}
    except ValueError as error:
        raise ConfigError(f"--countable: {error}. Correct it") from error
    marked = [replace(c, countable=every or c.id in chosen) for c in legend.objects]
    return Legend((legend[BACKGROUND], *marked))


def read_class_mapping(path: Path) -> ClassMapping:
    """Read the renaming of classes from a TOML file. Raises ConfigError."""
    try:
        targets = tomllib.loads(input_file(path, ConfigError).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ConfigError(
            f'{path}: invalid TOML ({error}). Write lines such as "a" = "b"'
        ) from error
    for name, target in targets.items():
        if not isinstance(target, str):
            raise ConfigError(
                f'{path}: class {name!r} must become a name or "", got {target!r}. '
                "Quote names with dots"
            )
        if target == DOTA_V2[BACKGROUND].name:
            raise ConfigError(f'{path}: class {name!r} cannot become background. Drop it: ""')
    return ClassMapping(targets, path)


def find_legend(name: str) -> Legend:
    """Return a legend by name: a DOTA legend, that of a model (a .safetensors file, or ``shipped``), or a JSON file.

    The JSON file lists id, name and colour of each class. Raises ConfigError, ModelError.
    """
    if name in LEGENDS:
        return LEGENDS[name]
    if name == SHIPPED or Path(name).suffix.lower() == ".safetensors":
        from geoseg.models.model_file import read_card, shipped_model  # imports torch

        return read_card(shipped_model() if name == SHIPPED else Path(name)).legend
    if Path(name).suffix.lower() != ".json":
        raise ConfigError(
            f"legend {name!r}: unknown. Use {', '.join(LEGENDS)}, {SHIPPED}, a model or a .json file"
        )
    try:
        return Legend.from_json(json.loads(input_file(name, ConfigError).read_text("utf-8")))
    except ValueError as error:
        raise ConfigError(
            f"{name}: not a legend ({error}). List id, name and colour of each class"
        ) from error


def make_class_error(path: Path, error: ValueError) -> AnnotationError:
    """Return the error for annotations with a class that is not in the legend."""
    return AnnotationError(f"{path}: {error}. Correct it, name another --legend, or use --classes")


def use_smallest_legend(
    legend: Legend, annotations: Iterable[Annotations]
) -> tuple[Legend, Callable[[Annotations], Annotations]]:
    """Find the smallest DOTA legend with all classes of the annotations.

    Parameters
    ----------
    legend
        Legend of the annotations; it starts with the largest DOTA legend.
    annotations
        Annotations of all scenes.

    Returns
    -------
    Legend
        A DOTA legend, and the classes of the annotations that DOTA does not have.
    callable
        Renumbers the class IDs of annotations.
    """
    used = {int(number) for part in annotations for number in np.unique(part.class_id)}
    highest = max((number for number in used if number < len(DOTA_V2)), default=0)
    dota = next(known for known in LEGENDS.values() if highest < len(known))
    others = [legend[number].name for number in sorted(used) if number >= len(DOTA_V2)]
    smallest = extend_legend(dota, others)
    ids = [smallest.names.index(n) if n in smallest.names else BACKGROUND for n in legend.names]
    table = np.array(ids, np.uint8)
    return smallest, lambda part: replace(part, class_id=table[part.class_id])


def extend_legend(legend: Legend, names: Iterable[str]) -> Legend:
    """Append classes to a legend, unless it has them."""
    colours = {c.name: c.colour for c in legend.objects}
    for name in names:
        if name not in colours:
            colours[name] = _unused_colour(set(colours.values()))
    return Legend.of(colours)


def unite_legends(legends: Mapping[Path, Legend], report: ValidationReport) -> Legend:
    """Unite legends by class name, in their order, in the colour of the first.

    A class that has another colour in another legend, or the colour of an earlier class, is added to the report.
    """
    taken = {c.colour for legend in legends.values() for c in legend}
    colours: dict[str, str] = {}
    for path, legend in legends.items():
        for c in legend.objects:
            if c.name not in colours:
                clash = c.colour in colours.values()
                unused = _unused_colour(taken | set(colours.values())) if clash else c.colour
                colours[c.name] = unused
            if colours[c.name] != c.colour:
                report.add(IssueKind.CLASS_COLOUR, path, Action.REPAIRED, note=c.name)
    return Legend.of(colours)


def _unused_colour(taken: Container[str]) -> str:
    """Return the first colour of DOTA, or else hue, that is not taken."""
    colours = (c.colour for c in DOTA_V2.objects)
    return next(c for c in chain(colours, map(hue, count())) if c not in taken)
