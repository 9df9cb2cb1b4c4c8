"""Labels of a dataset's scenes, one scene at a time: made by a model when they are asked for, or on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.errors import DatasetError, SceneError
from geoseg.files import check_output, replacing
from geoseg.heap import ask_for_huge_pages
from geoseg.inference.plan import Job, Planner
from geoseg.inference.predictor import Decided, Predictor
from geoseg.inference.run import label
from geoseg.legend import Legend
from geoseg.models.model_file import load_model
from geoseg.models.runtime import choose_device
from geoseg.polygons.styles import raster_colormap
from geoseg.raster.cog import Resampling, working_raster, write_cog
from geoseg.raster.labels import (
    LEGEND_TAG,
    Confidence,
    Labels,
    legend_tags,
    open_confidence,
    open_labels,
    read_legend,
)

_SUFFIXES = (".tif", ".tiff", ".png")
_CONFIDENCE = ".confidence.tif"
_OVERVIEWS: Sequence[Resampling] = ("mode", "average")

Opened = tuple[Labels, Confidence | None]


class Labelled(Protocol):
    """Where labels come from."""

    path: Path
    """The model, or the folder of the labels."""

    def open(self, scene: DatasetScene) -> AbstractContextManager[Opened]:
        """Labels of a scene, on its grid, and their confidence where it is known."""
        ...


class ByModel:
    """A model labels a scene into a working raster, which is there as long as it is used; scenes are cut as
    `segment` cuts them, within the same memory.

    With `keep`, a folder, labels and confidence also stay there, as ``OnDisk`` finds them. Raises
    ModelError, DatasetError when the classes are others, OutputError.
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
        ask_for_huge_pages()  # before the first tensor
        self.model = load_model(model)
        self.path = self.model.path
        _check_legend(self.model.card.legend, dataset, self.path.name)
        card = self.model.card
        job = Job(bands=card.bands, dtype=card.dtype, device=choose_device(device))
        self._planner = Planner(self.model, job, gsd="none")  # truth is known of these pixels
        self._predictor = Predictor(self.model, job.device)

    @contextmanager
    def open(self, scene: DatasetScene) -> Iterator[Opened]:
        """Raises SceneError where the scene is damaged."""
        with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
            made = Path(folder, "labels.tif"), Path(folder, "confidence.tif")
            self._label(self._dataset.path(scene), *made)
            if self._keep:
                kept = _kept(self._keep, scene)
                for path, cog, overviews in zip(made, kept, _OVERVIEWS, strict=True):
                    with replacing(cog, overwrite=self._overwrite) as scratch:
                        write_cog(path, scratch, overviews=overviews)
            with open_labels(made[0]) as labels, open_confidence(made[1], labels) as confidence:
                yield labels, confidence

    def _label(self, scene: Path, labels_to: Path, confidence_to: Path) -> None:
        plan = self._planner.plan((scene,))
        legend = self.model.card.legend
        tags, colours = legend_tags(legend), raster_colormap(legend)
        with (
            working_raster(labels_to, plan.info, tags=tags, colormap=colours) as labels,
            working_raster(confidence_to, plan.info) as confidence,
        ):

            def write(decided: Decided | None) -> None:
                if decided is not None:
                    labels.write(decided.labels, 1, window=decided.place)
                    confidence.write(decided.confidence, 1, window=decided.place)

            for _ in label(plan.job, plan.cells, write, predictor=self._predictor):
                pass


class OnDisk:
    """Label rasters in a folder, ``<scene>.tif``, ``.tiff`` or ``.png``, made by anything; beside them perhaps
    ``<scene>.confidence.tif``.

    Raises DatasetError when a scene has none.
    """

    def __init__(self, dataset: Dataset, folder: Path, scenes: Sequence[DatasetScene]) -> None:
        self._dataset = dataset
        self.path = folder
        if not folder.is_dir():
            raise DatasetError(
                f"{folder}: is no folder. name one that holds a label raster for each scene"
            )
        self._file = {scene.name: _labels_of(scene, folder) for scene in scenes}
        if missing := [name for name, file in self._file.items() if file is None]:
            raise DatasetError(
                f"{folder}: has no {missing[0]}.tif or .png, labels of {len(missing)} of {len(scenes)} "
                "scenes are missing. add them, or choose another --split"
            )

    @contextmanager
    def open(self, scene: DatasetScene) -> Iterator[Opened]:
        """Raises SceneError where the labels are not on the grid of the scene, DatasetError when they say that
        they have other classes."""
        file = self._file[scene.name]
        assert file is not None
        with open_labels(file) as labels:
            rows, columns = labels.shape
            if (rows, columns) != (scene.height, scene.width):
                raise SceneError(
                    f"{file}: is {columns} x {rows} pixels, its scene is {scene.width} x {scene.height}. "
                    "labels have a value for each pixel of the scene"
                )
            if LEGEND_TAG in labels.dataset.tags():
                _check_legend(read_legend(labels), self._dataset, str(file))
            sureness = file.with_name(f"{scene.name}{_CONFIDENCE}")
            if not sureness.is_file():
                yield labels, None
                return
            with open_confidence(sureness, labels) as confidence:
                yield labels, confidence


def check_keep(folder: Path, scenes: Sequence[DatasetScene], *, overwrite: bool) -> None:
    """Raise OutputError now if labels of `scenes` could not be kept in `folder` later; it is made if its
    parent exists."""
    if not folder.is_dir():
        check_output(folder)
        folder.mkdir()
    for scene in scenes:
        for path in _kept(folder, scene):
            check_output(path, overwrite=overwrite)


def _kept(folder: Path, scene: DatasetScene) -> tuple[Path, Path]:
    return folder / f"{scene.name}.tif", folder / f"{scene.name}{_CONFIDENCE}"


def _labels_of(scene: DatasetScene, folder: Path) -> Path | None:
    files = (folder / f"{scene.name}{suffix}" for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _check_legend(legend: Legend, dataset: Dataset, whose: str) -> None:
    if legend.names != dataset.legend.names:
        raise DatasetError(
            f"{dataset.folder}: its classes are not those of {whose}. prepare it with "
            f"--legend, or use a model trained on {', '.join(dataset.legend.names)}"
        )
