"""Which label raster belongs to which scene."""

from __future__ import annotations

import re
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

from geoseg.annotations.colours import UNKNOWN, Colours, colours_named
from geoseg.annotations.reader import Drawn, Reading, by_stem
from geoseg.annotations.report import Done, Findings, Kind
from geoseg.errors import AnnotationError, SceneError
from geoseg.files import ScenePath
from geoseg.legend import BACKGROUND, IGNORE, IGNORED, Legend
from geoseg.polygons.trace import trace
from geoseg.raster.checks import check_georeference, open_raster
from geoseg.raster.georeference import on_one_grid
from geoseg.raster.labels import Labels, largest_class, open_labels, read_legend
from geoseg.raster.scene import SceneInfo

_SUFFIXES = (".tif", ".tiff", ".png")  # not JPEG, which changes colours
_OF_LABELS = re.compile(
    r"[-_](instance_color_RGB|(labels?_)?noBoundary|labels?|masks?|gt|seg)$", re.I
)
_OF_SCENES = re.compile(r"[-_](RGB|RGBIR|IRRG)$", re.I)


def label_files(
    path: Path, scenes: Sequence[SceneInfo], findings: Findings
) -> dict[Path, list[SceneInfo]]:
    """Scenes by the raster that has their labels; those that have none, or several, are told as faults.

    `path` is the raster of all scenes, or a folder in which, or in whose sub-folders, each scene's is named as
    the scene, or by an ending that iSAID, ISPRS and others give to labels (``P0001_instance_color_RGB``,
    ``top_2_10_label`` for ``top_2_10_RGB``). Raises AnnotationError when nothing belongs together.
    """
    if not path.is_dir():
        bare = [scene for scene in scenes if scene.transform == Affine.identity()]
        if len(scenes) > 1 and bare:
            raise AnnotationError(
                f"{path}: is one raster for {len(scenes)} scenes, but {bare[0].path} has no georeference. name "
                "a folder of rasters, one per scene"
            )
        return {path: list(scenes)}
    named = by_stem(scenes)
    own = {Path(scene.path).resolve() for scene in scenes}
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in _SUFFIXES and file.is_file() and file.resolve() not in own
    ]
    exact: dict[str, list[Path]] = {}
    alike: dict[str, list[Path]] = {}
    for file in files:
        exact.setdefault(file.stem, []).append(file)
        alike.setdefault(_OF_LABELS.sub("", file.stem), []).append(file)
    found: dict[Path, list[SceneInfo]] = {}
    for stem, scene in named.items():
        match exact.get(stem) or alike.get(stem) or alike.get(_OF_SCENES.sub("", stem), []):
            case [file]:
                found[file] = [scene]
            case []:
                findings.fault(
                    AnnotationError(
                        f"{scene.path}: has no label raster in {path}. add one named {stem}.tif or .png"
                    ),
                    Kind.NO_LABELS,
                )
            case [file, other, *_]:
                findings.fault(AnnotationError(f"{file}: there is also {other}. keep one of them"))
    findings.add(Kind.NO_IMAGE, path, Done.LEFT_OUT, count=len(set(files) - found.keys()))
    return found


# Where a scene lies on a label raster.


def place_on(labels: DatasetReader, path: Path, scene: SceneInfo) -> tuple[int, int]:
    """Column and row of the labels at the scene's first pixel.

    Raises AnnotationError when pixels of both are not one upon the other.
    """
    where = f"{path}: has {labels.width} x {labels.height} pixels, {scene.path} {scene.width} x {scene.height}"
    if Affine.identity() in (labels.transform, scene.transform):
        if (labels.width, labels.height) != (scene.width, scene.height):
            raise AnnotationError(f"{where}. use the labels of this image")
        return 0, 0
    if labels.crs and scene.crs and labels.crs != scene.crs:
        raise AnnotationError(
            f"{path}: has another coordinate reference system than {scene.path}. bring it onto the scene's "
            "grid: gdalwarp -r near"
        )
    across = ~labels.transform @ scene.transform
    left, top = round(across.c), round(across.f)
    aligned = labels.transform @ Affine.translation(left, top)
    if not on_one_grid(aligned, scene.transform, width=scene.width, height=scene.height):
        raise AnnotationError(
            f"{path}: is not on the grid of {scene.path}; pixels of one lie between those of the other. "
            "bring it onto it: gdalwarp -r near -tr and -te of the scene"
        )
    return left, top


# A label raster of class ids or colours, opened after checks and read by strips.

_ROWS = 512
_CACHE = 16 << 20  # bytes; strips are whole blocks, few are read twice
_NAMED = 5  # colours without a meaning
_ENOUGH = 10_000  # of them; it is a photograph

Strip = tuple[NDArray[np.uint8], None]


class LabelRaster:
    """Class ids of an open raster, or what its colours stand for."""

    def __init__(self, dataset: DatasetReader, path: Path, names: tuple[str, ...]) -> None:
        self.dataset, self.path = dataset, path
        self.names: NDArray[np.object_] = np.full(IGNORE + 1, IGNORED, object)
        """(256,) class names by label"""
        self.names[: len(names)] = names

    def strips(self, window: Window) -> Iterator[Strip]:
        """Labels (rows, columns) of a window, from top to bottom."""
        block = self.dataset.block_shapes[0][0]
        step = _ROWS // block * block if block <= _ROWS else min(block, 4 * _ROWS)
        top, end = window.row_off, window.row_off + window.height
        while top < end:
            height = min(end - top, step - top % step)
            yield self.read(Window(window.col_off, top, window.width, height)), None
            top += height

    def read(self, window: Window) -> NDArray[np.uint8]:
        """(h, w) labels."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise AnnotationError for what was read since the last time and has no meaning."""


class _Ids(LabelRaster):
    def __init__(self, labels: Labels, legend: Legend) -> None:
        super().__init__(labels.dataset, labels.path, legend.names)
        self._labels, self._classes, self._largest = labels, len(legend), 0

    def read(self, window: Window) -> NDArray[np.uint8]:
        ids = self._labels.read(window)
        self._largest = max(self._largest, largest_class(ids))
        return ids

    def check(self) -> None:
        largest, self._largest = self._largest, 0
        if largest >= self._classes:
            raise AnnotationError(
                f"{self.path}: holds class {largest}, but the legend ends at {self._classes - 1}. name another "
                "--legend"
            )


class _Pictures(LabelRaster):
    def __init__(self, dataset: DatasetReader, path: Path, colours: Colours) -> None:
        super().__init__(dataset, path, colours.names)
        self._colours = colours
        self._palette = _palette(dataset)
        self._unknown: dict[tuple[int, ...], list[int]] = {}

    def read(self, window: Window) -> NDArray[np.uint8]:
        try:
            pixels = self.dataset.read(window=window)
        except RasterioError as error:
            raise SceneError(f"{self.path}: damaged. copy or download it again") from error
        colours = pixels[:3]
        if self._palette is not None:
            colours = np.moveaxis(self._palette[pixels[0]], 2, 0)
        elif len(pixels) < 3:
            colours = np.broadcast_to(pixels[:1], (3, *pixels.shape[1:]))
        labels = self._colours.labels(colours)
        if len(pixels) in (2, 4):
            labels[pixels[-1] == 0] = IGNORE  # transparent
        if (strange := labels == UNKNOWN).any():
            self._note(colours[:, strange], np.argwhere(strange), window)
        return labels

    def check(self) -> None:
        unknown, self._unknown = self._unknown, {}
        if unknown:
            most = sorted(unknown.items(), key=lambda item: -item[1][0])
            named = ", ".join(
                f"#{red:02x}{green:02x}{blue:02x} ({count:,} pixels, first at column {x}, row {y})"
                for (red, green, blue), (count, x, y) in most[:_NAMED]
            )
            more = f", and {len(most) - _NAMED} more" if len(most) > _NAMED else ""
            raise AnnotationError(
                f"{self.path}: has colours that mean nothing: {named}{more}. add them to a file for --colours, "
                'or all at once by "*"; a JPEG never has exact colours'
            )

    def _note(self, colours: NDArray[np.uint8], places: NDArray[np.int64], window: Window) -> None:
        """Count colours (3, n) that have no meaning, at (n, 2) rows and columns of a window."""
        kinds, first, counts = np.unique(colours.T, axis=0, return_index=True, return_counts=True)
        for kind, index, count in zip(kinds.tolist(), first, counts.tolist(), strict=True):
            row, column = places[index].tolist()
            place = [0, window.col_off + column, window.row_off + row]
            self._unknown.setdefault(tuple(kind), place)[0] += count
        if len(self._unknown) > _ENOUGH:
            self.check()


@contextmanager
def open_label_raster(
    path: Path, *, legend: Legend | None, colours: Colours | None
) -> Iterator[LabelRaster]:
    """Open a raster of class ids, named by `legend` or else by the raster itself, or of `colours`.

    Raises SceneError, AnnotationError when it is none.
    """
    if colours:
        with (
            rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
            open_raster(path) as dataset,
        ):
            check_georeference(dataset, path)
            if set(dataset.dtypes) != {"uint8"} or dataset.count > 4:
                raise AnnotationError(
                    f"{path}: has {dataset.count} bands of {dataset.dtypes[0]}, colours have 1 to 4 of uint8. "
                    "is it the scene itself?"
                )
            yield _Pictures(dataset, path, colours)
        return
    with open_raster(path) as dataset:
        if dataset.count > 1:
            raise AnnotationError(
                f"{path}: is a picture of {dataset.count} bands, not of class ids. say what its colours mean: "
                "--colours isaid, potsdam, or a file"
            )
    with open_labels(path) as labels:
        yield _Ids(labels, legend or read_legend(labels))


def _palette(dataset: DatasetReader) -> NDArray[np.uint8] | None:
    """(256, 3) colours of a raster that holds numbers of them."""
    if dataset.colorinterp[0] != ColorInterp.palette:
        return None
    table = np.zeros((256, 3), np.uint8)
    for number, colour in dataset.colormap(1).items():
        table[number] = colour[:3]
    return table


# Label rasters: the class of every pixel of a scene, as an id or as a colour.


def read_labels(path: Path, images: Sequence[SceneInfo], reading: Reading, /) -> list[Drawn | None]:
    """The regions of label rasters, along the edges of their pixels: burning them gives the labels back.

    `path` is a folder of rasters named as the scenes (`label_files`), or one raster for all of them. A raster
    has the scene's size, or lies on its grid; what of the scene it does not cover is ignored. Without
    `reading.colours` it holds class ids: 0 is background, 255 and nodata are ignored, names are those
    of `reading.legend`, else the raster's own (`geoseg.raster.labels`). Ignored ground becomes
    objects named IGNORED. Rasters are read by strips.

    What is wrong with a raster is told as a fault of its scenes. Raises AnnotationError when no raster belongs
    to a scene or none holds a class, ConfigError for unknown `reading.colours`.
    """
    colours = colours_named(reading.colours) if reading.colours else None
    findings = reading.findings
    found: dict[ScenePath, Drawn] = {}
    for file, scenes in label_files(path, images, findings).items():
        with (
            _told(findings),
            open_label_raster(file, legend=reading.legend, colours=colours) as raster,
        ):
            for scene in scenes:
                with _told(findings):
                    found[scene.path] = _regions(raster, scene, findings)
    names = {name for drawn in found.values() for name in drawn.name}
    if names == {IGNORED}:
        raise AnnotationError(
            f"{path}: holds no class, only background and what is ignored. if {IGNORE} is a class, name it in a "
            "file for --colours"
        )
    return [found.get(scene.path) for scene in images]


@contextmanager
def _told(findings: Findings) -> Iterator[None]:
    """Tell of a fault instead of raising it."""
    try:
        yield
    except (AnnotationError, SceneError) as fault:
        findings.fault(fault)


def _regions(raster: LabelRaster, scene: SceneInfo, findings: Findings) -> Drawn:
    """What a raster says about a scene."""
    left, top = place_on(raster.dataset, raster.path, scene)
    columns, rows = raster.dataset.width, raster.dataset.height
    first, last = max(left, 0), min(left + scene.width, columns)
    upper, lower = max(top, 0), min(top + scene.height, rows)
    if first >= last or upper >= lower:
        raise AnnotationError(
            f"{scene.path}: lies nowhere on {raster.path}. leave it out, or name its labels"
        )
    placed = Affine.translation(first - left, upper - top)
    strips = raster.strips(Window(first, upper, last - first, lower - upper))
    batches = [(t.geometry(placed), t.class_id) for t in trace(strips, skip=(BACKGROUND,))]
    raster.check()
    covered = shapely.box(first - left, upper - top, last - left, lower - top)
    bare = shapely.difference(shapely.box(0, 0, scene.width, scene.height), covered)
    if bare.area:
        batches.append((np.array([bare], object), np.array([IGNORE], np.uint8)))
        note = f"{bare.area / (scene.width * scene.height):.1%} of the scene, ignored"
        name = Path(scene.path).stem
        findings.add(Kind.NO_TRUTH, raster.path, Done.KEPT, scene=name, note=note)
    geometry = np.concatenate([np.empty(0, object), *(g for g, _ in batches)])
    label = np.concatenate([np.empty(0, np.uint8), *(ids for _, ids in batches)])
    return Drawn(geometry, raster.names[label], np.zeros(len(label), bool))
