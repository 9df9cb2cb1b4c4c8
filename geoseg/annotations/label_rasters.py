"""Label rasters: the class of every pixel of a scene, as a class ID or a colour, read and written."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.annotations.colours import UNKNOWN, ColourMap, load_colour_map
from geoseg.annotations.readers import NamedAnnotations, ReaderOptions, index_by_stem
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError, SceneError
from geoseg.files import ScenePath
from geoseg.legend import BACKGROUND, IGNORE, IGNORED, Legend
from geoseg.polygons.trace import trace
from geoseg.raster.checks import check_georeference, open_raster
from geoseg.raster.georeference import on_one_grid
from geoseg.raster.labels import LabelFile, largest_class, open_labels, read_legend
from geoseg.raster.scene import SceneInfo

_SUFFIXES = (".tif", ".tiff", ".png")  # not JPEG, which changes colours
_LABEL_SUFFIX = re.compile(
    r"[-_](instance_color_RGB|(labels?_)?noBoundary|labels?|masks?|gt|seg)$", re.I
)
_SCENE_SUFFIX = re.compile(r"[-_](RGB|RGBIR|IRRG)$", re.I)

_STRIP_ROWS = 512
_CACHE = 16 << 20  # bytes; strips are whole blocks, few of which are read twice
_LISTED = 5  # unknown colours that a message lists
_MAX_UNKNOWN = 10_000  # unknown colours until reading stops

_CREAM = (224, 224, 192)  # of ignored pixels in PASCAL VOC


def read_label_rasters(
    path: Path, scenes: Sequence[SceneInfo], options: ReaderOptions, report: ValidationReport, /
) -> list[NamedAnnotations | None]:
    """Read the regions of label rasters along the edges of their pixels; burning them returns the labels.

    `path` is a folder of rasters named as the scenes (`match_label_files`), or one raster for all scenes. A raster has
    the size of the scene or lies on its grid; the part of the scene that it does not cover is ignored. Without
    `options.colours` its values are class IDs: 0 is background, 255 and nodata are ignored, class names are those of
    `options.legend`, else the raster's own (`geoseg.raster.labels`). Ignored areas become objects named IGNORED.
    Rasters are read by strips.

    Scenes of an invalid raster are rejected. Raises AnnotationError if no raster belongs to a scene or none has a
    class, ConfigError for an unknown colour map.
    """
    colours = load_colour_map(options.colours) if options.colours else None
    regions: dict[ScenePath, NamedAnnotations] = {}
    for file, covered in match_label_files(path, scenes, report).items():
        with (
            _rejecting(report),
            open_label_raster(file, legend=options.legend, colours=colours) as raster,
        ):
            for scene in covered:
                with _rejecting(report):
                    regions[scene.path] = _trace_scene(raster, scene, report)
    if {name for part in regions.values() for name in part.name} == {IGNORED}:
        raise AnnotationError(
            f"{path}: has no class, only background and ignored pixels. If {IGNORE} is a class, name it in a "
            "file for --colours"
        )
    return [regions.get(scene.path) for scene in scenes]


@contextmanager
def _rejecting(report: ValidationReport) -> Iterator[None]:
    """Add errors to the report instead of raising them."""
    try:
        yield
    except (AnnotationError, SceneError) as error:
        report.reject(error)


def match_label_files(
    path: Path, scenes: Sequence[SceneInfo], report: ValidationReport
) -> dict[Path, list[SceneInfo]]:
    """Match label rasters with scenes; scenes with no raster, or several, are rejected.

    Parameters
    ----------
    path
        Raster of all scenes, or a folder of rasters, searched with its sub-folders. A raster has the name of its scene,
        perhaps with a suffix that iSAID, ISPRS and others give to labels (``P0001_instance_color_RGB``,
        ``top_2_10_label`` for ``top_2_10_RGB``).
    scenes
        Scenes of the dataset.
    report
        Collects issues.

    Returns
    -------
    dict
        Scenes by raster.

    Raises
    ------
    AnnotationError
        If one raster is given for several scenes without georeference.
    """
    if not path.is_dir():
        unplaced = [scene for scene in scenes if scene.transform == Affine.identity()]
        if len(scenes) > 1 and unplaced:
            raise AnnotationError(
                f"{path}: one raster for {len(scenes)} scenes, but {unplaced[0].path} has no georeference. Name "
                "a folder of rasters, one per scene"
            )
        return {path: list(scenes)}
    exact, similar = _list_rasters(path, scenes)
    matches: dict[Path, list[SceneInfo]] = {}
    for stem, scene in index_by_stem(scenes).items():
        match exact.get(stem) or similar.get(stem) or similar.get(_SCENE_SUFFIX.sub("", stem), []):
            case [file]:
                matches[file] = [scene]
            case []:
                report.reject(
                    AnnotationError(
                        f"{scene.path}: no label raster in {path}. Add one named {stem}.tif or .png"
                    ),
                    IssueKind.NO_LABELS,
                )
            case [file, other, *_]:
                report.reject(AnnotationError(f"{file}: there is also {other}. Keep one of them"))
    files = {file for same in exact.values() for file in same}
    report.add(IssueKind.NO_IMAGE, path, Action.LEFT_OUT, count=len(files - matches.keys()))
    return matches


def _list_rasters(
    folder: Path, scenes: Sequence[SceneInfo]
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """List the rasters of a folder that are not scenes, by stem and by stem without a suffix of labels."""
    scene_files = {Path(scene.path).resolve() for scene in scenes}
    exact: dict[str, list[Path]] = {}
    similar: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in _SUFFIXES or not file.is_file():
            continue
        if file.resolve() not in scene_files:
            exact.setdefault(file.stem, []).append(file)
            similar.setdefault(_LABEL_SUFFIX.sub("", file.stem), []).append(file)
    return exact, similar


def _trace_scene(
    raster: LabelRaster, scene: SceneInfo, report: ValidationReport
) -> NamedAnnotations:
    """Trace the regions of a raster that lie on a scene."""
    left, top = locate_scene(raster.dataset, raster.path, scene)
    columns, rows = raster.dataset.width, raster.dataset.height
    first, last = max(left, 0), min(left + scene.width, columns)
    upper, lower = max(top, 0), min(top + scene.height, rows)
    if first >= last or upper >= lower:
        raise AnnotationError(
            f"{scene.path}: outside {raster.path}. Leave the scene out, or name its labels"
        )
    to_scene = Affine.translation(first - left, upper - top)
    strips = raster.read_strips(Window(first, upper, last - first, lower - upper))
    batches = [(t.geometry(to_scene), t.class_id) for t in trace(strips, skip=(BACKGROUND,))]
    raster.check_values()
    covered = shapely.box(first - left, upper - top, last - left, lower - top)
    uncovered = shapely.difference(shapely.box(0, 0, scene.width, scene.height), covered)
    if uncovered.area:
        batches.append((np.array([uncovered], object), np.array([IGNORE], np.uint8)))
        note = f"{uncovered.area / (scene.width * scene.height):.1%} of the scene, ignored"
        name = Path(scene.path).stem
        report.add(IssueKind.UNLABELLED, raster.path, Action.KEPT, scene=name, note=note)
    geometry = np.concatenate([np.empty(0, object), *(g for g, _ in batches)])
    label = np.concatenate([np.empty(0, np.uint8), *(ids for _, ids in batches)])
    return NamedAnnotations(geometry, raster.names[label], np.zeros(len(label), bool))


def locate_scene(labels: DatasetReader, path: Path, scene: SceneInfo) -> tuple[int, int]:
    """Return the column and row of a label raster at the first pixel of a scene.

    Raises AnnotationError if their pixels do not coincide.
    """
    sizes = (
        f"{labels.width} x {labels.height} pixels, {scene.path} has {scene.width} x {scene.height}"
    )
    if Affine.identity() in (labels.transform, scene.transform):
        if (labels.width, labels.height) != (scene.width, scene.height):
            raise AnnotationError(f"{path}: {sizes}. Use the labels of this image")
        return 0, 0
    if labels.crs and scene.crs and labels.crs != scene.crs:
        raise AnnotationError(
            f"{path}: the CRS differs from that of {scene.path}. Reproject the labels to the scene's grid with "
            "gdalwarp -r near"
        )
    across = ~labels.transform @ scene.transform
    left, top = round(across.c), round(across.f)
    aligned = labels.transform @ Affine.translation(left, top)
    if not on_one_grid(aligned, scene.transform, width=scene.width, height=scene.height):
        raise AnnotationError(
            f"{path}: not on the pixel grid of {scene.path}. Resample the labels with gdalwarp -r near, -tr and "
            "-te of the scene"
        )
    return left, top


class LabelRaster:
    """Open label raster: class IDs, or colours with a colour map."""

    def __init__(self, dataset: DatasetReader, path: Path, names: tuple[str, ...]) -> None:
        self.dataset, self.path = dataset, path
        self.names: NDArray[np.object_] = np.full(IGNORE + 1, IGNORED, object)
        """(256,) class names by label."""
        self.names[: len(names)] = names

    def read_strips(self, window: Window) -> Iterator[tuple[NDArray[np.uint8], None]]:
        """Yield the (rows, columns) labels of a window, without confidences, from top to bottom."""
        block = self.dataset.block_shapes[0][0]
        step = _STRIP_ROWS // block * block if block <= _STRIP_ROWS else min(block, 4 * _STRIP_ROWS)
        top, end = window.row_off, window.row_off + window.height
        while top < end:
            height = min(end - top, step - top % step)
            yield self.read(Window(window.col_off, top, window.width, height)), None
            top += height

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read (h, w) labels."""
        raise NotImplementedError

    def check_values(self) -> None:
        """Raise AnnotationError for unknown values read since the last call."""


class _ClassIds(LabelRaster):
    def __init__(self, labels: LabelFile, legend: Legend) -> None:
        super().__init__(labels.dataset, labels.path, legend.names)
        self._labels, self._classes, self._largest = labels, len(legend), 0

    def read(self, window: Window) -> NDArray[np.uint8]:
        ids = self._labels.read(window)
        self._largest = max(self._largest, largest_class(ids))
        return ids

    def check_values(self) -> None:
        largest, self._largest = self._largest, 0
        if largest >= self._classes:
            raise AnnotationError(
                f"{self.path}: has class ID {largest}, but the legend ends at {self._classes - 1}. Name another "
                "--legend"
            )


class _Colours(LabelRaster):
    def __init__(self, dataset: DatasetReader, path: Path, colours: ColourMap) -> None:
        super().__init__(dataset, path, colours.names)
        self._colours = colours
        self._palette = _read_palette(dataset)
        self._unknown: dict[tuple[int, ...], list[int]] = {}
        """Colour -> number of pixels, column and row of the first."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        try:
            pixels = self.dataset.read(window=window)
        except RasterioError as error:
            raise SceneError(f"{self.path}: damaged. Copy or download it again") from error
        colours = pixels[:3]
        if self._palette is not None:
            colours = np.moveaxis(self._palette[pixels[0]], 2, 0)
        elif len(pixels) < 3:
            colours = np.broadcast_to(pixels[:1], (3, *pixels.shape[1:]))
        labels = self._colours.classify(colours)
        if len(pixels) in (2, 4):
            labels[pixels[-1] == 0] = IGNORE  # transparent
        if (unknown := labels == UNKNOWN).any():
            self._count_unknown(colours[:, unknown], np.argwhere(unknown), window)
        return labels

    def check_values(self) -> None:
        unknown, self._unknown = self._unknown, {}
        if unknown:
            most = sorted(unknown.items(), key=lambda item: -item[1][0])
            listed = ", ".join(
                f"#{red:02x}{green:02x}{blue:02x} ({count:,} pixels, first at column {x}, row {y})"
                for (red, green, blue), (count, x, y) in most[:_LISTED]
            )
            more = f", and {len(most) - _LISTED} more" if len(most) > _LISTED else ""
            raise AnnotationError(
                f"{self.path}: unknown colours {listed}{more}. Add them to a file for --colours, or all at "
                'once as "*"; JPEG compression changes colours'
            )

    def _count_unknown(
        self, colours: NDArray[np.uint8], positions: NDArray[np.int64], window: Window
    ) -> None:
        """Count unknown colours (3, n) at (n, 2) rows and columns of a window."""
        kinds, first, counts = np.unique(colours.T, axis=0, return_index=True, return_counts=True)
        for kind, index, count in zip(kinds.tolist(), first, counts.tolist(), strict=True):
            row, column = positions[index].tolist()
            entry = [0, window.col_off + column, window.row_off + row]
            self._unknown.setdefault(tuple(kind), entry)[0] += count
        if len(self._unknown) > _MAX_UNKNOWN:
            self.check_values()


@contextmanager
def open_label_raster(
    path: Path, *, legend: Legend | None, colours: ColourMap | None
) -> Iterator[LabelRaster]:
    """Open a raster of class IDs, named by `legend` or else by the raster itself, or of `colours`.

    Raises SceneError or AnnotationError if it is not a label raster.
    """
    if colours:
        with (
            rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
            open_raster(path) as dataset,
        ):
            check_georeference(dataset, path)
            if set(dataset.dtypes) != {"uint8"} or dataset.count > 4:
                raise AnnotationError(
                    f"{path}: {dataset.count} bands of {dataset.dtypes[0]}; colours have 1 to 4 bands of uint8. "
                    "Name the label image, not the scene"
                )
            yield _Colours(dataset, path, colours)
        return
    with open_raster(path) as dataset:
        if dataset.count > 1:
            raise AnnotationError(
                f"{path}: an image of {dataset.count} bands, not of class IDs. Name its colour map: --colours "
                "isaid, potsdam, or a file"
            )
    with open_labels(path) as labels:
        yield _ClassIds(labels, legend or read_legend(labels))


def _read_palette(dataset: DatasetReader) -> NDArray[np.uint8] | None:
    """Return the (256, 3) colour table of a paletted raster, else None."""
    if dataset.colorinterp[0] != ColorInterp.palette:
        return None
    table = np.zeros((256, 3), np.uint8)
    for number, colour in dataset.colormap(1).items():
        table[number] = colour[:3]
    return table


def build_palette(legend: Legend) -> NDArray[np.uint8]:
    """Return the (256, 3) colours of class IDs; ignored pixels are cream, as in PASCAL VOC."""
    colours = np.zeros((256, 3), np.uint8)
    for c in legend:
        colours[c.id] = legend.rgb(c.id)
    colours[IGNORE] = _CREAM
    return colours


def encode_label_png(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Encode labels as an 8-bit PNG with a palette.

    Parameters
    ----------
    labels
        (h, w) class IDs.
    palette
        (256, 3) colours.

    Notes
    -----
    PNG specification, third edition. OpenCV does not write palettes, and GDAL takes three times as long.
    """
    height, width = labels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each starts with its filter type: none
    rows[:, 1:] = labels
    header = struct.pack(">2I5B", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes())),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
