"""Label and confidence rasters: class IDs from a file or an array, read by strips, and their legend."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.legend import BACKGROUND, COUNTABLE_NAMES, IGNORE, Legend, LegendClass
from geoseg.options import PIXEL_SIZES_M
from geoseg.progress import Track, silent
from geoseg.raster.checks import check_georeference, open_raster
from geoseg.raster.georeference import map_transform, on_one_grid
from geoseg.raster.scene import SceneInfo

LEGEND_TAG = "GEOSEG_LEGEND"
"""GDAL metadata item with the legend as JSON; in a TIFF it is inside the file."""

PIXEL_SIZE_TAG = "GEOSEG_PIXEL_SIZE"
"""GDAL metadata item with the pixel size in metres of labels without a CRS."""

_RGBA = tuple[int, int, int, int]


def legend_tags(legend: Legend) -> dict[str, str]:
    """Return the tags, for ``dataset.update_tags``, that store a legend in a label raster."""
    return {LEGEND_TAG: json.dumps(legend.to_json(), ensure_ascii=False)}


def pixel_size_tags(info: SceneInfo) -> dict[str, str]:
    """Return the tags that store the pixel size of a scene in its labels, if it has no CRS."""
    known = info.crs is None and info.pixel_size_m is not None
    return {PIXEL_SIZE_TAG: f"{info.pixel_size_m:.9g}"} if known else {}


def read_legend(labels: LabelFile | LabelArray) -> Legend:
    """Return the legend of a label raster: its GEOSEG_LEGEND tag, else its category names and colour table.

    Classes without a name are called ``class_<id>``, up to the largest ID that occurs; for that the raster is read
    once more. An array has no names. Raises SceneError if the tag is not a legend.
    """
    if isinstance(labels, LabelArray):
        return _complete_legend([], {}, _largest(labels))
    text = labels.dataset.tags().get(LEGEND_TAG)
    if text is None:
        return _complete_legend(
            _category_names(labels.path), _colours(labels.dataset), _largest(labels)
        )
    try:
        return Legend.from_json(json.loads(text))
    except ValueError as error:
        raise SceneError(
            f"{labels.path}: its tag {LEGEND_TAG} is not a legend ({error}). Remove the tag: gdal_edit.py -unsetmd"
        ) from error


def _category_names(path: Path) -> list[str]:
    """Read the category names by ID from ``NAME.tif.aux.xml``, where GDAL stores them."""
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


def _largest(labels: LabelFile | LabelArray) -> int:
    return max(largest_class(labels.read(window)) for window in labels.strips())


def _complete_legend(names: list[str], colours: Mapping[int, _RGBA], largest: int) -> Legend:
    number = min(max(largest + 1, len(names), 2), IGNORE)
    classes: list[LegendClass] = []
    for class_id in range(number):
        name = names[class_id] if class_id < len(names) else ""
        if not name or any(name == earlier.name for earlier in classes):
            name = f"class_{class_id}" if class_id else "background"
        countable = name in COUNTABLE_NAMES
        classes.append(LegendClass(class_id, name, _colour(class_id, colours), countable))
    return Legend(tuple(classes))


def _colour(class_id: int, colours: Mapping[int, _RGBA]) -> str:
    red, green, blue = colours.get(class_id, (0, 0, 0, 0))[:3]
    if class_id and not (red or green or blue):  # TIFF pads colour tables with black
        hue = class_id * 0.618034 % 1  # golden angle: near IDs get distant hues
        red, green, blue = (round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.75, 0.95))
    return f"#{red:02x}{green:02x}{blue:02x}"


# Rasters

_ROWS = 512
_CACHE = 16 << 20  # strips are whole blocks, none is read twice


class LabelFile:
    """An open raster of class IDs: one band of integers, 0 background, 1 to 254 classes, 255 and nodata ignored."""

    def __init__(self, dataset: DatasetReader, path: Path) -> None:
        self.dataset = dataset
        self.path = path

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def crs(self) -> CRS | None:
        """CRS, or None."""
        return self.dataset.crs or None

    @property
    def transform(self) -> Affine:
        """Pixel-to-map transform, see `geoseg.raster.georeference.map_transform`."""
        return map_transform(self.dataset.transform)

    @property
    def pixel_size_m(self) -> float | None:
        """Pixel size in metres that the raster stores if it has no CRS; None if it is unknown."""
        try:
            size = float(self.dataset.tags().get(PIXEL_SIZE_TAG, "nan"))
        except ValueError:
            return None
        return size if self.crs is None and PIXEL_SIZES_M[0] <= size <= PIXEL_SIZES_M[1] else None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.dataset.shape
        return rows, columns

    def strips(self) -> list[Window]:
        """Return windows of full width from top to bottom, whose heights are multiples of a block."""
        block = self.dataset.block_shapes[0][0]
        rows = _ROWS // block * block if block <= _ROWS else min(block, 4 * _ROWS)
        return _strips(self.shape, rows)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return (h, w) class IDs, IGNORE where there is nodata.

        Raises SceneError if a value is not a class ID, or the file is damaged.
        """
        values = read_band(self.dataset, self.path, window)
        nodata = self.dataset.nodata
        if nodata is None or nodata in (BACKGROUND, IGNORE):
            return _checked(values, str(self.path))
        nothing = values == nodata
        labels = _checked(np.where(nothing, values.dtype.type(BACKGROUND), values), str(self.path))
        labels[nothing] = IGNORE
        return labels


class LabelArray:
    """Class IDs in memory, (rows, columns) of any integer type, with the interface of `LabelFile`."""

    pixel_size_m: float | None = None
    """Always unknown."""

    def __init__(
        self,
        values: NDArray[Any],
        *,
        transform: Affine | None = None,
        crs: CRS | None = None,
        name: str = "labels",
    ) -> None:
        if values.ndim != 2 or values.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be (rows, columns) of integers, got {values.shape} {values.dtype}"
            )
        self.values = values
        self.transform = map_transform(transform or Affine.identity())
        self.crs = crs
        self.name = name
        self.shape: tuple[int, int] = values.shape

    def strips(self) -> list[Window]:
        """Return windows of full width from top to bottom."""
        return _strips(self.shape, _ROWS)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return (h, w) class IDs. Raises SceneError if a value is not one."""
        rows = slice(window.row_off, window.row_off + window.height)
        return _checked(self.values[rows], self.name)


def largest_class(ids: NDArray[np.uint8]) -> int:
    """Return the largest class ID, 0 if there is none."""
    largest = int(ids.max(initial=0))
    # numpy is a hundred times faster without a condition
    return largest if largest != IGNORE else int(ids.max(where=ids != IGNORE, initial=0))


def _strips(shape: tuple[int, int], rows: int) -> list[Window]:
    height, width = shape
    return [Window(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]


def _checked(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > IGNORE:
        raise SceneError(
            f"{name}: holds the value {low if low < 0 else high}, class IDs are 0 to 254. "
            "Renumber the classes, or declare the value as nodata"
        )
    return values.astype(np.uint8)


class ConfidenceFile:
    """An open raster of the confidence or of the interior of objects, on the grid of the labels.

    uint8, 0 to 200 for 0 to 1.
    """

    def __init__(self, dataset: DatasetReader, path: Path) -> None:
        self.dataset = dataset
        self.path = path

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return (h, w) confidence in steps of 1/200."""
        values: NDArray[np.uint8] = read_band(self.dataset, self.path, window)
        return values


class ConfidenceArray:
    """Confidence, or another `kind` of plane, in memory: (rows, columns) uint8, 0 to 200 for 0 to 1, 255 unknown."""

    def __init__(
        self, values: NDArray[Any], labels: LabelFile | LabelArray, kind: str = "confidence"
    ) -> None:
        if values.shape != labels.shape or values.dtype != np.uint8:
            raise ValueError(
                f"{kind} must be {labels.shape} uint8 as the labels, "
                f"got {values.shape} {values.dtype}"
            )
        self.values: NDArray[np.uint8] = values

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return (h, w) confidence in steps of 1/200."""
        return self.values[window.row_off : window.row_off + window.height]


class CertaintyPlanes:
    """Confidence, if there is one, and uncertainty of labels, read together."""

    def __init__(
        self,
        confidence: ConfidenceFile | ConfidenceArray | None,
        uncertainty: ConfidenceFile | ConfidenceArray,
    ) -> None:
        self.confidence, self.uncertainty = confidence, uncertainty

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return (h, w, 2) confidence and uncertainty in steps of 1/200."""
        planes = np.full((window.height, window.width, 2), IGNORE, np.uint8)
        if self.confidence is not None:
            planes[..., 0] = self.confidence.read(window)
        planes[..., 1] = self.uncertainty.read(window)
        return planes


Certainty = ConfidenceFile | ConfidenceArray | CertaintyPlanes
"""Confidence of labels, or confidence and uncertainty."""


@contextmanager
def open_labels(path: Path) -> Iterator[LabelFile]:
    """Open a label raster. Raises SceneError if it has several bands or no integers."""
    with _open(path) as dataset:
        if dataset.count != 1:
            raise SceneError(
                f"{path}: has {dataset.count} bands, labels have one. Check that it is not the scene"
            )
        if np.dtype(dataset.dtypes[0]).kind not in "iu":
            raise SceneError(
                f"{path}: its pixels are {dataset.dtypes[0]}, class IDs are integers. "
                "Convert it: gdal_translate -ot Byte IN OUT.tif"
            )
        yield LabelFile(dataset, path)


@contextmanager
def open_confidence(
    path: Path, labels: LabelFile, kind: str = "confidence"
) -> Iterator[ConfidenceFile]:
    """Open the raster of this `kind` of `labels`. Raises SceneError if it is not uint8 on the same grid."""
    with _open(path) as dataset:
        if dataset.count != 1 or dataset.dtypes[0] != "uint8":
            raise SceneError(
                f"{path}: has {dataset.count} bands of {dataset.dtypes[0]}, "
                f"{kind} has one of uint8. Use the file that geoseg segment --{kind} wrote"
            )
        rows, columns = labels.shape
        if dataset.shape != (rows, columns) or not on_one_grid(
            labels.dataset.transform, dataset.transform, width=columns, height=rows
        ):
            raise SceneError(
                f"{path}: is not on the grid of {labels.path}. Use the {kind} of the same run"
            )
        yield ConfidenceFile(dataset, path)


def read_strips(
    labels: LabelFile | LabelArray,
    confidence: Certainty | None,
    legend: Legend,
    track: Track = silent,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    """Yield class IDs and confidence of all strips, from top to bottom. Raises as `read_class_ids`."""
    for window in track(labels.strips(), "vectorize"):
        yield (
            read_class_ids(labels, legend, window),
            confidence.read(window) if confidence else None,
        )


def read_window_strips(
    labels: LabelFile, confidence: ConfidenceFile | None, legend: Legend, window: Window
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    """Yield class IDs and confidence of strips of a window, from top to bottom. Raises as `read_class_ids`."""
    for strip in cut_strips(window):
        yield (
            read_class_ids(labels, legend, strip),
            confidence.read(strip) if confidence else None,
        )


def cut_strips(window: Window) -> list[Window]:
    """Cut a window into strips of its width, from top to bottom."""
    return [
        Window(window.col_off, window.row_off + part.row_off, part.width, part.height)
        for part in _strips((window.height, window.width), _ROWS)
    ]


def read_class_ids(
    labels: LabelFile | LabelArray, legend: Legend, window: Window
) -> NDArray[np.uint8]:
    """Return (h, w) class IDs. Raises SceneError for damage, and for classes that are not in `legend`."""
    ids = labels.read(window)
    largest = largest_class(ids)
    if largest >= len(legend):
        raise SceneError(
            f"{getattr(labels, 'path', labels.name)}: holds class {largest}, but its legend "
            f"ends at {len(legend) - 1}. Use the legend of the model that made the labels"
        )
    return ids


def read_band(dataset: DatasetReader, path: Path, window: Window) -> NDArray[Any]:
    """Return (h, w) values of the first band. Raises SceneError if the file is damaged there."""
    try:
        values: NDArray[Any] = dataset.read(1, window=window)
    except RasterioError as error:
        rows = f"rows {window.row_off} to {window.row_off + window.height}"
        raise SceneError(f"{path}: damaged within {rows}. Copy or download it again") from error
    return values


@contextmanager
def _open(path: Path) -> Iterator[DatasetReader]:
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
        open_raster(path) as dataset,
    ):
        check_georeference(dataset, path)
        yield dataset
