"""The legend that a label raster carries, ours or anybody's."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from rasterio.io import DatasetReader

from geoseg.errors import SceneError
from geoseg.legend import IGNORE, Legend, LegendClass
from geoseg.polygons.labels import ArrayLabels, Labels, largest_class

LEGEND_TAG = "GEOSEG_LEGEND"
"""Name of the GDAL metadata item (in a TIFF: inside the file) that holds a legend as JSON."""

_RGBA = tuple[int, int, int, int]


def legend_tags(legend: Legend) -> dict[str, str]:
    """Tags for ``dataset.update_tags(**…)`` by which a label raster carries its legend."""
    return {LEGEND_TAG: json.dumps(legend.to_json(), ensure_ascii=False)}


def read_legend(labels: Labels | ArrayLabels) -> Legend:
    """The legend a label raster carries: its GEOSEG_LEGEND tag, else its category names and
    colour table.

    What they leave open is filled in, ``class_<id>`` up to the largest id that occurs; for that
    the raster is read once more. An array carries nothing. Raises SceneError when the tag is damaged.
    """
    if isinstance(labels, ArrayLabels):
        return _filled_in([], {}, _largest(labels))
    text = labels.dataset.tags().get(LEGEND_TAG)
    if text is None:
        return _filled_in(_category_names(labels.path), _colours(labels.dataset), _largest(labels))
    try:
        return Legend.from_json(json.loads(text))
    except ValueError as error:
        raise SceneError(
            f"{labels.path}: its tag {LEGEND_TAG} is not a legend ({error}). remove the tag"
        ) from error


def _category_names(path: Path) -> list[str]:
    """Names by id from ``NAME.tif.aux.xml``, where GDAL keeps them."""
    try:
        document = ElementTree.parse(path.with_name(path.name + ".aux.xml"))
    except (OSError, ElementTree.ParseError):
        return []
    items = document.iterfind("./PAMRasterBand[@band='1']/CategoryNames/Category")
    return [(item.text or "").strip() for item in items]


def _colours(dataset: DatasetReader) -> Mapping[int, _RGBA]:
    try:
        colours: Mapping[int, _RGBA] = dataset.colormap(1)
    except ValueError:  # it has no colour table
        return {}
    return colours


def _largest(labels: Labels | ArrayLabels) -> int:
    return max(largest_class(labels.read(window)) for window in labels.strips())


def _filled_in(names: list[str], colours: Mapping[int, _RGBA], largest: int) -> Legend:
    number = min(max(largest + 1, len(names), 2), IGNORE)
    classes: list[LegendClass] = []
    for class_id in range(number):
        name = names[class_id] if class_id < len(names) else ""
        if not name or any(name == earlier.name for earlier in classes):
            name = f"class_{class_id}" if class_id else "background"
        classes.append(LegendClass(class_id, name, _colour(class_id, colours)))
    return Legend(tuple(classes))


def _colour(class_id: int, colours: Mapping[int, _RGBA]) -> str:
    red, green, blue = colours.get(class_id, (0, 0, 0, 0))[:3]
    if class_id and not (red or green or blue):  # TIFF fills its colour tables up with black
        hue = class_id * 0.618034 % 1  # by the golden angle no two near ids get near hues
        red, green, blue = (round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.75, 0.95))
    return f"#{red:02x}{green:02x}{blue:02x}"
