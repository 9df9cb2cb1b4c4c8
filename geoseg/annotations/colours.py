"""What the colours of a label picture mean."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.legend import BACKGROUND, DOTA_V2, IGNORE, IGNORED

BACKGROUND_NAME = DOTA_V2[BACKGROUND].name
OTHERS = "*"

UNKNOWN = 254
"""Label of a colour that has no meaning."""

_ISAID = {
    "#000000": BACKGROUND_NAME,
    "#00003f": "ship",
    "#003f3f": "storage-tank",
    "#003f00": "baseball-diamond",
    "#003f7f": "tennis-court",
    "#003fbf": "basketball-court",
    "#003fff": "ground-track-field",
    "#007f3f": "bridge",
    "#007f7f": "large-vehicle",
    "#00007f": "small-vehicle",
    "#0000bf": "helicopter",
    "#0000ff": "swimming-pool",
    "#00bf7f": "roundabout",
    "#007fbf": "soccer-ball-field",
    "#007fff": "plane",
    "#00649b": "harbor",
}

_POTSDAM = {
    "#ffffff": "impervious-surface",
    "#0000ff": "building",
    "#00ffff": "low-vegetation",
    "#00ff00": "tree",
    "#ffff00": "car",
    "#ff0000": BACKGROUND_NAME,  # clutter: what is none of the others
    "#000000": IGNORED,  # the rims of objects, where these were taken away
}

KNOWN: Mapping[str, Mapping[str, str]] = {
    "isaid": _ISAID,
    "potsdam": _POTSDAM,
    "vaihingen": _POTSDAM,
}
"""Those that can be asked for by name."""


@dataclass(frozen=True, slots=True)
class Colours:
    """Colours of classes."""

    names: tuple[str, ...]
    """Class names by label, background first."""

    table: NDArray[np.uint8]
    """(2**24,) label by red * 65536 + green * 256 + blue; IGNORE, or UNKNOWN"""

    def labels(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w) labels of (3, h, w) colours."""
        red, green, blue = rgb.astype(np.uint32)
        labels: NDArray[np.uint8] = self.table[red << 16 | green << 8 | blue]
        return labels


def colours_named(text: str) -> Colours:
    """A known map of colours, or that of a JSON or TOML file: names of classes by ``#rrggbb``, ``r,g,b``, or the
    value of a raster of one band, among them ``background`` and ``ignore``, and perhaps ``*`` for all others. A
    legend, as a JSON list of id, name and colour, will do as well.

    Raises ConfigError.
    """
    said = KNOWN.get(text.lower()) or _of_file(text)
    labels = {BACKGROUND_NAME: BACKGROUND}
    for name in said.values():
        if name != IGNORED:
            labels.setdefault(name, len(labels))
    if not 2 <= len(labels) <= UNKNOWN:
        raise ConfigError(f"{text}: has {len(labels) - 1} classes, need 1 to {UNKNOWN - 1}")
    names, labels = tuple(labels), {**labels, IGNORED: IGNORE}
    others = said.get(OTHERS)
    table = np.full(1 << 24, labels[others] if others else UNKNOWN, np.uint8)
    for colour, name in said.items():
        if colour != OTHERS:
            table[_number(text, colour)] = labels[name]
    return Colours(names, table)


def _of_file(text: str) -> Mapping[str, str]:
    path = Path(text)
    if path.suffix.lower() not in (".json", ".toml"):
        raise ConfigError(
            f"--colours {text}: is not known. use {', '.join(KNOWN)}, or a .json or .toml file of colour and "
            "class"
        )
    load = tomllib.loads if path.suffix.lower() == ".toml" else json.loads
    try:
        said: Any = load(input_file(path, ConfigError).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as fault:
        raise ConfigError(f"{path}: cannot be read ({fault}). correct it") from fault
    if isinstance(said, list):
        try:
            said = {c["colour"]: c["name"] for c in said}
        except (KeyError, TypeError) as fault:
            raise ConfigError(f"{path}: is no legend of id, name and colour. correct it") from fault
    if not isinstance(said, dict) or not said:
        raise ConfigError(f'{path}: must map colours to classes: "#ff0000" = "roof". correct it')
    for colour, name in said.items():
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{path}: colour {colour} has no name of a class. give it one")
    return said


def _number(where: str, colour: str) -> int:
    plain = colour.strip().lower()
    if re.fullmatch(r"#[0-9a-f]{6}", plain):
        return int(plain[1:], 16)
    parts = plain.split(",") if "," in plain else [plain] * 3
    if len(parts) == 3 and all(p.strip().isascii() and p.strip().isdigit() for p in parts):
        values = [int(part) for part in parts]
        if max(values) <= 255:
            return values[0] << 16 | values[1] << 8 | values[2]
    raise ConfigError(f"{where}: {colour!r} is no colour. write #rrggbb, r,g,b or a value")
