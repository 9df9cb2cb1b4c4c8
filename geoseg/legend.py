"""Class ids, names and colours."""

from __future__ import annotations

import colorsys
import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BACKGROUND = 0
"""Class id of everything that is not an object."""

IGNORE = 255
"""Label of pixels that count nowhere: no data, or an object that is to be ignored."""


@dataclass(frozen=True, slots=True)
class LegendClass:
    """One class."""

    id: int
    """The value in label rasters, 0 to 254."""

    name: str

    colour: str
    """``#rrggbb``"""


@dataclass(frozen=True, slots=True)
class Legend:
    """The classes of a dataset or model, background first, ids consecutive from 0."""

    classes: tuple[LegendClass, ...]

    def __post_init__(self) -> None:
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise ValueError(f"class ids must run from 0, got {[c.id for c in self.classes]}")
        if not 2 <= len(self.classes) <= IGNORE:
            raise ValueError(f"a legend has background and 1 to 254 classes, got {len(self)}")
        if len(set(self.names)) != len(self):
            raise ValueError(f"class names must differ, got {list(self.names)}")
        for c in self.classes:
            if not c.name or not re.fullmatch(r"#[0-9a-f]{6}", c.colour):
                raise ValueError(f"a class has a name and a colour #rrggbb, got {c}")

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[LegendClass]:
        return iter(self.classes)

    def __getitem__(self, class_id: int) -> LegendClass:
        return self.classes[class_id]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by id, background first."""
        return tuple(c.name for c in self.classes)

    @property
    def objects(self) -> tuple[LegendClass, ...]:
        """Every class but the background."""
        return self.classes[1:]

    def id_of(self, name: str) -> int:
        """Class id of `name`. Raises ValueError with the nearest known name."""
        try:
            return self.names.index(name)
        except ValueError:
            near = difflib.get_close_matches(name.lower().replace("_", "-"), self.names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(self.names[1:])
            raise ValueError(f"unknown class {name!r} ({hint}known: {known})") from None

    def rgb(self, class_id: int) -> tuple[int, int, int]:
        """Colour of a class as three numbers 0 to 255."""
        red, green, blue = bytes.fromhex(self[class_id].colour[1:])
        return red, green, blue

    def to_json(self) -> list[dict[str, Any]]:
        """Plain lists and dicts, as they stand in dataset.json and in model cards."""
        return [{"id": c.id, "name": c.name, "colour": c.colour} for c in self.classes]

    @staticmethod
    def from_json(classes: Sequence[Mapping[str, Any]]) -> Legend:
        """The inverse of `to_json`. Raises ValueError when it is no legend."""
        try:
            return Legend(
                tuple(
                    LegendClass(int(c["id"]), str(c["name"]), str(c["colour"]).lower())
                    for c in classes
                )
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a legend: {error!r}") from error

    @staticmethod
    def of(names_and_colours: Mapping[str, str]) -> Legend:
        """A legend of object classes in the order given; background is put before them."""
        named = {"background": "#000000", **names_and_colours}
        return Legend(tuple(LegendClass(i, n, c) for i, (n, c) in enumerate(named.items())))


# Found by a search for the largest distance between any two, as seen with normal, protan, deutan and tritan
# vision, then handed to the class whose objects they suit; `tests/test_legend.py` measures how far apart
# they are.
_DOTA_V1 = {
    "plane": "#e76f5f",
    "ship": "#88ffee",
    "storage-tank": "#f7c3a2",
    "baseball-diamond": "#703630",
    "tennis-court": "#22ce00",
    "basketball-court": "#ecf086",
    "ground-track-field": "#852402",
    "harbor": "#c297ff",
    "bridge": "#f902bd",
    "large-vehicle": "#3925f9",
    "small-vehicle": "#d628ff",
    "helicopter": "#d07d95",
    "roundabout": "#504559",
    "soccer-ball-field": "#acff29",
    "swimming-pool": "#006d97",
}

DOTA_V1 = Legend.of(_DOTA_V1)
"""DOTA v1.0: 15 classes (Xia et al. 2018)."""

DOTA_V15 = Legend.of({**_DOTA_V1, "container-crane": "#c3cdff"})
"""DOTA v1.5: one more."""

DOTA_V2 = Legend.of(
    {**_DOTA_V1, "container-crane": "#c3cdff", "airport": "#8b7700", "helipad": "#7100a6"}
)
"""DOTA v2.0: two more (Ding et al. 2021)."""


def colours_for(names: Collection[str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """A colour ``#rrggbb`` for every name, none of them in `taken` as long as there are others.

    Names that DOTA knows keep its colours; the others get what is left of these, which are as far
    from one another as eyes can tell, then hues between.
    """
    known = {c.name: c.colour for c in DOTA_V2.objects}
    free = [c.colour for c in DOTA_V2.objects if c.name not in names and c.colour not in taken]
    spare = (_hue(number) for number in range(len(names)))
    return {n: known.get(n) or (free.pop(0) if free else next(spare)) for n in names}


_GOLDEN = 0.618033988749895


def _hue(number: int) -> str:
    """A colour for each number, neighbours far apart."""
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.9, (0.55, 0.95)[number % 2])
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
