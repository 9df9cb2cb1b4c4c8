"""A dataset folder: tiled scenes, their annotations and what is known of both.

```
DATASET/dataset.json  annotations.gpkg  scenes/<name>.tif
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations.burn import OUTLINES, QUADS, Annotations
from geoseg.errors import AnnotationError, DatasetError
from geoseg.legend import Legend

FORMAT = "geoseg dataset 1"
DESCRIPTION = "dataset.json"
REPORT = "report.json"
ANNOTATIONS = "annotations.gpkg"
SCENES = "scenes"

DIGITS = 6
"""Of a pixel: what survives the way to map coordinates and back."""

_BATCH = 10_000  # features read at once: an outline of many corners takes several times its size on the way


@dataclass(frozen=True, slots=True)
class DatasetScene:
    """One scene of a dataset."""

    name: str

    file: str
    """Path of its GeoTIFF, relative to the dataset folder."""

    split: str
    width: int
    height: int

    pixel_size_m: float | None
    """Side of a pixel on the ground, if known."""

    image_source: str | None

    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f of the affine transform from pixels to map coordinates."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each class occurs."""

    objects: dict[str, int]
    """Class name → annotated objects; without background."""

    pixels: dict[str, int]
    """Class name → valid pixels, background included, difficult objects like any other."""


@dataclass(frozen=True, slots=True)
class ClassCounts(Counts):
    """Counts over a whole dataset, and split by split."""

    splits: dict[str, Counts]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset folder that was opened."""

    folder: Path
    legend: Legend
    scenes: tuple[DatasetScene, ...]

    layers: dict[str, ClassCounts]
    """The truths there are, ``quads`` and perhaps ``outlines``."""

    bands: int
    dtype: str

    crs: str | None
    """WKT of the map coordinates; None where they are local."""

    @staticmethod
    def open(folder: Path) -> Dataset:
        """Open a dataset. Raises DatasetError when `folder` is none, or not whole."""
        path = folder / DESCRIPTION
        if not path.is_file():
            raise DatasetError(
                f"{folder}: no dataset, it has no {DESCRIPTION}. make one with geoseg prepare"
            )
        try:
            dataset = _from_json(folder, json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise DatasetError(f"{path}: damaged ({fault!r}). run geoseg prepare again") from fault
        parts = [folder / ANNOTATIONS, *(dataset.path(scene) for scene in dataset.scenes)]
        if missing := [part for part in parts if not part.is_file()]:
            raise DatasetError(
                f"{missing[0]}: missing, with {len(missing) - 1} others. run geoseg prepare again"
            )
        return dataset

    @property
    def default_layer(self) -> str:
        """The best truth there is: outlines, else quads."""
        return OUTLINES if OUTLINES in self.layers else QUADS

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted({scene.split for scene in self.scenes}))

    def split(self, name: str) -> tuple[DatasetScene, ...]:
        """The scenes of one split. Raises DatasetError when there is none of that name."""
        scenes = tuple(scene for scene in self.scenes if scene.split == name)
        if not scenes:
            raise DatasetError(
                f"{self.folder}: has no split {name!r}. there are: {', '.join(self.splits)}"
            )
        return scenes

    def path(self, scene: DatasetScene) -> Path:
        """The GeoTIFF of a scene."""
        return self.folder / scene.file

    def annotations(
        self, layer: str | None = None, *, scenes: Sequence[DatasetScene] | None = None
    ) -> dict[str, Annotations]:
        """Annotations of every scene, or of these, by scene name, in pixels of the scene (to 1e-6 of a
        pixel).

        Raises DatasetError for a layer that is not there, AnnotationError for a feature that fits
        no scene or class.
        """
        layer = layer or self.default_layer
        if layer not in self.layers:
            raise DatasetError(
                f"{self.folder}: has no layer {layer!r}. there are: {', '.join(self.layers)}"
            )
        path = self.folder / ANNOTATIONS
        wanted = {scene.name for scene in (self.scenes if scenes is None else scenes)}
        number = {scene.name: n for n, scene in enumerate(self.scenes)}
        parts: dict[str, list[Annotations]] = {name: [] for name in number if name in wanted}
        for names, batch in _read_layer(path, layer, self.legend):
            if strangers := sorted(set(names) - number.keys()):
                raise AnnotationError(
                    f"{path}: layer {layer} names a scene {strangers[0]!r} that is not in the "
                    "dataset. correct its features"
                )
            here = [n for n, name in enumerate(names) if name in wanted]
            scene_of = np.array([number[names[n]] for n in here], int)
            objects = self._in_pixels(batch[here], scene_of)
            for of in np.unique(scene_of):
                parts[self.scenes[of].name].append(objects[scene_of == of])
        return {name: _joined(of) for name, of in parts.items()}

    def _in_pixels(self, annotations: Annotations, scene_of: NDArray[np.int_]) -> Annotations:
        """Annotations in map coordinates moved to pixels of the scenes of these numbers, in place."""
        to_pixels = np.array([(~Affine(*scene.transform))[:6] for scene in self.scenes])
        xy, of = shapely.get_coordinates(annotations.geometry, return_index=True)
        a, b, c, d, e, f = to_pixels[scene_of[of]].T
        x, y = xy.T
        xy = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1).round(DIGITS)
        shapely.set_coordinates(annotations.geometry, xy)
        return annotations


def describe(
    *,
    legend: Legend,
    scenes: Sequence[DatasetScene],
    layers: Mapping[str, ClassCounts],
    crs: str | None,
) -> dict[str, Any]:
    """What stands in dataset.json."""
    return {
        "format": FORMAT,
        "legend": legend.to_json(),
        "bands": 3,
        "dtype": "uint8",
        "crs": crs,
        "layers": {name: asdict(counts) for name, counts in layers.items()},
        "scenes": [asdict(scene) for scene in scenes],
    }


def is_plain_name(name: str) -> bool:
    """True for what can name a file or folder and lead nowhere else."""
    return name not in ("", "..") and Path(name).name == name


def _from_json(folder: Path, data: Any) -> Dataset:
    if data["format"] != FORMAT:
        raise ValueError(f"format is {data['format']!r}, need {FORMAT!r}")
    for scene in data[
        "scenes"
    ]:  # products are named after scene and split, and the file lies in the folder
        for name in (scene["name"], scene["split"], *scene["file"].split("/")):
            if not is_plain_name(name):
                raise ValueError(f"{name!r} cannot name a scene, its split or its file")
    return Dataset(
        folder=folder,
        legend=Legend.from_json(data["legend"]),
        scenes=tuple(
            DatasetScene(**{**scene, "transform": tuple(scene["transform"])})
            for scene in data["scenes"]
        ),
        layers={name: _counts(counts) for name, counts in data["layers"].items()},
        bands=int(data["bands"]),
        dtype=str(data["dtype"]),
        crs=data["crs"],
    )


def _counts(data: Any) -> ClassCounts:
    splits = {name: Counts(**counts) for name, counts in data["splits"].items()}
    return ClassCounts(data["objects"], data["pixels"], splits)


def _read_layer(path: Path, layer: str, legend: Legend) -> Iterator[tuple[list[str], Annotations]]:
    """Scene name and annotation of every feature, in map coordinates, some thousands at a time."""
    begin, whole = 0, True
    while whole:
        names, annotations = _read_features(path, layer, legend, begin)
        yield names, annotations
        begin, whole = begin + _BATCH, len(names) == _BATCH


def _read_features(
    path: Path, layer: str, legend: Legend, begin: int
) -> tuple[list[str], Annotations]:
    where = f"{path}: layer {layer}"
    try:
        meta, _, wkb, fields = pyogrio.raw.read(
            path,
            layer=layer,
            columns=["scene", "class", "difficult"],
            skip_features=begin,
            max_features=_BATCH,
        )
        columns = dict(zip(meta["fields"], fields, strict=True))
        names, classes, flags = columns["scene"], columns["class"], columns["difficult"]
    except (KeyError, RuntimeError, ValueError) as fault:
        raise AnnotationError(
            f"{where} cannot be read ({fault}). run geoseg prepare again"
        ) from fault
    geometry: NDArray[np.object_] = shapely.from_wkb(wkb)
    if not np.isin(shapely.get_type_id(geometry), (3, 6)).all():
        raise AnnotationError(f"{where} has a feature that is not a polygon. remove it")
    single = shapely.get_num_geometries(geometry) == 1
    geometry[single] = shapely.get_geometry(geometry[single], 0)
    try:
        ids = {name: legend.label_of(str(name)) for name in set(classes)}
    except ValueError as fault:
        raise AnnotationError(f"{where}: {fault}. correct its features") from fault
    class_id = np.array([ids[name] for name in classes], np.uint8)
    difficult = np.array(flags == 1, bool)  # None, of a feature drawn in a GIS, is no
    return [str(name) for name in names], Annotations(geometry, class_id, difficult)


def _joined(parts: Sequence[Annotations]) -> Annotations:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*((p.geometry, p.class_id, p.difficult) for p in parts), strict=True)
    return Annotations(*map(np.concatenate, columns)) if parts else Annotations.empty()
