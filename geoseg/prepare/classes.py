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
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import AnnotationError, ConfigError
from geoseg.files import input_file
from geoseg.legend import BACKGROUND, DOTA_V2, IGNORE, Legend

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
