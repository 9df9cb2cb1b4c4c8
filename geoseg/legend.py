"""Legend: class IDs, names and colours."""

from __future__ import annotations

import colorsys
import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BACKGROUND = 0
"""Class ID of everything that is not an object."""

IGNORE = 255
"""Label of ignored pixels: no data, or an ignored annotation."""

IGNORED = "ignore"
"""Class name of annotations whose pixels get the label IGNORE, unless the legend has a class of this name."""


COUNTABLE_NAMES = frozenset(
    (
        "plane",
        "ship",
        "storage-tank",
        "tennis-court",
        "basketball-court",
        "large-vehicle",
        "small-vehicle",
        "helicopter",
        "swimming-pool",
        "container-crane",
    )
)
"""Classes of DOTA whose objects are counted: neighbours of one class are common, or objects small."""


@dataclass(frozen=True, slots=True)
class LegendClass:
    """One class."""

    id: int
    """Value in label rasters, 0 to 254."""

    name: str
    """Name, unique in the legend."""

    colour: str
    """Colour ``#rrggbb``."""

    countable: bool = False
    """True if objects are counted: each becomes a polygon of its own, also where it touches others."""


@dataclass(frozen=True, slots=True)
class Legend:
    """Classes of a dataset or model, background first, with consecutive IDs from 0."""

    classes: tuple[LegendClass, ...]

    def __post_init__(self) -> None:
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise ValueError(
                f"class IDs must be consecutive from 0, got {[c.id for c in self.classes]}"
            )
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
        """Class names by ID, background first."""
        return tuple(c.name for c in self.classes)

    @property
    def countable(self) -> tuple[bool, ...]:
        """Whether the objects of a class are counted, by ID."""
        return tuple(c.countable for c in self.classes)

    @property
    def objects(self) -> tuple[LegendClass, ...]:
        """All classes but the background."""
        return self.classes[1:]

    def id_of(self, name: str) -> int:
        """Return the class ID of `name`. Raises ValueError with the closest name."""
        try:
            return self.names.index(name)
        except ValueError:
            near = difflib.get_close_matches(name.lower().replace("_", "-"), self.names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(self.names[1:])
            raise ValueError(f"unknown class {name!r} ({hint}known: {known})") from None

    def label_of(self, name: str) -> int:
        """Return the label of an annotation's pixels: the ID of class `name`, or IGNORE. Raises as `id_of`."""
        return IGNORE if name == IGNORED and name not in self.names else self.id_of(name)

    def name_of(self, label: int) -> str:
        """Return the name of a label; the inverse of `label_of`."""
        return IGNORED if label == IGNORE else self[label].name

    def rgb(self, class_id: int) -> tuple[int, int, int]:
        """Return the colour of a class as red, green, blue, 0 to 255."""
        red, green, blue = bytes.fromhex(self[class_id].colour[1:])
        return red, green, blue

    def to_json(self) -> list[dict[str, Any]]:
        """Return lists and dicts, as stored in dataset.json and in model cards."""
        return [
            {"id": c.id, "name": c.name, "colour": c.colour, "countable": c.countable}
            for c in self.classes
        ]

    @staticmethod
    def from_json(classes: Sequence[Mapping[str, Any]]) -> Legend:
        """Return a legend from the result of `to_json`. Raises ValueError if it is not one.

        Classes without the key ``countable`` are countable if they are in `COUNTABLE_NAMES`.
        """
        try:
            return Legend(
                tuple(
                    LegendClass(
                        int(c["id"]),
                        str(c["name"]),
                        str(c["colour"]).lower(),
                        bool(c.get("countable", c["name"] in COUNTABLE_NAMES)),
                    )
                    for c in classes
                )
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a legend: {error!r}") from error

    @staticmethod
    def of(names_and_colours: Mapping[str, str]) -> Legend:
        """Return a legend of background and the given classes, in this order, countable as in `COUNTABLE_NAMES`."""
        named = {"background": "#000000", **names_and_colours}
        return Legend(
            tuple(
                LegendClass(i, n, c, n in COUNTABLE_NAMES) for i, (n, c) in enumerate(named.items())
            )
        )


# Optimized for the largest distance between any two colours in normal, protan, deutan and tritan vision, then
# assigned to classes by hand; `tests/test_legend.py` measures the distances.
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
"""DOTA v1.5: 16 classes."""

DOTA_V2 = Legend.of(
    {**_DOTA_V1, "container-crane": "#c3cdff", "airport": "#8b7700", "helipad": "#7100a6"}
)
"""DOTA v2.0: 18 classes (Ding et al. 2021)."""


def colours_for(names: Collection[str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """Choose a colour ``#rrggbb`` for every name, not one of `taken` while others are left.

    Names of DOTA classes get their colours in `DOTA_V2`. Other names get unused colours of that legend, which are easy
    to distinguish, then colours of `hue`.
    """
    known = {c.name: c.colour for c in DOTA_V2.objects}
    free = [c.colour for c in DOTA_V2.objects if c.name not in names and c.colour not in taken]
    spare = (hue(number) for number in range(len(names)))
    return {n: known.get(n) or (free.pop(0) if free else next(spare)) for n in names}


_GOLDEN = 0.618033988749895


def hue(number: int) -> str:
    """Return a colour for each number, with distant hues for neighbouring numbers (golden ratio)."""
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.9, (0.55, 0.95)[number % 2])
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
