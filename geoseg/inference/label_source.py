"""Labels of the scenes of a dataset: predicted by a model, or read from a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from rasterio.io import DatasetWriter

from geoseg.concurrency import map_buffered
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.errors import DatasetError, SceneError
from geoseg.files import check_output, replacing
from geoseg.inference.memory import memory_limit
from geoseg.inference.plan import PlanSettings, plan_scene
from geoseg.inference.predictor import ModelSpec, Prediction, create_predictor
from geoseg.inference.reader import open_scenes
from geoseg.inference.run import predict_locally, single_thread
from geoseg.legend import Legend
from geoseg.models.model_file import load_model
from geoseg.models.runtime import choose_device
from geoseg.options import SceneOptions
from geoseg.polygons.styles import raster_colormap
from geoseg.raster.cog import Resampling, create_working_raster, write_cog
from geoseg.raster.labels import (
    LEGEND_TAG,
    ConfidenceFile,
    LabelFile,
    legend_tags,
    open_confidence,
    open_labels,
    read_legend,
)

_SUFFIXES = (".tif", ".tiff", ".png")
_CONFIDENCE_SUFFIX = ".confidence.tif"
_OVERVIEWS: Sequence[Resampling] = ("mode", "average")

LabelsAndConfidence = tuple[LabelFile, ConfidenceFile | None]


class LabelSource(Protocol):
    """Provides labels of the scenes of a dataset, one scene at a time."""

    path: Path
    """Model file, or folder of label rasters."""

    def open(self, scene: DatasetScene) -> AbstractContextManager[LabelsAndConfidence]:
        """Open labels of a scene, on its grid, and their confidence if there is one."""
        ...


class PredictedLabels:
    """Labels that a model predicts when they are opened, as `segment` does, in the same memory.

    Parameters
    ----------
    dataset
        The dataset; its classes must be those of the model.
    model
        Model file; None: the shipped model.
    device
        Device of the network.
    keep
        Folder for label and confidence rasters that `StoredLabels` reads; None: temporary files.
    overwrite
        Replace rasters in `keep`.

    Raises
    ------
    ModelError
        If the model cannot be opened.
    DatasetError
        If the classes differ.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: Path | None = None,
        *,
        device: str = "auto",
        keep: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self._dataset, self._keep, self._overwrite = dataset, keep, overwrite
        self.model = load_model(model)
        self.path = self.model.path
        _check_legend(self.model.card.legend, dataset, self.path.name)
        spec = ModelSpec(model, device=choose_device(device))
        # annotations are on the pixels of the scene: no resampling
        self._settings = PlanSettings(
            self.model, spec, SceneOptions(gsd="none"), memory=memory_limit(spec.device)
        )
        self._predictor = create_predictor(spec, self.model)

    @contextmanager
    def open(self, scene: DatasetScene) -> Iterator[LabelsAndConfidence]:
        """Predict and open a scene; raises SceneError if it is damaged."""
        with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
            rasters = self._predict(self._dataset.path(scene), Path(folder))
            if self._keep:
                kept = _kept_paths(self._keep, scene)
                for path, cog, overviews in zip(rasters, kept, _OVERVIEWS, strict=True):
                    with replacing(cog, overwrite=self._overwrite) as scratch:
                        write_cog(path, scratch, overviews=overviews)
            with (
                open_labels(rasters[0]) as labels,
                open_confidence(rasters[1], labels) as confidence,
            ):
                yield labels, confidence

    def _predict(self, scene: Path, folder: Path) -> tuple[Path, Path]:
        paths = folder / "labels.tif", folder / "confidence.tif"
        legend = self.model.card.legend
        tags, colormap = legend_tags(legend), raster_colormap(legend)
        with open_scenes([scene]) as scenes:
            plan = plan_scene(self._settings, (scene,), scenes)
            reader = scenes.reader(plan.scene)
            with (
                create_working_raster(paths[0], plan.info, tags=tags, colormap=colormap) as labels,
                create_working_raster(paths[1], plan.info) as confidence,
                single_thread() as writer,
                predict_locally(reader, self._predictor, plan.tiles) as predictions,
            ):
                write = partial(_write_prediction, labels, confidence)
                for _ in map_buffered(writer, write, predictions):
                    pass
        return paths


class StoredLabels:
    """Label rasters of any origin in a folder: ``<scene>.tif``, ``.tiff`` or ``.png``, optionally with
    ``<scene>.confidence.tif``.

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

    @contextmanager
    def open(self, scene: DatasetScene) -> Iterator[LabelsAndConfidence]:
        """Open the labels of a scene.

        Raises
        ------
        SceneError
            If they are not on the grid of the scene.
        DatasetError
            If their legend has other classes.
        """
        file = self._files[scene.name]
        with open_labels(file) as labels:
            rows, columns = labels.shape
            if (rows, columns) != (scene.height, scene.width):
                raise SceneError(
                    f"{file}: {columns} x {rows} pixels, but its scene is {scene.width} x "
                    f"{scene.height}. Write labels on the grid of the scene"
                )
            if LEGEND_TAG in labels.dataset.tags():
                _check_legend(read_legend(labels), self._dataset, str(file))
            confidence_file = file.with_name(f"{scene.name}{_CONFIDENCE_SUFFIX}")
            if not confidence_file.is_file():
                yield labels, None
                return
            with open_confidence(confidence_file, labels) as confidence:
                yield labels, confidence


def _write_prediction(
    labels: DatasetWriter, confidence: DatasetWriter, prediction: Prediction | None
) -> None:
    if prediction is not None:
        labels.write(prediction.labels, 1, window=prediction.window)
        confidence.write(prediction.confidence, 1, window=prediction.window)


def check_keep_folder(folder: Path, scenes: Sequence[DatasetScene], *, overwrite: bool) -> None:
    """Raise OutputError now if labels of `scenes` could not be written to `folder` later.

    The folder is created if its parent exists.
    """
    if not folder.is_dir():
        check_output(folder)
        folder.mkdir()
    for scene in scenes:
        for path in _kept_paths(folder, scene):
            check_output(path, overwrite=overwrite)


def _kept_paths(folder: Path, scene: DatasetScene) -> tuple[Path, Path]:
    return folder / f"{scene.name}.tif", folder / f"{scene.name}{_CONFIDENCE_SUFFIX}"


def _find_labels(scene: DatasetScene, folder: Path) -> Path | None:
    files = (folder / f"{scene.name}{suffix}" for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _check_legend(legend: Legend, dataset: Dataset, owner: str) -> None:
    if legend.names != dataset.legend.names:
        raise DatasetError(
            f"{dataset.folder}: its classes differ from those of {owner}. Prepare it with "
            f"--legend, or use a model trained on {', '.join(dataset.legend.names)}"
        )
