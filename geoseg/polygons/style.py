"""Colours for a GIS: QGIS styles of polygons and label rasters, colour tables, and what lies
beside a raster.

The XML is what QGIS 3.22 and later read. Symbol properties stand twice, as <Option> for new and
as <prop> for old versions.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from geoseg.files import replacing
from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.polygons.sld import raster_style_sld
from geoseg.polygons.xml import outline_rgb, xml_text

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def layer_style_qml(legend: Legend) -> str:
    """QGIS style of polygons by ``class_id``: fill half transparent, outline darker and opaque."""
    qgis = _qgis("Symbology")
    renderer = SubElement(
        qgis,
        "renderer-v2",
        type="categorizedSymbol",
        attr="class_id",
        forceraster="0",
        symbollevels="0",
        enableorderby="0",
    )
    categories = SubElement(renderer, "categories")
    symbols = SubElement(renderer, "symbols")
    for number, item in enumerate(legend.objects):
        SubElement(
            categories,
            "category",
            symbol=str(number),
            value=str(item.id),
            label=xml_text(item.name),
            render="true",
            type="long",
        )
        symbols.append(_symbol(str(number), legend.rgb(item.id)))
    _blending(qgis)
    SubElement(qgis, "featureBlendMode").text = "0"
    SubElement(qgis, "layerOpacity").text = "1"
    return _document(qgis)


def raster_style_qml(legend: Legend) -> str:
    """QGIS style of a label raster: one palette entry per class, background transparent."""
    qgis = _qgis("AllStyleCategories")
    renderer = SubElement(
        SubElement(qgis, "pipe"),
        "rasterrenderer",
        type="paletted",
        band="1",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
    )
    SubElement(renderer, "rasterTransparency")
    palette = SubElement(renderer, "colorPalette")
    for item in legend:
        SubElement(
            palette,
            "paletteEntry",
            value=str(item.id),
            color=item.colour,
            alpha="0" if item.id == BACKGROUND else "255",
            label=xml_text(item.name),
        )
    _blending(qgis)
    return _document(qgis)


def raster_colormap(legend: Legend) -> dict[int, tuple[int, int, int, int]]:
    """Colour table for ``dataset.write_colormap(1, …)``: red, green, blue, alpha, 0 to 255.

    Give it to the file while it is being made: a finished COG is no longer one once its colour
    table was changed.
    """
    objects = {item.id: (*legend.rgb(item.id), 255) for item in legend.objects}
    return {BACKGROUND: (0, 0, 0, 0), **objects, IGNORE: (0, 0, 0, 0)}


def write_raster_style(labels: Path, legend: Legend) -> None:
    """Put the companions of a finished label raster beside it, replacing older ones.

    ``NAME.qml`` is its QGIS style, ``NAME.sld`` the same for GeoServer, ``NAME.tif.aux.xml``
    holds the class names (GDAL keeps a TIFF's category names there). The raster itself is not
    touched.
    """
    _write(labels.with_suffix(".qml"), raster_style_qml(legend))
    _write(labels.with_suffix(".sld"), raster_style_sld(legend))
    _write(labels.with_name(labels.name + ".aux.xml"), _category_names(legend))


def _category_names(legend: Legend) -> str:
    dataset = Element("PAMDataset")
    names = SubElement(SubElement(dataset, "PAMRasterBand", band="1"), "CategoryNames")
    for item in legend:
        SubElement(names, "Category").text = xml_text(item.name)
    indent(dataset)
    return tostring(dataset, encoding="unicode")


def _symbol(name: str, rgb: tuple[int, int, int]) -> Element:
    symbol = Element("symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = SubElement(
        symbol, "layer", attrib={"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
    )
    properties = {
        "color": _rgba(rgb, 128),
        "outline_color": _rgba(outline_rgb(rgb), 255),
        "outline_style": "solid",
        "outline_width": "0.26",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    options = SubElement(layer, "Option", type="Map")
    for key, value in properties.items():
        SubElement(options, "Option", type="QString", name=key, value=value)
    for key, value in properties.items():
        SubElement(layer, "prop", k=key, v=value)
    return symbol


def _rgba(rgb: tuple[int, ...], alpha: int) -> str:
    return ",".join(map(str, (*rgb, alpha)))


def _qgis(categories: str) -> Element:
    return Element("qgis", version="3.22.0", styleCategories=categories)


def _blending(qgis: Element) -> None:
    SubElement(qgis, "blendMode").text = "0"


def _document(qgis: Element) -> str:
    indent(qgis)
    return _DOCTYPE + tostring(qgis, encoding="unicode") + "\n"


def _write(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as scratch:
        scratch.write_text(text, encoding="utf-8")
