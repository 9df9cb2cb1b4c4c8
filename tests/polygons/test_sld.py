"""Styled Layer Descriptors: well-formed, complete, and told to the GeoPackage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from geoseg.legend import DOTA_V1, Legend
from geoseg.polygons.styles import layer_style_sld, raster_style_sld
from tests.calls import vectorize

HOSTILE = Legend.of({"<a & b>": "#e6194b", "Größe \x07": "#3cb44b", "]]> --": "#000075"})
SLD, OGC = "{http://www.opengis.net/sld}", "{http://www.opengis.net/ogc}"

legends = pytest.mark.parametrize("legend", [DOTA_V1, HOSTILE], ids=["dota", "hostile"])


@legends
def test_every_class_has_a_rule_with_its_colour(legend: Legend) -> None:
    document = ElementTree.fromstring(layer_style_sld(legend))
    assert document.tag == f"{SLD}StyledLayerDescriptor"
    rules = list(document.iter(f"{SLD}Rule"))
    assert len(rules) == len(legend.objects)
    for rule, item in zip(rules, legend.objects, strict=True):
        assert rule.findtext(f"{SLD}Title") == item.name.replace("\x07", "\ufffd")
        condition = rule.find(f"{OGC}Filter/{OGC}PropertyIsEqualTo")
        assert condition is not None
        assert [part.text for part in condition] == ["class_id", str(item.id)]
        colours = {p.get("name"): p.text for p in rule.iter(f"{SLD}CssParameter")}
        assert colours["fill"] == item.colour
        assert colours["stroke"] != item.colour


@legends
def test_every_class_of_a_raster_has_an_entry_and_background_none_to_be_seen(
    legend: Legend,
) -> None:
    document = ElementTree.fromstring(raster_style_sld(legend))
    entries = list(document.iter(f"{SLD}ColorMapEntry"))
    assert [entry.get("quantity") for entry in entries] == [str(item.id) for item in legend]
    assert [entry.get("color") for entry in entries] == [item.colour for item in legend]
    assert [entry.get("opacity") for entry in entries] == ["0"] + ["1"] * len(legend.objects)


def test_a_geopackage_holds_both_styles(tmp_path: Path) -> None:
    path = vectorize(np.ones((2, 2), np.uint8), tmp_path / "o.gpkg", legend=DOTA_V1)
    with closing(sqlite3.connect(path)) as database:
        ((qml, sld),) = database.execute("SELECT styleQML, styleSLD FROM layer_styles").fetchall()
    assert qml.startswith("<!DOCTYPE qgis")
    assert sld == layer_style_sld(DOTA_V1)
