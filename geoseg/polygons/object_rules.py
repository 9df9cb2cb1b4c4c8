"""Rules by which the objects of countable classes are separated and small ones dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from geoseg.legend import Legend

MAX_ENERGY = 200
"""Energy that stands for a probability of 1, as in confidence rasters."""

RULES_TAG = "GEOSEG_OBJECT_RULES"
"""GDAL metadata item with the rules as JSON, in rasters of the interior of objects."""


@dataclass(frozen=True, slots=True)
class ObjectRule:
    """Rule for the objects of one class."""

    floor: int = 40
    """Energy from which on a pixel belongs to the core of an object, 0 to 200."""

    seed: int = 100
    """Smallest highest energy of an object, 0 to 200. Objects below are dropped."""

    part: int = 8
    """Area in pixels from which on a part of a region is an object of its own."""

    min_pixels: int = 12
    """Smallest area of an object in pixels. Objects below are dropped."""

    def __post_init__(self) -> None:
        if not (0 < self.floor <= MAX_ENERGY and 0 <= self.seed <= MAX_ENERGY):
            raise ValueError(f"floor is 1 to {MAX_ENERGY} and seed 0 to {MAX_ENERGY}, got {self}")
        if not (self.part >= 1 and self.min_pixels >= 0):
            raise ValueError(f"part is at least 1 and min_pixels at least 0, got {self}")


@dataclass(frozen=True, slots=True)
class ObjectRules:
    """Rules for all classes of a legend."""

    rules: tuple[ObjectRule, ...]
    """By class ID. Background has one too, which is not used; classes that are not countable use `min_pixels` only."""

    reach: int = 4
    """Pixels that cores grow within the labels of countable classes."""

    def __post_init__(self) -> None:
        if not 0 <= self.reach <= 64:
            raise ValueError(f"reach is 0 to 64, got {self.reach}")

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """Return the rules as JSON data, by class name."""
        of_class = zip(legend.objects, self.rules[1:], strict=True)
        return {"reach": self.reach, "rules": {c.name: asdict(rule) for c, rule in of_class}}

    @staticmethod
    def from_json(values: Mapping[str, Any], legend: Legend) -> ObjectRules:
        """Return the rules of JSON data. Raises ValueError if the data has none for each class of `legend`."""
        try:
            rules = [
                ObjectRule(**{name: int(value) for name, value in values["rules"][c.name].items()})
                for c in legend.objects
            ]
            return ObjectRules((ObjectRule(), *rules), reach=int(values["reach"]))
        except (AttributeError, KeyError, OverflowError, TypeError) as error:
            raise ValueError(f"not rules of these classes: {error!r}") from error


def default_rules(classes: int, rule: ObjectRule = ObjectRule()) -> ObjectRules:
    """Return rules that are the same for each of `classes` classes."""
    return ObjectRules((rule,) * classes)


def rule_tags(rules: ObjectRules, legend: Legend) -> dict[str, str]:
    """Return the tags, for ``dataset.update_tags``, that store rules in a raster of the interior of objects."""
    return {RULES_TAG: json.dumps(rules.to_json(legend), ensure_ascii=False)}


def read_rules(tags: Mapping[str, str], legend: Legend) -> ObjectRules | None:
    """Return the rules in the tags of a raster; None if it has none.

    Raises
    ------
    ValueError
        If the tag is damaged, or lacks a class of `legend`.
    """
    if RULES_TAG not in tags:
        return None
    return ObjectRules.from_json(json.loads(tags[RULES_TAG]), legend)
