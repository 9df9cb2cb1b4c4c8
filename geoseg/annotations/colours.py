"""Colour maps of label images: the class of every colour."""

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
"""Label of a colour that is not in the colour map."""

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
    "#ff0000": BACKGROUND_NAME,  # clutter
    "#000000": IGNORED,  # object boundaries, in the version without boundaries
}

COLOUR_MAPS: Mapping[str, Mapping[str, str]] = {
    "isaid": _ISAID,
    "potsdam": _POTSDAM,
    "vaihingen": _POTSDAM,
}
"""Built-in colour maps by name: colour to class name."""


@dataclass(frozen=True, slots=True)
class ColourMap:
    """Classes by colour."""

    names: tuple[str, ...]
    """Class names by label, background first."""

    table: NDArray[np.uint8]
    """(2**24,) label by red * 65536 + green * 256 + blue; IGNORE or UNKNOWN included."""

    def classify(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert (3, h, w) colours to (h, w) labels."""
        red, green, blue = rgb.astype(np.uint32)
        labels: NDArray[np.uint8] = self.table[red << 16 | green << 8 | blue]
        return labels


def load_colour_map(text: str) -> ColourMap:
    """Return a built-in colour map, or read one from a JSON or TOML file.

    The file maps ``#rrggbb``, ``r,g,b``, or the value of a single-band raster to class names, among them
    ``background`` and ``ignore``; ``*`` stands for all other colours. A legend (a JSON list of id, name and colour) is
    accepted as well. Raises ConfigError.
    """
    classes = COLOUR_MAPS.get(text.lower()) or _read_file(text)
    labels = {BACKGROUND_NAME: BACKGROUND}
    for name in classes.values():
        if name != IGNORED:
            labels.setdefault(name, len(labels))
    if not 2 <= len(labels) <= UNKNOWN:
        raise ConfigError(
            f"{text}: {len(labels) - 1} classes. Define 1 to {UNKNOWN - 1} besides background"
        )
    names, labels = tuple(labels), {**labels, IGNORED: IGNORE}
    others = classes.get(OTHERS)
    table = np.full(1 << 24, labels[others] if others else UNKNOWN, np.uint8)
    for colour, name in classes.items():
        if colour != OTHERS:
            table[_parse_colour(text, colour)] = labels[name]
    return ColourMap(names, table)


def _read_file(text: str) -> Mapping[str, str]:
    path = Path(text)
    if path.suffix.lower() not in (".json", ".toml"):
        raise ConfigError(
            f"--colours {text}: unknown colour map. Use {', '.join(COLOUR_MAPS)}, or a .json or .toml file "
            "that maps colours to classes"
        )
    load = tomllib.loads if path.suffix.lower() == ".toml" else json.loads
    try:
        classes: Any = load(input_file(path, ConfigError).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Correct it") from error
    if isinstance(classes, list):
        try:
            classes = {c["colour"]: c["name"] for c in classes}
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not a legend of id, name and colour. Correct it") from error
    if not isinstance(classes, dict) or not classes:
        raise ConfigError(f'{path}: must map colours to classes. Write "#ff0000" = "roof"')
    for colour, name in classes.items():
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{path}: colour {colour} has no class name. Add it")
    return classes


def _parse_colour(source: str, colour: str) -> int:
    plain = colour.strip().lower()
    if re.fullmatch(r"#[0-9a-f]{6}", plain):
        return int(plain[1:], 16)
    parts = plain.split(",") if "," in plain else [plain] * 3
    if len(parts) == 3 and all(p.strip().isascii() and p.strip().isdigit() for p in parts):
        values = [int(part) for part in parts]
        if max(values) <= 255:
            return values[0] << 16 | values[1] << 8 | values[2]
    raise ConfigError(f"{source}: invalid colour {colour!r}. Write #rrggbb, r,g,b or a value")
