"""Styles are well-formed, complete and survive hostile class names."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from geoseg.legend import DOTA_V1, Legend
from geoseg.polygons.styles import (
    layer_style_qml,
    raster_colormap,
    raster_style_qml,
    write_raster_style,
)

HOSTILE = Legend.of(
    {
        "<a & b>": "#e6194b",
        'it\'s "quoted"': "#3cb44b",
        "Größe ✈ 船": "#4363d8",
        "]]> --": "#000075",
    }
)


@pytest.mark.parametrize("legend", [DOTA_V1, HOSTILE], ids=["dota", "hostile"])
def test_every_class_has_its_category_and_symbol(legend: Legend) -> None:
    qgis = ElementTree.fromstring(layer_style_qml(legend))
    categories = qgis.findall("./renderer-v2/categories/category")
    symbols = {s.get("name"): s for s in qgis.findall("./renderer-v2/symbols/symbol")}
    assert [(c.get("value"), c.get("label")) for c in categories] == [
        (str(c.id), c.name) for c in legend.objects
    ]
    for category, item in zip(categories, legend.objects, strict=True):
        colour = ",".join(map(str, legend.rgb(item.id))) + ",128"
        layer = symbols[category.get("symbol")].find("layer")
        assert layer is not None
        old = {p.get("k"): p.get("v") for p in layer.findall("prop")}
        new = {o.get("name"): o.get("value") for o in layer.findall("./Option/Option")}
        assert old == new
        assert new["color"] == colour


def test_the_layer_is_categorised_by_class_id() -> None:
    renderer = ElementTree.fromstring(layer_style_qml(DOTA_V1)).find("renderer-v2")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class_id")


def test_the_palette_shows_classes_and_hides_background() -> None:
    entries = ElementTree.fromstring(raster_style_qml(HOSTILE)).findall(".//paletteEntry")
    shown = [(e.get("value"), e.get("color"), e.get("label")) for e in entries]
    assert shown == [(str(c.id), c.colour, c.name) for c in HOSTILE]
    assert [e.get("alpha") for e in entries] == ["0", "255", "255", "255", "255"]


def test_control_characters_do_not_break_the_xml() -> None:
    qgis = ElementTree.fromstring(layer_style_qml(Legend.of({"a\x00b\x1bc": "#e6194b"})))
    label = qgis.find(".//category")
    assert label is not None
    assert label.get("label") == "a\ufffdb\ufffdc"


def test_a_tiff_takes_the_colour_table_and_gdal_the_category_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=2, height=1, count=1, dtype="uint8", nodata=255
    ) as file:
        file.write(np.array([[0, 4]], np.uint8), 1)
        file.write_colormap(1, raster_colormap(HOSTILE))
    before = path.read_bytes()
    write_raster_style(path, HOSTILE)
    write_raster_style(path, HOSTILE)  # a second run replaces the first one's companions
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "labels.qml",
        "labels.sld",
        "labels.tif",
        "labels.tif.aux.xml",
    ]
    with rasterio.open(path) as file:
        table = file.colormap(1)
    assert [table[c.id][:3] for c in HOSTILE] == [HOSTILE.rgb(c.id) for c in HOSTILE]
    names = ElementTree.parse(tmp_path / "labels.tif.aux.xml").findall(".//Category")
    assert [n.text for n in names] == list(HOSTILE.names)
