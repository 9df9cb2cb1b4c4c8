"""Colours out of QGIS styles: those that geoseg writes, and those that people made in QGIS."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring


@dataclass(frozen=True, slots=True)
class Style:
    """Polygons by the values of a column."""

    column: str

    names: dict[str, str]
    """Value, as text -> what the legend calls it."""

    colours: dict[str, str]
    """Value, as text -> ``#rrggbb``."""


def style_of(path: Path, layer: str) -> Style | None:
    """The style that QGIS would open a layer with: kept in the GeoPackage, or ``.qml`` beside the file.

    None where there is none, or one that does not tell classes apart.
    """
    qml = _kept(path, layer) if path.suffix.lower() == ".gpkg" else _beside(path)
    return read_qml(qml) if qml else None


def read_qml(qml: str) -> Style | None:
    """The categories of a QGIS style; None where it has none or cannot be read."""
    if "<!ENTITY" in qml:  # could be made to grow without bounds, or to name files
        return None
    try:
        renderer = fromstring(qml).find(".//renderer-v2[@type='categorizedSymbol']")
    except ParseError:
        return None
    if renderer is None:
        return None
    symbols = {s.get("name"): _colour(s) for s in renderer.iterfind("symbols/symbol")}
    categories = [c for c in renderer.iterfind("categories/category") if c.get("value")]
    value = {id(c): c.get("value", "") for c in categories}
    return Style(
        column=renderer.get("attr", "").strip('"'),
        names={value[id(c)]: c.get("label") or value[id(c)] for c in categories},
        colours={
            value[id(c)]: colour for c in categories if (colour := symbols.get(c.get("symbol")))
        },
    )


def _colour(symbol: Element) -> str | None:
    """Fill colour of a symbol; of the two ways to tell it, new versions of QGIS write one."""
    for place, key in (("Option[@name='color']", "value"), ("prop[@k='color']", "v")):
        found = symbol.find(f"layer//{place}")
        rgb = (
            re.match(r"(\d{1,3}),(\d{1,3}),(\d{1,3})\b", found.get(key, ""))
            if found is not None
            else None
        )
        if rgb:
            return "#" + "".join(f"{min(int(c), 255):02x}" for c in rgb.groups())
    return None


def _kept(path: Path, layer: str) -> str | None:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            found = database.execute(
                "SELECT styleQML FROM layer_styles WHERE f_table_name = ?"
                " ORDER BY useAsDefault DESC, id DESC LIMIT 1",
                (layer,),
            ).fetchone()
    except sqlite3.Error:  # no such table
        return None
    return str(found[0]) if found and found[0] else None


def _beside(path: Path) -> str | None:
    qml = path.with_suffix(".qml")
    return qml.read_text(encoding="utf-8", errors="replace") if qml.is_file() else None
