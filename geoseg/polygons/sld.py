"""The same colours for GeoServer and other servers: Styled Layer Descriptors (OGC SLD 1.0)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from geoseg.legend import BACKGROUND, Legend
from geoseg.polygons.xml import outline_rgb, xml_text

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def layer_style_sld(legend: Legend) -> str:
    """Polygons by ``class_id``: fill half transparent, outline darker and opaque."""
    document, style = _document("segments")
    for item in legend.objects:
        rule = SubElement(style, "Rule")
        SubElement(rule, "Name").text = xml_text(item.name)
        SubElement(rule, "Title").text = xml_text(item.name)
        equal = SubElement(SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
        SubElement(equal, "ogc:PropertyName").text = "class_id"
        SubElement(equal, "ogc:Literal").text = str(item.id)
        symbol = SubElement(rule, "PolygonSymbolizer")
        fill = SubElement(symbol, "Fill")
        _parameter(fill, "fill", item.colour)
        _parameter(fill, "fill-opacity", "0.5")
        stroke = SubElement(symbol, "Stroke")
        red, green, blue = outline_rgb(legend.rgb(item.id))
        _parameter(stroke, "stroke", f"#{red:02x}{green:02x}{blue:02x}")
        _parameter(stroke, "stroke-width", "1")
    return _text(document)


def raster_style_sld(legend: Legend) -> str:
    """A label raster: one colour per class, background and what is no class transparent."""
    document, style = _document("labels")
    symbol = SubElement(SubElement(style, "Rule"), "RasterSymbolizer")
    SubElement(symbol, "Opacity").text = "1"
    colours = SubElement(symbol, "ColorMap", type="values")
    for item in legend:
        SubElement(
            colours,
            "ColorMapEntry",
            color=item.colour,
            quantity=str(item.id),
            label=xml_text(item.name),
            opacity="0" if item.id == BACKGROUND else "1",
        )
    return _text(document)


def _document(name: str) -> tuple[Element, Element]:
    document = Element(
        "StyledLayerDescriptor",
        {
            "version": "1.0.0",
            "xmlns": "http://www.opengis.net/sld",
            "xmlns:ogc": "http://www.opengis.net/ogc",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": "http://www.opengis.net/sld "
            "http://schemas.opengis.net/sld/1.0.0/StyledLayerDescriptor.xsd",
        },
    )
    layer = SubElement(document, "NamedLayer")
    SubElement(layer, "Name").text = name
    style = SubElement(layer, "UserStyle")
    SubElement(style, "Title").text = "classes"
    return document, SubElement(style, "FeatureTypeStyle")


def _parameter(parent: Element, name: str, value: str) -> None:
    SubElement(parent, "CssParameter", name=name).text = value


def _text(document: Element) -> str:
    indent(document)
    return _HEAD + tostring(document, encoding="unicode") + "\n"
