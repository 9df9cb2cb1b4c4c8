"""Make a dataset from scenes and a file of what was drawn over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from geoseg.annotations.burn import OUTLINES, Annotations
from geoseg.annotations.readers import NamedAnnotations, ReaderOptions, derive_legend, find_reader
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.annotations.vector import read_outlines
from geoseg.dataset.build import Run, make
from geoseg.dataset.classes import smallest_legend, unknown_class, with_names
from geoseg.dataset.folder import ANNOTATIONS, DESCRIPTION, Dataset, DatasetScene
from geoseg.dataset.images import SUFFIXES, look_at_image
from geoseg.dataset.scenes import Input, look
from geoseg.dataset.sources import Source, find_sources
from geoseg.errors import AnnotationError, ConfigError, DatasetError
from geoseg.legend import BACKGROUND, DOTA_V2, Legend
from geoseg.options import AnnotationOptions, BatchOptions, PrepareOptions, StrPath, as_path
from geoseg.progress import Track, silent


def prepare_scenes(
    scenes: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    annotations: StrPath,
    source: AnnotationOptions = AnnotationOptions(),
    options: PrepareOptions = PrepareOptions(),
    run: BatchOptions = BatchOptions(),
    track: Track = silent,
) -> Path:
    """Build a dataset from scenes and an annotation file.

    Parameters
    ----------
    scenes
        Raster files, or folders of them. By default up to 7 scenes are cut into about 16 blocks, and
        more stay whole; blocks that overlap on the ground get the same split.
    output
        Folder to write.
    annotations
        Vector file with a class column, or a file or folder of another format. Pixels outside all
        polygons are background.
    source
        Format of `annotations`.
    options
        Splits and classes. The default legend has the classes found.
    run
        Treatment of an existing dataset, of interrupted runs and of scenes with errors.
    track
        Progress of an iterable.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    SceneError, AnnotationError, DatasetError, ConfigError, OutputError
    SkippedInputsError
        After the dataset is complete, if scenes were skipped.
    """
    annotations = Path(annotations)
    read = find_reader(source.format)

    def gathered(gather: Run) -> list[Input]:
        images = gather.threads.run(
            look_at_image, _files(_listed(scenes)), "look at scenes", gather.report
        )
        gather.report.raise_rejected()
        asked = None if gather.renaming.path else gather.asked
        reading = ReaderOptions(source.class_column, source.layer, gather.asked, source.colours)
        found = read(annotations, images, reading, gather.report) if images else []
        drawn = {n: part for n, part in enumerate(found) if part is not None}
        if not drawn:
            return []
        legend = asked or _legend(annotations, list(drawn.values()))
        return [
            Input(_source(images[n].path, annotations), images[n], truth, legend)
            for n, part in drawn.items()
            for truth in [{OUTLINES: _annotations(annotations, part, legend)}]
        ]

    return make(Path(output), options, gathered, spatial=True, run=run, track=track)


def _listed(paths: StrPath | Sequence[StrPath]) -> list[Path]:
    return [Path(p) for p in ([paths] if isinstance(paths, str | PathLike) else paths)]


def _files(scenes: Sequence[Path]) -> list[Path]:
    """The scenes, and of folders the images in them."""
    found: list[Path] = []
    for scene in scenes:
        inside = sorted(scene.iterdir()) if scene.is_dir() else [scene]
        images = [p for p in inside if p == scene or p.suffix.lower() in SUFFIXES]
        if not images:
            raise DatasetError(f"{scene}: has no images. name scenes, or a folder of them")
        found += images
    return found


def _source(image: object, annotations: Path) -> Source:
    path = Path(str(image))
    return Source(path.stem, None, path, annotations)


def _legend(path: Path, parts: Sequence[NamedAnnotations]) -> Legend:
    if not any(map(len, parts)):
        raise AnnotationError(
            f"{path}: has no object on these scenes. if that is meant, name the classes by --legend"
        )
    try:
        return derive_legend(parts)
    except ValueError as fault:
        raise AnnotationError(f"{path}: {fault}. is it the column with the classes?") from fault


def _annotations(path: Path, part: NamedAnnotations, legend: Legend) -> Annotations:
    try:
        return part.to_annotations(legend)
    except ValueError as fault:
        raise unknown_class(path, fault) from fault


# A dataset folder as the source of another one.


def is_dataset(folder: Path) -> bool:
    """True for a folder that `geoseg prepare` has made."""
    return (folder / DESCRIPTION).is_file()


def find_prepared(folder: Path, splits: Sequence[str] | None) -> list[Callable[[], Input]]:
    """How to look at each scene of a dataset, those of `splits` or all. Raises DatasetError."""
    dataset = Dataset.open(folder)
    if splits and (absent := [name for name in splits if name not in dataset.splits]):
        raise DatasetError(
            f"{folder}: has no split {absent[0]!r}. there are: {', '.join(dataset.splits)}"
        )
    truths = {layer: dataset.annotations(layer) for layer in dataset.layers}

    def look(scene: DatasetScene) -> Input:
        image = dataset.path(scene)
        return Input(
            Source(scene.name, scene.split, image, folder / ANNOTATIONS),
            look_at_image(image),
            {layer: of_scene[scene.name] for layer, of_scene in truths.items()},
            dataset.legend,
            scene.pixel_size_m,
            scene.image_source,
        )

    chosen = [scene for scene in dataset.scenes if not splits or scene.split in splits]
    return [partial(look, scene) for scene in chosen]


# What DOTA folders and datasets hold, gathered from several of them.


def gathered(
    folders: Sequence[Path], splits: Sequence[str] | None, outlines: Path | None, run: Run
) -> list[Input]:
    """The scenes of all folders, with the layers that all have; names that two folders have are made to differ.

    Raises ConfigError, DatasetError, AnnotationError.
    """
    parts: dict[Path, list[Input]] = {}
    dota = [folder for folder in folders if not is_dataset(folder)]
    if outlines and not dota:
        raise ConfigError(f"{outlines}: outlines are for DOTA folders. leave out --outlines")
    if dota:
        parts |= _of_dota(dota, splits, outlines, run)
    for folder in folders:
        if folder not in parts:
            tasks = find_prepared(folder, splits)
            parts[folder] = run.threads.run(lambda f: f(), tasks, "read labels", run.report)
    ordered = {folder: parts[folder] for folder in dict.fromkeys(folders)}
    return _renamed(_with_common_layers(ordered, run.report), run.report)


def _of_dota(
    folders: Sequence[Path], splits: Sequence[str] | None, outlines: Path | None, run: Run
) -> dict[Path, list[Input]]:
    """The scenes of DOTA folders, in one legend."""
    legend = run.asked if run.asked and not run.renaming.path else None
    legend = legend or with_names(DOTA_V2, run.renaming.sources)
    found = {folder: find_sources(folder, splits, run.report) for folder in folders}
    sources = [source for some in found.values() for source in some]
    reading = partial(look, legend=legend, report=run.report)
    inputs = run.threads.run(reading, sources, "read labels", run.report)
    if outlines and inputs:
        names = [i.source.name for i in inputs]
        rows = read_outlines(outlines, legend, names, run.report)
        inputs = [
            replace(i, truths={**i.truths, OUTLINES: of_scene}, files={OUTLINES: outlines})
            for i, of_scene in zip(inputs, rows, strict=True)
        ]
    if not run.asked or run.renaming.path:
        inputs = _in_smallest(inputs, legend)
    home = {source.image: folder for folder, some in found.items() for source in some}
    return {f: [i for i in inputs if home[i.source.image] == f] for f in folders}


def _in_smallest(inputs: Sequence[Input], legend: Legend) -> list[Input]:
    """The same in the smallest legend that has their classes."""
    smallest = smallest_legend(legend, (truth for i in inputs for truth in i.truths.values()))
    table = np.array(
        [
            smallest.names.index(name) if name in smallest.names else BACKGROUND
            for name in legend.names
        ],
        np.uint8,
    )
    return [
        replace(
            i,
            legend=smallest,
            truths={
                layer: replace(objects, class_id=table[objects.class_id])
                for layer, objects in i.truths.items()
            },
        )
        for i in inputs
    ]


def _with_common_layers(
    parts: dict[Path, list[Input]], report: ValidationReport
) -> dict[Path, list[Input]]:
    layers = {folder: tuple(some[0].truths) for folder, some in parts.items() if some}
    common = [
        layer
        for layer in next(iter(layers.values()), ())
        if all(layer in there for there in layers.values())
    ]
    if layers and not common:
        told = ", ".join(f"{folder} has {' and '.join(there)}" for folder, there in layers.items())
        raise DatasetError(f"{told}: no truth that all have. prepare them apart")
    for folder, there in layers.items():
        for layer in set(there) - set(common):
            count = sum(len(i.truths[layer]) for i in parts[folder])
            report.add(IssueKind.PARTIAL_LAYER, folder, Action.LEFT_OUT, count=count, note=layer)
    return {
        folder: [replace(i, truths={layer: i.truths[layer] for layer in common}) for i in some]
        for folder, some in parts.items()
    }


def _renamed(parts: dict[Path, list[Input]], report: ValidationReport) -> list[Input]:
    """All inputs; a scene whose name another folder's has too gets that of its folder before it."""
    owners: dict[str, set[Path]] = {}
    for folder, some in parts.items():
        for i in some:
            owners.setdefault(i.source.name.casefold(), set()).add(folder)
    inputs = []
    for folder, some in parts.items():
        for i in some:
            if len(owners[i.source.name.casefold()]) > 1:
                name = f"{folder.resolve().name}-{i.source.name}"
                report.add(
                    IssueKind.NAME_CLASH,
                    i.source.image,
                    Action.REPAIRED,
                    scene=name,
                    note=f"now {name}",
                )
                inputs.append(replace(i, source=replace(i.source, name=name)))
            else:
                inputs.append(i)
    return inputs


# Make a dataset from DOTA folders and other datasets, or from scenes and what was drawn over them.


def prepare(
    folders: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    splits: Sequence[str] | None = None,
    outlines: StrPath | None = None,
    options: PrepareOptions = PrepareOptions(),
    run: BatchOptions = BatchOptions(),
    track: Track = silent,
) -> Path:
    """Build a dataset from DOTA folders and other datasets.

    Parameters
    ----------
    folders
        DOTA folders, with ``images/`` and ``labelTxt/`` or sub-folders per split that have them, and
        datasets, which are merged.
    output
        Folder to write.
    splits
        Sub-folders, or splits of datasets, to use. Default: all.
    outlines
        GeoParquet file of outlines for DOTA folders: columns image, category, and geometry in
        pixels.
    options
        Splits and classes. The default legend is the smallest of DOTA with all classes found, or
        the union of the datasets' classes by name.
    run
        Treatment of an existing dataset, of interrupted runs and of input with errors.
    track
        Progress of an iterable.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    SceneError, AnnotationError
        With a list of the inputs that have errors, unless ``run.skip_bad`` is set.
    DatasetError
        If a folder has neither layout.
    ConfigError
        For an unknown legend or class.
    OutputError
        If `output` cannot be written.
    SkippedInputsError
        After the dataset is complete, if inputs were skipped.

    Notes
    -----
    Scenes with a CRS keep their georeference and must share the CRS. Others are arranged side by
    side on a plane without a CRS, in metres where the GSD is known, else in pixels. All issues of
    the input are logged and written to ``report.json``.
    """
    gather = partial(gathered, _listed(folders), splits, as_path(outlines))
    return make(Path(output), options, gather, spatial=False, run=run, track=track)
