"""Sources of a dataset: DOTA folders, scenes with an annotation file, and other datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import shapely
from affine import Affine
from rasterio.windows import Window

from geoseg.annotations.burn import OUTLINES, QUADS, Annotations
from geoseg.annotations.corrections import apply_corrections
from geoseg.annotations.dota import read_dota
from geoseg.annotations.readers import (
    NamedAnnotations,
    ReaderOptions,
    derive_legend,
    find_reader,
)
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.annotations.vector import read_annotated_area, read_outlines
from geoseg.dataset.classes import (
    ClassMapping,
    extend_legend,
    make_class_error,
    use_smallest_legend,
)
from geoseg.dataset.folder import ANNOTATIONS, DESCRIPTION, Dataset, DatasetScene
from geoseg.dataset.images import SUFFIXES, inspect_image
from geoseg.dataset.pool import InputPool
from geoseg.errors import AnnotationError, ConfigError, DatasetError, SceneError
from geoseg.legend import DOTA_V2, Legend
from geoseg.options import AnnotationOptions, RasterOptions, as_path
from geoseg.raster.scene import SceneInfo

IMAGES, LABELS = "images", "labelTxt"


@dataclass(frozen=True, slots=True)
class SourceScene:
    """One scene of the input: an image, or a window of it, and its annotations.

    Every step of the pipeline takes scenes and returns scenes.
    """

    name: str

    split: str | None
    """None: not assigned yet."""

    image: SceneInfo
    """File and georeference. Size and transform are those of `window`, if there is one."""

    layers: Mapping[str, Annotations]
    """Annotations by layer, in pixels of the scene."""

    legend: Legend
    """Classes of the annotations."""

    files: Mapping[str, Path]
    """File of each annotation layer; the first one names the source of the legend in messages."""

    located: bool
    """True if the transform of the image is kept: it has a CRS, or a geotransform in a local coordinate
    system."""

    window: Window | None = None
    """Part of the image that is the scene; None for the whole image."""

    whole: SceneInfo | None = None
    """Metadata of the whole image, if the scene is a window of it."""

    file_name: str | None = None
    """Name of the GeoTIFF without suffix, which scenes of one image share; None: the name of the scene."""

    gsd: float | None = None
    """Metres per pixel by the annotations or a dataset; None if unknown."""

    image_source: str | None = None

    @property
    def path(self) -> Path:
        """Image file."""
        return Path(self.image.path)

    @property
    def corner(self) -> tuple[int, int]:
        """Column and row of the upper left pixel in the image."""
        return (self.window.col_off, self.window.row_off) if self.window else (0, 0)

    @property
    def stem(self) -> str:
        """Name of the GeoTIFF without suffix."""
        return self.file_name or self.name

    @property
    def area(self) -> shapely.Geometry | None:
        """Annotated area in pixels of the scene; None: all of it."""
        return next((objects.area for objects in self.layers.values()), None)

    @property
    def labels(self) -> Path:
        """File of the first annotation layer."""
        return next(iter(self.files.values()))


def crop_scene(
    scene: SourceScene, window: Window, layers: Mapping[str, Annotations]
) -> SourceScene:
    """Return a window of a whole scene; `layers` are its annotations in pixels of the window."""
    image = scene.image
    transform = image.transform @ Affine.translation(window.col_off, window.row_off)
    return replace(
        scene,
        window=window,
        whole=image,
        image=replace(image, width=window.width, height=window.height, transform=transform),
        layers=layers,
    )


def is_located(image: SceneInfo) -> bool:
    """True for an image with a CRS or a geotransform."""
    return image.crs is not None or image.transform != Affine.identity()


def read_folders(
    folders: Sequence[Path],
    splits: Sequence[str] | None,
    outlines: Path | None,
    classes: ClassMapping,
    raster: RasterOptions,
    pool: InputPool,
    report: ValidationReport,
) -> dict[Path, list[SourceScene]]:
    """Read the scenes of DOTA folders and datasets.

    Parameters
    ----------
    folders
        DOTA folders and dataset folders.
    splits
        Sub-folders of DOTA folders, or splits of datasets, to use; None for all.
    outlines
        GeoParquet file of outlines for the DOTA folders.
    classes
        Legend and renaming of classes.
    raster
        Bands to read.
    pool, report
        Threads, and the issues they find.

    Returns
    -------
    dict
        Scenes by folder. DOTA folders share one legend.

    Raises
    ------
    ConfigError, DatasetError, AnnotationError
    """
    scenes: dict[Path, list[SourceScene]] = {}
    dota = [folder for folder in folders if not is_dataset(folder)]
    if outlines and not dota:
        raise ConfigError(f"{outlines}: outlines are for DOTA folders. Leave out --outlines")
    if dota:
        scenes |= _read_dota_folders(dota, splits, outlines, classes, raster, pool, report)
    for folder in folders:
        if folder not in scenes:
            scenes[folder] = _read_dataset(folder, splits, raster, pool, report)
    return {folder: scenes[folder] for folder in dict.fromkeys(folders)}


def is_dataset(folder: Path) -> bool:
    """True for a folder that `geoseg prepare` has written."""
    return (folder / DESCRIPTION).is_file()


def _read_dataset(
    folder: Path,
    splits: Sequence[str] | None,
    raster: RasterOptions,
    pool: InputPool,
    report: ValidationReport,
) -> list[SourceScene]:
    dataset = Dataset.open(folder)
    if splits and (absent := [name for name in splits if name not in dataset.splits]):
        raise DatasetError(f"{folder}: no split {absent[0]!r}. Use {', '.join(dataset.splits)}")
    layers = {layer: dataset.annotations(layer) for layer in dataset.layers}

    def read(scene: DatasetScene) -> SourceScene:
        whole = SourceScene(
            name=scene.name,
            split=scene.split,
            image=inspect_image(dataset.path(scene), raster),
            layers={layer: by_scene[scene.name] for layer, by_scene in layers.items()},
            legend=dataset.legend,
            files=dict.fromkeys(layers, folder / ANNOTATIONS),
            located=dataset.crs is not None or dataset.local_coordinates,
            gsd=scene.pixel_size_m,
            image_source=scene.image_source,
            file_name=Path(scene.file).stem,
        )
        return crop_scene(whole, Window(*scene.window), whole.layers) if scene.window else whole

    chosen = [scene for scene in dataset.scenes if not splits or scene.split in splits]
    return pool.map(read, chosen, "read labels", report)


@dataclass(frozen=True, slots=True)
class _DotaFiles:
    """Image and label file of a scene in a DOTA folder."""

    name: str
    split: str | None
    image: Path
    labels: Path


def _read_dota_folders(
    folders: Sequence[Path],
    splits: Sequence[str] | None,
    outlines: Path | None,
    classes: ClassMapping,
    raster: RasterOptions,
    pool: InputPool,
    report: ValidationReport,
) -> dict[Path, list[SourceScene]]:
    """Read the scenes of DOTA folders, in one legend."""
    legend = classes.source_legend or extend_legend(DOTA_V2, classes.sources)
    files = {folder: _find_dota_files(folder, splits, report) for folder in folders}
    every = [entry for entries in files.values() for entry in entries]
    read = partial(_read_dota_scene, legend=legend, raster=raster, report=report)
    scenes = pool.map(read, every, "read labels", report)
    if outlines and scenes:
        by_scene = read_outlines(outlines, legend, [s.name for s in scenes], report)
        scenes = [
            replace(s, layers={**s.layers, OUTLINES: o}, files={**s.files, OUTLINES: outlines})
            for s, o in zip(scenes, by_scene, strict=True)
        ]
    if not classes.source_legend:
        smallest, renumber = use_smallest_legend(
            legend, [objects for s in scenes for objects in s.layers.values()]
        )
        scenes = [
            replace(s, legend=smallest, layers={n: renumber(o) for n, o in s.layers.items()})
            for s in scenes
        ]
    folder_of = {entry.image: folder for folder, entries in files.items() for entry in entries}
    return {folder: [s for s in scenes if folder_of[s.path] == folder] for folder in folders}


def _read_dota_scene(
    files: _DotaFiles, *, legend: Legend, raster: RasterOptions, report: ValidationReport
) -> SourceScene:
    labels = read_dota(files.labels, legend)
    image = inspect_image(files.image, raster)
    for kind, action, count in (
        (IssueKind.INVALID_RING, Action.REPAIRED, labels.repaired),
        (IssueKind.NO_AREA, Action.LEFT_OUT, labels.skipped),
    ):
        report.add(kind, files.labels, action, scene=files.name, count=count, note=QUADS)
    return SourceScene(
        name=files.name,
        split=files.split,
        image=image,
        layers={QUADS: labels.annotations},
        legend=legend,
        files={QUADS: files.labels},
        located=is_located(image),
        gsd=labels.gsd,
        image_source=labels.image_source,
    )


def _find_dota_files(
    folder: Path, splits: Sequence[str] | None, report: ValidationReport
) -> list[_DotaFiles]:
    """Pair images with label files; unpaired ones are rejected.

    Splits are the sub-folders that have ``images`` (or those named in `splits`); a folder that has ``images`` itself
    has no splits. Raises DatasetError if there are no images.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder. Name the one with {IMAGES} and {LABELS}")
    if (folder / IMAGES).is_dir() and not splits:
        files = _pair_files(folder, None, report)
    else:
        names = splits or sorted(p.name for p in folder.iterdir() if (p / IMAGES).is_dir())
        files = [entry for name in names for entry in _pair_files(folder / name, name, report)]
    if not files and not report.errors:
        raise DatasetError(
            f"{folder}: no images in it or its sub-folders. Add images/*.png, .jpg or .tif and "
            "labelTxt/*.txt"
        )
    return files


def _pair_files(folder: Path, split: str | None, report: ValidationReport) -> list[_DotaFiles]:
    images: dict[str, list[Path]] = {}
    for path in _list_files(folder, IMAGES):
        if path.suffix.lower() in SUFFIXES:
            images.setdefault(path.stem, []).append(path)
    labels = {p.stem: p for p in _list_files(folder, LABELS) if p.suffix.lower() == ".txt"}
    pairs = []
    for name in sorted(images.keys() | labels.keys()):
        match images.get(name, []), labels.get(name):
            case [], text:
                error = AnnotationError(f"{text}: no image. Add it to {folder / IMAGES}")
                report.reject(error, IssueKind.NO_IMAGE)
            case [image, other, *_], _:
                clash = SceneError(f"{image}: there is also {other.name}. Keep one of them")
                report.reject(clash, IssueKind.NAME_CLASH)
            case [image], None:
                missing = SceneError(
                    f"{image}: no label file. Add an empty one if there is no object"
                )
                report.reject(missing, IssueKind.NO_LABELS)
            case [image], Path() as text:
                pairs.append(_DotaFiles(name, split, image, text))
    return pairs


def _list_files(folder: Path, name: str) -> list[Path]:
    if not (folder / name).is_dir():
        raise DatasetError(
            f"{folder}: no folder {name}. Add it, or name the splits to use with --splits: sub-folders that contain it"
        )
    return sorted(p for p in (folder / name).iterdir() if p.is_file() and p.name[0] != ".")


def read_annotated_scenes(
    paths: Sequence[Path],
    annotations: Path,
    options: AnnotationOptions,
    classes: ClassMapping,
    raster: RasterOptions,
    pool: InputPool,
    report: ValidationReport,
) -> list[SourceScene]:
    """Read scenes and their annotations from a file or folder of any format.

    Parameters
    ----------
    paths
        Raster files, and folders of them.
    annotations
        File or folder with the annotations of all scenes.
    options
        Format of the annotations.
    classes
        Legend and renaming of classes. Without a legend, the class names in the annotations make one.
    raster
        Bands to read.
    pool, report
        Threads, and the issues they find.

    Returns
    -------
    list
        Scenes whose annotations were not rejected.

    Raises
    ------
    ConfigError, DatasetError, AnnotationError, SceneError
    """
    read = find_reader(options.format)
    inspect = partial(inspect_image, raster=raster)
    images = pool.map(inspect, _list_images(paths), "read scenes", report)
    report.raise_rejected()
    if not images:
        return []
    reader_options = ReaderOptions(
        options.class_column, options.layer, classes.requested, options.colours
    )
    parts = read(annotations, images, reader_options, report)
    if area := as_path(options.annotated_area):
        areas = read_annotated_area(area, images, report)
        parts = [
            None if part is None else replace(part, area=of_scene)
            for part, of_scene in zip(parts, areas, strict=True)
        ]
    pairs = [
        (image, apply_corrections(part, annotations, Path(image.path).stem, report))
        for image, part in zip(images, parts, strict=True)
        if part is not None
    ]
    if not pairs:
        return []
    legend = classes.source_legend or _derive_legend(annotations, [part for _, part in pairs])
    return [
        SourceScene(
            name=Path(image.path).stem,
            split=None,
            image=image,
            layers={OUTLINES: _to_annotations(annotations, part, legend)},
            legend=legend,
            files={OUTLINES: annotations},
            located=is_located(image),
        )
        for image, part in pairs
    ]


def _list_images(paths: Sequence[Path]) -> list[Path]:
    """Replace folders by the images in them."""
    images: list[Path] = []
    for path in paths:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found = [p for p in files if p == path or p.suffix.lower() in SUFFIXES]
        if not found:
            raise DatasetError(f"{path}: no images. Name scenes, or a folder of them")
        images += found
    return images


def _derive_legend(path: Path, parts: Sequence[NamedAnnotations]) -> Legend:
    if not any(map(len, parts)):
        raise AnnotationError(
            f"{path}: no object on these scenes. If that is intended, name the classes by --legend"
        )
    try:
        return derive_legend(parts)
    except ValueError as error:
        raise AnnotationError(f"{path}: {error}. Check the column of the classes") from error


def _to_annotations(path: Path, part: NamedAnnotations, legend: Legend) -> Annotations:
    try:
        return part.to_annotations(legend)
    except ValueError as error:
        raise make_class_error(path, error) from error


def merge_sources(
    sources: Mapping[Path, Sequence[SourceScene]], report: ValidationReport
) -> list[SourceScene]:
    """Merge the scenes of several folders, with the layers that all folders have.

    A scene whose name occurs in another folder is prefixed with the name of its folder. Raises DatasetError if no layer
    is common to all.
    """
    layers = {folder: tuple(scenes[0].layers) for folder, scenes in sources.items() if scenes}
    common = [
        layer
        for layer in next(iter(layers.values()), ())
        if all(layer in others for others in layers.values())
    ]
    if layers and not common:
        listed = ", ".join(
            f"{folder} has {' and '.join(names)}" for folder, names in layers.items()
        )
        raise DatasetError(
            f"{listed}: no annotation layer in common. Prepare the folders separately"
        )
    for folder, names in layers.items():
        for layer in set(names) - set(common):
            count = sum(len(scene.layers[layer]) for scene in sources[folder])
            report.add(IssueKind.PARTIAL_LAYER, folder, Action.LEFT_OUT, count=count, note=layer)
    folders: dict[str, set[Path]] = {}
    for folder, scenes in sources.items():
        for scene in scenes:
            for name in (scene.name, scene.stem):
                folders.setdefault(name.casefold(), set()).add(folder)
    clashing = {
        (folder, scene.stem)
        for folder, scenes in sources.items()
        for scene in scenes
        if any(len(folders[name.casefold()]) > 1 for name in (scene.name, scene.stem))
    }
    return [
        replace(
            _rename_scene(scene, folder, report) if (folder, scene.stem) in clashing else scene,
            layers={layer: scene.layers[layer] for layer in common},
        )
        for folder, scenes in sources.items()
        for scene in scenes
    ]


def _rename_scene(scene: SourceScene, folder: Path, report: ValidationReport) -> SourceScene:
    prefix = folder.resolve().name
    name = f"{prefix}-{scene.name}"
    report.add(
        IssueKind.NAME_CLASH, scene.path, Action.REPAIRED, scene=name, note=f"renamed to {name}"
    )
    return replace(scene, name=name, file_name=f"{prefix}-{scene.stem}")


def check_names(scenes: Iterable[SourceScene]) -> None:
    """Raise DatasetError if two scenes would get the same file, also on a case-insensitive file system."""
    by_name: dict[str, SourceScene] = {}
    by_file: dict[str, SourceScene] = {}
    for scene in scenes:
        other = by_name.setdefault(scene.name.casefold(), scene)
        sharing = by_file.setdefault(scene.stem.casefold(), scene)
        if sharing is not scene and (sharing.path != scene.path or scene.window is None):
            other = sharing
        if other is not scene:
            raise DatasetError(
                f"{scene.path}: has the same name as {other.path}. Rename one of the scenes"
            )
