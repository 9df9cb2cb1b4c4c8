"""Colours of a legend as QGIS styles (QML), Styled Layer Descriptors (SLD) and colour tables; QML is also read.

QML is that of QGIS 3.22 and later. Symbol properties are written twice, as ``<Option>`` for new and as ``<prop>`` for
old versions. SLD is OGC SLD 1.0, for GeoServer and other servers.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring, indent, tostring

from geoseg.files import write_text
from geoseg.legend import BACKGROUND, IGNORE, Legend

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(name: str) -> str:
    """Replace control characters, which XML cannot represent even escaped."""
    return _NOT_XML.sub("\ufffd", name)


def outline_rgb(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the outline colour of a class: half as bright as its fill."""
    red, green, blue = rgb
    return red // 2, green // 2, blue // 2


# SLD

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def layer_style_sld(legend: Legend) -> str:
    """Return an SLD of polygons by ``class_id``: half transparent fill, darker opaque outline."""
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
    """Return an SLD of a label raster: one colour per class, transparent background."""
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


# QML

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def layer_style_qml(legend: Legend) -> str:
    """Return a QGIS style of polygons by ``class_id``: half transparent fill, darker opaque outline."""
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
    return _document_style(qgis)


def raster_style_qml(legend: Legend) -> str:
    """Return a QGIS style of a label raster: one palette entry per class, transparent background."""
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
    return _document_style(qgis)


def area_style_qml() -> str:
    """Return a QGIS style of the annotated area: outlines."""
    qgis = _qgis("Symbology")
    _add_outline(qgis)
    _blending(qgis)
    return _document_style(qgis)


def _add_outline(qgis: Element) -> None:
    """Draw all polygons as outlines."""
    renderer = SubElement(
        qgis,
        "renderer-v2",
        type="singleSymbol",
        forceraster="0",
        symbollevels="0",
        enableorderby="0",
    )
    outline = {
        "color": "0,0,0,0",
        "outline_color": _FRAME,
        "outline_style": "solid",
        "outline_width": "0.6",
        "outline_width_unit": "MM",
        "style": "no",
    }
    SubElement(renderer, "symbols").append(_fill_symbol("0", outline))


def frame_style_qml() -> str:
    """Return a QGIS style of frames to annotate: outlines, labelled with the rank."""
    qgis = _qgis("Symbology|Labeling")
    qgis.set("labelsEnabled", "1")
    _add_outline(qgis)
    settings = SubElement(
        SubElement(qgis, "labeling", type="simple"), "settings", calloutType="simple"
    )
    text = SubElement(
        settings,
        "text-style",
        fieldName="rank",
        isExpression="0",
        fontSize="14",
        fontSizeUnit="Point",
        fontWeight="75",
        textColor=_FRAME,
        textOpacity="1",
    )
    SubElement(
        text,
        "text-buffer",
        bufferDraw="1",
        bufferSize="1",
        bufferSizeUnits="MM",
        bufferColor="255,255,255,255",
        bufferOpacity="1",
    )
    SubElement(settings, "placement", placement="1", centroidInside="1", centroidWhole="1")
    _blending(qgis)
    SubElement(qgis, "featureBlendMode").text = "0"
    SubElement(qgis, "layerOpacity").text = "1"
    return _document_style(qgis)


_FRAME = "230,0,120,255"
"""Colour of frames and their ranks."""

_RAMP = (
    (0, "#fff33b", 0),
    (20, "#fdc70c", 110),
    (60, "#f3903f", 200),
    (120, "#e93e3a", 240),
    (200, "#8e0152", 255),
)
"""Raster values of uncertainty, and their colour and alpha."""


def uncertainty_style_qml() -> str:
    """Return a QGIS style of an uncertainty raster: transparent where certain, then yellow to purple."""
    qgis = _qgis("AllStyleCategories")
    renderer = SubElement(
        SubElement(qgis, "pipe"),
        "rasterrenderer",
        type="singlebandpseudocolor",
        band="1",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
        classificationMin=str(_RAMP[0][0]),
        classificationMax=str(_RAMP[-1][0]),
    )
    SubElement(renderer, "rasterTransparency")
    shader = SubElement(
        SubElement(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=str(_RAMP[0][0]),
        maximumValue=str(_RAMP[-1][0]),
    )
    for value, colour, alpha in _RAMP:
        SubElement(
            shader,
            "item",
            value=str(value),
            label=f"{value / _RAMP[-1][0]:g}",
            color=colour,
            alpha=str(alpha),
        )
    _blending(qgis)
    return _document_style(qgis)


def raster_colormap(legend: Legend) -> dict[int, tuple[int, int, int, int]]:
    """Return a colour table for ``dataset.write_colormap``: red, green, blue, alpha, 0 to 255.

    Write it while the file is created: changing the colour table of a finished COG breaks its layout.
    """
    objects = {item.id: (*legend.rgb(item.id), 255) for item in legend.objects}
    return {BACKGROUND: (0, 0, 0, 0), **objects, IGNORE: (0, 0, 0, 0)}


def write_raster_style(labels: Path, legend: Legend) -> None:
    """Write the sidecar files of a label raster, replacing older ones.

    ``NAME.qml`` is its QGIS style, ``NAME.sld`` the same for GeoServer, and ``NAME.tif.aux.xml`` holds the class names,
    where GDAL reads the category names of a TIFF. The raster itself does not change.
    """
    write_text(labels.with_suffix(".qml"), raster_style_qml(legend), overwrite=True)
    write_text(labels.with_suffix(".sld"), raster_style_sld(legend), overwrite=True)
    write_text(labels.with_name(labels.name + ".aux.xml"), _category_names(legend), overwrite=True)


def _category_names(legend: Legend) -> str:
    dataset = Element("PAMDataset")
    names = SubElement(SubElement(dataset, "PAMRasterBand", band="1"), "CategoryNames")
    for item in legend:
        SubElement(names, "Category").text = xml_text(item.name)
    indent(dataset)
    return tostring(dataset, encoding="unicode")


def _symbol(name: str, rgb: tuple[int, int, int]) -> Element:
    properties = {
        "color": _rgba(rgb, 128),
        "outline_color": _rgba(outline_rgb(rgb), 255),
        "outline_style": "solid",
        "outline_width": "0.26",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    return _fill_symbol(name, properties)


def _fill_symbol(name: str, properties: Mapping[str, str]) -> Element:
    symbol = Element("symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = SubElement(
        symbol, "layer", attrib={"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
    )
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


def _document_style(qgis: Element) -> str:
    indent(qgis)
    return _DOCTYPE + tostring(qgis, encoding="unicode") + "\n"


# Reading QML


@dataclass(frozen=True, slots=True)
class CategorizedStyle:
    """Names and colours by the values of a column."""

    column: str

    names: dict[str, str]
    """Name in the legend, by value as text."""

    colours: dict[str, str]
    """Colour ``#rrggbb``, by value as text."""


def read_style(path: Path, layer: str) -> CategorizedStyle | None:
    """Read the default QGIS style of a layer, from its GeoPackage or from a sidecar ``.qml``.

    Returns None if there is no categorized style.
    """
    qml = _read_stored(path, layer) if path.suffix.lower() == ".gpkg" else _read_sidecar(path)
    return parse_qml(qml) if qml else None


def parse_qml(qml: str) -> CategorizedStyle | None:
    """Return the categories of a QGIS style, or None if there are none."""
    if "<!ENTITY" in qml:  # may expand without bounds, or refer to files
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
    return CategorizedStyle(
        column=renderer.get("attr", "").strip('"'),
        names={value[id(c)]: c.get("label") or value[id(c)] for c in categories},
        colours={
            value[id(c)]: colour for c in categories if (colour := symbols.get(c.get("symbol")))
        },
    )


def _colour(symbol: Element) -> str | None:
    """Return the fill colour of a symbol; new versions of QGIS write only the first of two notations."""
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


def _read_stored(path: Path, layer: str) -> str | None:
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


def _read_sidecar(path: Path) -> str | None:
    qml = path.with_suffix(".qml")
    return qml.read_text(encoding="utf-8", errors="replace") if qml.is_file() else None
