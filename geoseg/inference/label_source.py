"""Labels of the scenes of a dataset: predicted by a model, or read from a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from rasterio.windows import Window

from geoseg.dataset.folder import Dataset, DatasetScene, group_by_file
from geoseg.errors import DatasetError, SceneError
from geoseg.files import check_output, replacing
from geoseg.inference.memory import memory_limit
from geoseg.inference.plan import PlanSettings, plan_scene
from geoseg.inference.predictor import ModelSpec, create_predictor
from geoseg.inference.reader import open_scenes
from geoseg.inference.run import CONFIDENCE, INTERIOR, LABELS, predict_rasters
from geoseg.inference.value_check import warn_of_dataset_values
from geoseg.legend import Legend
from geoseg.models.model_file import ModelCard, load_model
from geoseg.models.runtime import choose_device
from geoseg.options import SceneOptions
from geoseg.raster.bands import describe_bands
from geoseg.raster.cog import Resampling, write_cog
from geoseg.raster.labels import (
    LEGEND_TAG,
    ConfidenceFile,
    LabelFile,
    open_confidence,
    open_labels,
    read_legend,
)
from geoseg.raster.scene import open_scene

_SUFFIXES = (".tif", ".tiff", ".png")
_PLANES: Mapping[str, tuple[str, Resampling]] = {
    LABELS: (".tif", "mode"),
    CONFIDENCE: (".confidence.tif", "average"),
    INTERIOR: (".interior.tif", "average"),
}
"""Suffix of the file of a scene, and resampling of its overviews, by kind of raster."""

_CONTEXT = 256  # pixels around a block in which objects that its border cuts are predicted too


@dataclass(frozen=True, slots=True)
class SceneLabels:
    """Open rasters of scenes of one file, on their grid."""

    windows: tuple[Window, ...]
    """Window of each scene in the rasters, which may have pixels around it too."""

    labels: LabelFile

    confidence: ConfidenceFile | None

    interior: ConfidenceFile | None
    """Interior of objects; None without object outputs."""


class LabelSource(Protocol):
    """Provides labels of the scenes of a dataset, one file at a time."""

    path: Path
    """Model file, or folder of label rasters."""

    has_interior: bool
    """True if every scene has the interior of objects."""

    def group(self, scenes: Sequence[DatasetScene]) -> list[list[DatasetScene]]:
        """Group scenes that are opened together."""
        ...

    def open(self, *scenes: DatasetScene) -> AbstractContextManager[SceneLabels]:
        """Open labels of the scenes of a group, and their confidence and interior of objects where there are any."""
        ...


class PredictedLabels:
    """Labels that a model predicts when they are opened, as `segment` does, in the same memory.

    Blocks of a file are predicted by the tiles of the whole file, so their labels are those of the file. Tiles further
    than 256 pixels from all blocks are left out.

    Parameters
    ----------
    dataset
        The dataset; its classes must be those of the model.
    model
        Model file; None: the shipped model.
    device
        Device of the network.
    objects
        Also predict the interior of objects, if the model has object outputs.
    keep
        Folder for rasters that `StoredLabels` reads; None: temporary files.
    overwrite
        Replace rasters in `keep`.

    Raises
    ------
    ModelError
        If the model cannot be opened.
    DatasetError
        If classes, bands or data type differ.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: Path | None = None,
        *,
        device: str = "auto",
        objects: bool = True,
        keep: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self._dataset, self._keep, self._overwrite = dataset, keep, overwrite
        self.model = load_model(model)
        self.path = self.model.path
        _check_legend(self.model.card.legend, dataset, self.path.name)
        _check_bands(self.model.card, dataset, self.path.name)
        self.has_interior = objects and self.model.card.objects is not None
        spec = ModelSpec(model, device=choose_device(device), objects=self.has_interior)
        # annotations are on the pixels of the scene: no resampling
        self._settings = PlanSettings(
            self.model, spec, SceneOptions(gsd="none"), memory=memory_limit(spec.device)
        )
        self._predictor = create_predictor(spec, self.model)

    def group(self, scenes: Sequence[DatasetScene]) -> list[list[DatasetScene]]:
        """Group the scenes of a file."""
        return group_by_file(scenes)

    @contextmanager
    def open(self, *scenes: DatasetScene) -> Iterator[SceneLabels]:
        """Predict and open scenes of one file; raises SceneError if it is damaged."""
        with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
            rasters = self._predict(scenes, Path(folder))
            if self._keep:
                kept = _kept_paths(self._keep, scenes[0])
                if INTERIOR not in rasters:  # of another model
                    kept[INTERIOR].unlink(missing_ok=True)
                for kind, path in rasters.items():
                    with replacing(kept[kind], overwrite=self._overwrite) as scratch:
                        write_cog(path, scratch, overviews=_PLANES[kind][1])
            with _open_rasters(rasters, scenes) as opened:
                yield opened

    def _predict(self, scenes: Sequence[DatasetScene], folder: Path) -> dict[str, Path]:
        file = self._dataset.path(scenes[0])
        with open_scenes([file]) as opened:
            plan = plan_scene(self._settings, (file,), opened)
            tiles = [tile for tile in plan.tiles if _is_near(tile.core, scenes)]
            plan = replace(plan, tiles=tiles)
            reader = opened.reader(plan.scene)
            return predict_rasters(plan, reader, self._predictor, folder, self.model.card)


class StoredLabels:
    """Label rasters of any origin in a folder: ``<scene>.tif``, ``.tiff`` or ``.png``, optionally with
    ``<scene>.confidence.tif`` and ``<scene>.interior.tif``.

    For blocks of a file, a raster of the whole file, which has its name, is used if the block has none.

    Raises
    ------
    DatasetError
        If a scene has no labels.
    """

    def __init__(self, dataset: Dataset, folder: Path, scenes: Sequence[DatasetScene]) -> None:
        self._dataset = dataset
        self.path = folder
        if not folder.is_dir():
            raise DatasetError(
                f"{folder}: not a folder. Name a folder with a label raster for each scene"
            )
        files = {scene.name: _find_labels(scene, folder) for scene in scenes}
        if missing := [name for name, file in files.items() if file is None]:
            raise DatasetError(
                f"{folder}: has no {missing[0]}.tif or .png; labels of {len(missing)} of {len(scenes)} "
                "scenes are missing. Add them, or choose another --split"
            )
        self._files = {name: file for name, file in files.items() if file is not None}
        interiors = (
            file.with_name(file.stem + _PLANES[INTERIOR][0]) for file in self._files.values()
        )
        self.has_interior = all(file.is_file() for file in interiors)

    def group(self, scenes: Sequence[DatasetScene]) -> list[list[DatasetScene]]:
        """Group the scenes of a label raster."""
        groups: dict[Path, list[DatasetScene]] = {}
        for scene in scenes:
            groups.setdefault(self._files[scene.name], []).append(scene)
        return list(groups.values())

    @contextmanager
    def open(self, *scenes: DatasetScene) -> Iterator[SceneLabels]:
        """Open the labels of scenes of one raster.

        Raises
        ------
        SceneError
            If they are not on the grid of the scene.
        DatasetError
            If their legend has other classes.
        """
        file = self._files[scenes[0].name]
        paths = {kind: file.with_name(file.stem + suffix) for kind, (suffix, _) in _PLANES.items()}
        with _open_rasters({**paths, LABELS: file}, scenes) as opened:
            height, width = opened.labels.shape
            is_scene = len(scenes) == 1 and (width, height) == (scenes[0].width, scenes[0].height)
            if not is_scene:
                self._check_size(opened.labels, scenes[0])
            if LEGEND_TAG in opened.labels.dataset.tags():
                _check_legend(read_legend(opened.labels), self._dataset, str(file))
            yield replace(opened, windows=(Window(0, 0, width, height),)) if is_scene else opened

    def _check_size(self, labels: LabelFile, scene: DatasetScene) -> None:
        """Raise SceneError if labels have neither the size of a scene nor, for blocks, of the file."""
        width, height = scene.width, scene.height
        if scene.window is not None:
            with open_scene(self._dataset.path(scene)) as file:
                width, height = file.info.width, file.info.height
        rows, columns = labels.shape
        if (rows, columns) != (height, width):
            raise SceneError(
                f"{labels.path}: {columns} x {rows} pixels, but its scene is {width} x "
                f"{height}. Write labels on the grid of the scene"
            )


@contextmanager
def _open_rasters(
    paths: Mapping[str, Path], scenes: Sequence[DatasetScene]
) -> Iterator[SceneLabels]:
    """Open the rasters of scenes by kind; those besides the labels may be missing."""
    with ExitStack() as stack:
        labels = stack.enter_context(open_labels(paths[LABELS]))
        confidence, interior = (
            stack.enter_context(open_confidence(paths[kind], labels, kind))
            if kind in paths and paths[kind].is_file()
            else None
            for kind in (CONFIDENCE, INTERIOR)
        )
        rows, columns = labels.shape
        windows = tuple(Window(*(scene.window or (0, 0, columns, rows))) for scene in scenes)
        yield SceneLabels(windows, labels, confidence, interior)


def _is_near(core: Window, scenes: Sequence[DatasetScene]) -> bool:
    """Return True if a tile is to be predicted for one of the scenes of its file."""
    return any(
        scene.window is None
        or (
            core.col_off < scene.window[0] + scene.width + _CONTEXT
            and core.col_off + core.width > scene.window[0] - _CONTEXT
            and core.row_off < scene.window[1] + scene.height + _CONTEXT
            and core.row_off + core.height > scene.window[1] - _CONTEXT
        )
        for scene in scenes
    )


def check_keep_folder(folder: Path, scenes: Sequence[DatasetScene], *, overwrite: bool) -> None:
    """Raise OutputError now if labels of `scenes` could not be written to `folder` later.

    The folder is created if its parent exists.
    """
    if not folder.is_dir():
        check_output(folder)
        folder.mkdir()
    for scene in scenes:
        for path in _kept_paths(folder, scene).values():
            check_output(path, overwrite=overwrite)


def _kept_paths(folder: Path, scene: DatasetScene) -> dict[str, Path]:
    """Return the paths of the rasters of a scene, or of the whole file of a block, by kind."""
    name = scene.name if scene.window is None else Path(scene.file).stem
    return {kind: folder / f"{name}{suffix}" for kind, (suffix, _) in _PLANES.items()}


def _find_labels(scene: DatasetScene, folder: Path) -> Path | None:
    names = [scene.name, Path(scene.file).stem] if scene.window else [scene.name]
    files = (folder / f"{name}{suffix}" for name in names for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _check_legend(legend: Legend, dataset: Dataset, owner: str) -> None:
    if legend.names != dataset.legend.names:
        raise DatasetError(
            f"{dataset.folder}: its classes differ from those of {owner}. Prepare it with "
            f"--legend, or use a model trained on {', '.join(dataset.legend.names)}"
        )


def _check_bands(card: ModelCard, dataset: Dataset, owner: str) -> None:
    """Raise DatasetError if a model cannot read a dataset, and warn if the values differ."""
    named = all(card.band_names) and set(card.band_names) <= set(dataset.band_names)
    if dataset.dtype != card.dtype or not (named or dataset.bands == card.bands):
        theirs = describe_bands(dataset.band_names, dataset.dtype)
        needed = describe_bands(card.band_names or ("",) * card.bands, card.dtype)
        raise DatasetError(
            f"{dataset.folder}: has {theirs}, {owner} needs {needed}. Prepare it with --bands, or use "
            "another model"
        )
    if dataset.band_names == card.band_names:
        warn_of_dataset_values(str(dataset.folder), dataset.statistics, card)
