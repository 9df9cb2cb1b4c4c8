"""Virtual rasters (VRT): read with local parts only, and only what a mosaic or stack of bands needs.

A VRT can make GDAL open any file, address or driver, run expressions, and read itself. So its XML is parsed here, every
element must be one of a short list, every part must be a plain raster in the folder of the VRT or below, and GDAL gets
the XML that results, not the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, tostring
from xml.parsers import expat

from geoseg.errors import SceneError

_MAX_BYTES = 64 << 20
_MAX_DEPTH = 16

_ATTRIBUTES = {
    "VRTDataset": {"rasterXSize", "rasterYSize"},
    "SRS": {"dataAxisToSRSAxisMapping", "coordinateEpoch"},
    "GeoTransform": set(),
    "Metadata": {"domain", "format"},
    "MDI": {"key"},
    "OverviewList": {"resampling"},
    "BlockXSize": set(),
    "BlockYSize": set(),
    "VRTRasterBand": {"dataType", "band", "blockXSize", "blockYSize"},
    "MaskBand": set(),
    "Description": set(),
    "UnitType": set(),
    "Offset": set(),
    "Scale": set(),
    "NoDataValue": set(),
    "HideNoDataValue": set(),
    "ColorInterp": set(),
    "ColorTable": set(),
    "Entry": {"c1", "c2", "c3", "c4"},
    "SimpleSource": {"resampling"},
    "ComplexSource": {"resampling"},
    "SourceFilename": {"relativeToVRT", "shared"},
    "SourceBand": set(),
    "SourceProperties": {"RasterXSize", "RasterYSize", "DataType", "BlockXSize", "BlockYSize"},
    "SrcRect": {"xOff", "yOff", "xSize", "ySize"},
    "DstRect": {"xOff", "yOff", "xSize", "ySize"},
    "NODATA": set(),
    "ScaleOffset": set(),
    "ScaleRatio": set(),
    "ColorTableComponent": set(),
    "UseMaskBand": set(),
}
"""Elements that may occur, and their attributes. Histograms are left out when the XML is written anew."""

_LEFT_OUT = {"Histograms", "CategoryNames", "GDALRasterAttributeTable"}


class _RefusedError(ValueError):
    """What is not allowed in a VRT."""


def read_vrt(file: Path) -> Element:
    """Read a virtual raster.

    Parameters
    ----------
    file
        VRT file.

    Returns
    -------
    Element
        The root of its XML, with the parts named by absolute paths.

    Raises
    ------
    SceneError
        If the file is not XML, has an element or attribute that is not allowed, or a part outside its folder.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise _RefusedError(f"is larger than {_MAX_BYTES >> 20} MB")
        root = _parse(file.read_bytes())
        if root.tag != "VRTDataset":
            raise _RefusedError(f"has <{root.tag}> instead of <VRTDataset>")
        _check_element(root)
        _resolve_parts(root, file)
    except _RefusedError as fault:
        raise SceneError(
            f"{file}: this virtual raster {fault}. Convert it: gdal_translate IN.vrt OUT.tif"
        ) from fault
    except expat.ExpatError as fault:
        raise SceneError(f"{file}: damaged XML ({fault}). Build it again: gdalbuildvrt") from fault
    return root


def find_parts(root: Element) -> tuple[Path, ...]:
    """Return the files of a virtual raster from `read_vrt`, each once."""
    names = (name.text or "" for name in root.iter("SourceFilename"))
    return tuple(map(Path, dict.fromkeys(names)))


def format_vrt(root: Element, properties: Mapping[Path, Mapping[str, str]]) -> str:
    """Return the XML of a virtual raster for GDAL.

    Parameters
    ----------
    root
        Element from `read_vrt`; it is changed.
    properties
        Attributes of ``SourceProperties`` for every part. GDAL trusts them until it reads the part.
    """
    for source in [*root.iter("SimpleSource"), *root.iter("ComplexSource")]:
        for stored in source.findall("SourceProperties"):
            source.remove(stored)
        name = source.findtext("SourceFilename") or ""
        SubElement(source, "SourceProperties", dict(properties[Path(name)]))
    return tostring(root, encoding="unicode")


def _parse(text: bytes) -> Element:
    """Parse XML without a document type, so without entities."""
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise _RefusedError("is nested too deeply")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse_doctype(*_: object) -> None:
        raise _RefusedError("declares a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.Parse(text, True)
    root: Element = builder.close()
    return root


def _check_element(element: Element) -> None:
    """Raise _RefusedError for what is not allowed, and remove what is not needed."""
    if others := sorted(element.attrib.keys() - _ATTRIBUTES[element.tag]):
        raise _RefusedError(f"has <{element.tag} {others[0]}={element.attrib[others[0]]!r}>")
    for child in list(element):
        if child.tag in _LEFT_OUT:
            element.remove(child)
        elif child.tag not in _ATTRIBUTES or child.tag == "VRTDataset":
            raise _RefusedError(f"has an element <{child.tag}>")
        else:
            _check_element(child)


def _resolve_parts(root: Element, file: Path) -> None:
    """Replace the names of the parts by absolute paths."""
    folder = file.absolute().parent.resolve()
    for source in [*root.iter("SimpleSource"), *root.iter("ComplexSource")]:
        if len(source.findall("SourceFilename")) != 1:
            raise _RefusedError("has a source without a file")
    for name in root.iter("SourceFilename"):
        text = (name.text or "").strip()
        try:
            path = (folder / text).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise _RefusedError(f"refers to {text!r}, which is not a file") from error
        if not path.is_relative_to(folder):
            raise _RefusedError(f"refers to {text!r}, outside its folder")
        if not path.is_file():
            raise _RefusedError(f"refers to {text!r}, which is not a file")
        name.text = str(path)
        name.attrib.pop("relativeToVRT", None)
