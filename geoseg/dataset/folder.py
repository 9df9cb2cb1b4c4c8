"""Dataset folder: tiled scenes, their annotations and a description, read and written.

```
DATASET/dataset.json  annotations.gpkg  scenes/<name>.tif
```
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import OUTLINES, QUADS, Annotations, transform_geometry
from geoseg.errors import AnnotationError, DatasetError, OutputError
from geoseg.files import write_json
from geoseg.legend import Legend
from geoseg.polygons.styles import area_style_qml
from geoseg.polygons.table import GEOMETRY
from geoseg.polygons.writers.gpkg import add_layer_style, store_style
from geoseg.raster.bands import RGB, BandStatistics, default_band_names
from geoseg.raster.scene import Scene, open_scene

FORMAT = "geoseg dataset 1"
DESCRIPTION = "dataset.json"
REPORT = "report.json"
ANNOTATIONS = "annotations.gpkg"
SCENES = "scenes"

AREA = "annotated_area"
"""Layer of annotations.gpkg with the annotated area of each scene."""

DIGITS = 6
"""Decimals of a pixel coordinate that survive the conversion to map coordinates and back."""

_BATCH = 10_000  # features read at once: reading takes several times the memory of an outline


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
    """Side of a pixel on the ground; None if unknown."""

    image_source: str | None

    transform: tuple[float, float, float, float, float, float]
    """Coefficients a, b, c, d, e, f of the affine transform from pixels to map coordinates."""

    window: tuple[int, int, int, int] | None = None
    """Left, top, width and height of the scene in pixels of its file, of which it is a block; None: the whole file."""

    @property
    def corner(self) -> tuple[int, int]:
        """Column and row of the upper left pixel in the file."""
        return self.window[:2] if self.window else (0, 0)


@dataclass(frozen=True, slots=True)
class Counts:
    """Objects and pixels of each class."""

    objects: dict[str, int]
    """Annotated objects by class name, without background."""

    pixels: dict[str, int]
    """Valid pixels by class name, with background; difficult objects are counted as any other."""


@dataclass(frozen=True, slots=True)
class ClassCounts(Counts):
    """Counts of a whole dataset and of each split."""

    splits: dict[str, Counts]


@dataclass(frozen=True, slots=True)
class Dataset:
    """An open dataset folder."""

    folder: Path
    legend: Legend
    scenes: tuple[DatasetScene, ...]

    layers: dict[str, ClassCounts]
    """Annotation layers: ``quads``, ``outlines`` or both."""

    bands: int
    dtype: str

    crs: str | None
    """CRS of the map coordinates as WKT; None without."""

    local_coordinates: bool = False
    """True if the scenes have no CRS but transforms of their own, in one local coordinate system; without a CRS and
    without this, they are laid out side by side."""

    annotated_area: bool = False
    """True if only an area of the scenes is annotated: the layer ``annotated_area`` of annotations.gpkg."""

    band_names: tuple[str, ...] = ()
    """Name of each band in lower case, such as ``red``; empty if unknown."""

    statistics: tuple[BandStatistics, ...] = ()
    """Values of each band over the valid pixels of the scenes of split ``train``, or of all without one; none in
    datasets of earlier versions."""

    @staticmethod
    def open(folder: str | PathLike[str]) -> Dataset:
        """Open a dataset. Raises DatasetError if `folder` is not a dataset, or incomplete."""
        folder = Path(folder)
        path = folder / DESCRIPTION
        if not path.is_file():
            raise DatasetError(
                f"{folder}: not a dataset, no {DESCRIPTION}. Build one with geoseg prepare"
            )
        try:
            dataset = _from_json(folder, json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"{path}: damaged ({error!r}). Run geoseg prepare again") from error
        parts = [folder / ANNOTATIONS, *(dataset.path(scene) for scene in dataset.scenes)]
        if missing := [part for part in parts if not part.is_file()]:
            raise DatasetError(
                f"{missing[0]}: missing, with {len(missing) - 1} others. Run geoseg prepare again"
            )
        return dataset

    @property
    def default_layer(self) -> str:
        """Outlines, if the dataset has them, else quads."""
        return OUTLINES if OUTLINES in self.layers else QUADS

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted({scene.split for scene in self.scenes}))

    def split(self, name: str) -> tuple[DatasetScene, ...]:
        """Return the scenes of a split. Raises DatasetError for an unknown split."""
        scenes = tuple(scene for scene in self.scenes if scene.split == name)
        if not scenes:
            raise DatasetError(f"{self.folder}: no split {name!r}. Use {', '.join(self.splits)}")
        return scenes

    def path(self, scene: DatasetScene) -> Path:
        """Return the path of the GeoTIFF of a scene, which may have other scenes too: `open_scene` reads one alone."""
        return self.folder / scene.file

    @contextmanager
    def open_scene(self, scene: DatasetScene) -> Iterator[Scene]:
        """Open the pixels of a scene, without those around it in its file. Raises SceneError."""
        with open_scene(self.path(scene), bands=self.bands, dtype=self.dtype) as opened:
            yield opened.crop(Window(*scene.window)) if scene.window else opened

    def annotations(
        self, layer: str | None = None, *, scenes: Sequence[DatasetScene] | None = None
    ) -> dict[str, Annotations]:
        """Read annotations of scenes.

        Parameters
        ----------
        layer
            Annotation layer; by default `default_layer`.
        scenes
            Scenes of this dataset; by default all.

        Returns
        -------
        dict
            Annotations by scene name, in pixels of the scene, rounded to 1e-6 of a pixel, with the annotated area.

        Raises
        ------
        DatasetError
            If the dataset has no such layer.
        AnnotationError
            If a feature has an unknown scene or class.
        """
        layer = layer or self.default_layer
        if layer not in self.layers:
            raise DatasetError(f"{self.folder}: no layer {layer!r}. Use {', '.join(self.layers)}")
        path = self.folder / ANNOTATIONS
        wanted = {scene.name for scene in (self.scenes if scenes is None else scenes)}
        number = {scene.name: n for n, scene in enumerate(self.scenes)}
        parts: dict[str, list[Annotations]] = {name: [] for name in number if name in wanted}
        for names, batch in _read_layer(path, layer, self.legend):
            if unknown := sorted(set(names) - number.keys()):
                raise AnnotationError(
                    f"{path}: layer {layer} has the unknown scene {unknown[0]!r}. Correct its "
                    "features"
                )
            here = [n for n, name in enumerate(names) if name in wanted]
            scene_of = np.array([number[names[n]] for n in here], int)
            objects = self._to_pixels(batch[here], scene_of)
            for of in np.unique(scene_of):
                parts[self.scenes[of].name].append(objects[scene_of == of])
        joined = {name: _joined(of) for name, of in parts.items()}
        if not self.annotated_area:
            return joined
        areas = self._read_areas(wanted)
        return {name: replace(of, area=areas[name]) for name, of in joined.items()}

    def _read_areas(self, wanted: Collection[str]) -> dict[str, shapely.Geometry]:
        """Read the annotated area of scenes by name, in pixels of the scene; empty without a feature."""
        path, scenes = self.folder / ANNOTATIONS, {s.name: s for s in self.scenes}
        try:
            _, _, wkb, (names,) = pyogrio.raw.read(path, layer=AREA, columns=["scene"])
        except (RuntimeError, ValueError) as error:
            raise AnnotationError(
                f"{path}: layer {AREA} cannot be read ({error}). Run geoseg prepare again"
            ) from error
        geometry = shapely.make_valid(shapely.from_wkb(wkb))
        areas = {}
        for name in wanted:
            area = shapely.union_all(geometry[names == name])
            to_pixels = ~Affine(*scenes[name].transform)
            (moved,) = transform_geometry(np.array([area], object), to_pixels)
            areas[name] = shapely.transform(moved, lambda xy: xy.round(DIGITS))
        return areas

    def _to_pixels(self, annotations: Annotations, scene_of: NDArray[np.int_]) -> Annotations:
        """Transform annotations from map coordinates to pixels of their scenes, in place."""
        to_pixels = np.array([(~Affine(*scene.transform))[:6] for scene in self.scenes])
        xy, of = shapely.get_coordinates(annotations.geometry, return_index=True)
        a, b, c, d, e, f = to_pixels[scene_of[of]].T
        x, y = xy.T
        xy = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1).round(DIGITS)
        shapely.set_coordinates(annotations.geometry, xy)
        return annotations


def write_description(
    folder: Path,
    *,
    legend: Legend,
    scenes: Sequence[DatasetScene],
    layers: Mapping[str, ClassCounts],
    crs: str | None,
    local_coordinates: bool = False,
    annotated_area: bool = False,
    dtype: str = "uint8",
    band_names: Sequence[str] = RGB,
    statistics: Sequence[BandStatistics] = (),
) -> None:
    """Write dataset.json. The arguments are the fields of `Dataset`."""
    description: dict[str, Any] = {
        "format": FORMAT,
        "legend": legend.to_json(),
        "bands": len(band_names),
        "dtype": dtype,
        "band_names": list(band_names),
        "statistics": [band.to_json() for band in statistics],
        "crs": crs,
        "layers": {name: asdict(counts) for name, counts in layers.items()},
        "scenes": [_to_json(scene) for scene in scenes],
    }
    if local_coordinates:
        description["local_coordinates"] = True
    if annotated_area:
        description["annotated_area"] = True
    write_json(folder / DESCRIPTION, description)


def _to_json(scene: DatasetScene) -> dict[str, Any]:
    data = asdict(scene)
    if scene.window is None:
        del data["window"]
    return data


def write_annotations(
    folder: Path,
    scenes: Sequence[DatasetScene],
    layers: Mapping[str, Sequence[Annotations]],
    legend: Legend,
    crs: str | None,
) -> None:
    """Write annotations.gpkg with a layer per annotation layer, in the legend's colours.

    Parameters
    ----------
    folder
        Dataset folder.
    scenes
        Scenes of the dataset.
    layers
        By layer, the annotations of each scene in its pixels. They are written in map coordinates.
    legend
        Classes of the annotations.
    crs
        CRS as WKT, or None.
    """
    path = folder / ANNOTATIONS
    for layer, parts in layers.items():
        table = _build_table(scenes, parts, legend, crs)
        simple = bool((table.geom_type == "Polygon").all())
        _write_layer(path, layer, table, "Polygon" if simple else "MultiPolygon")
    for layer in layers:
        add_layer_style(path, legend, layer=layer)


def write_annotated_area(
    folder: Path,
    scenes: Sequence[DatasetScene],
    areas: Sequence[shapely.Geometry | None],
    crs: str | None,
) -> None:
    """Add the layer ``annotated_area`` to annotations.gpkg.

    `areas` are those of the scenes in their pixels; None: all of the scene.
    """
    names, polygons = [], []
    for scene, area in zip(scenes, areas, strict=True):
        box = shapely.box(0, 0, scene.width, scene.height)
        inside = box if area is None else shapely.intersection(area, box)
        parts = shapely.get_parts(inside)
        parts = parts[shapely.area(parts) > 0]
        names += [scene.name] * len(parts)
        polygons += transform_geometry(parts, Affine(*scene.transform)).tolist()
    table = gpd.GeoDataFrame({"scene": names}, geometry=np.array(polygons, object), crs=crs)
    _write_layer(folder / ANNOTATIONS, AREA, table, "Polygon")
    store_style(folder / ANNOTATIONS, area_style_qml(), layer=AREA)


def _write_layer(path: Path, layer: str, table: gpd.GeoDataFrame, kind: str) -> None:
    """Add a layer to a GeoPackage. Raises OutputError."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            table.to_file(
                path,
                layer=layer,
                driver="GPKG",
                engine="pyogrio",
                index=False,
                geometry_type=kind,
                promote_to_multi=kind == "MultiPolygon",
                layer_options={"GEOMETRY_NAME": GEOMETRY},
            )
    except (RuntimeError, ValueError) as error:
        raise OutputError(
            f"{ANNOTATIONS}: cannot be written ({error}). Check that the disk is not full"
        ) from error


def _build_table(
    scenes: Sequence[DatasetScene],
    parts: Sequence[Annotations],
    legend: Legend,
    crs: str | None,
) -> gpd.GeoDataFrame:
    class_id = np.concatenate([part.class_id for part in parts])
    known, which = np.unique(class_id, return_inverse=True)
    names = np.array([legend.name_of(label) for label in known.tolist()], object)
    return gpd.GeoDataFrame(
        {
            "scene": np.repeat([s.name for s in scenes], [len(part) for part in parts]),
            "class": names[which],
            "class_id": class_id.astype(np.int16),
            "difficult": np.concatenate([part.difficult for part in parts]),
        },
        geometry=np.concatenate(
            [
                transform_geometry(part.geometry, Affine(*scene.transform))
                for scene, part in zip(scenes, parts, strict=True)
            ]
        ),
        crs=crs,
    )


def group_by_file(scenes: Iterable[DatasetScene]) -> list[list[DatasetScene]]:
    """Group scenes that are windows of one file, in the order of their first scenes."""
    files: dict[str, list[DatasetScene]] = {}
    for scene in scenes:
        files.setdefault(scene.file, []).append(scene)
    return list(files.values())


def is_plain_name(name: str) -> bool:
    """True for the name of a file or folder in the same folder."""
    return name not in ("", "..") and Path(name).name == name


def _from_json(folder: Path, data: Any) -> Dataset:
    if data["format"] != FORMAT:
        raise ValueError(f"format is {data['format']!r}, need {FORMAT!r}")
    for scene in data["scenes"]:  # names become paths of products
        for name in (scene["name"], scene["split"], *scene["file"].split("/")):
            if not is_plain_name(name):
                raise ValueError(f"{name!r} is not a name of a scene, split or file")
    return Dataset(
        folder=folder,
        legend=Legend.from_json(data["legend"]),
        scenes=tuple(
            DatasetScene(
                **{
                    **scene,
                    "transform": tuple(scene["transform"]),
                    "window": tuple(scene["window"]) if scene.get("window") else None,
                }
            )
            for scene in data["scenes"]
        ),
        layers={name: _counts(counts) for name, counts in data["layers"].items()},
        bands=int(data["bands"]),
        dtype=str(data["dtype"]),
        crs=data["crs"],
        local_coordinates=bool(data.get("local_coordinates", False)),
        annotated_area=bool(data.get("annotated_area", False)),
        **_bands_from_json(data),
    )


def _bands_from_json(data: Any) -> dict[str, Any]:
    """Return band names and statistics; datasets of earlier versions have neither."""
    bands = int(data["bands"])
    names = data.get("band_names", default_band_names(bands, str(data["dtype"])))
    statistics = data.get("statistics", ())
    if len(names) != bands or len(statistics) not in (0, bands):
        raise ValueError(f"band_names and statistics do not describe {bands} bands")
    return {
        "band_names": tuple(map(str, names)),
        "statistics": tuple(map(BandStatistics.from_json, statistics)),
    }


def _counts(data: Any) -> ClassCounts:
    splits = {name: Counts(**counts) for name, counts in data["splits"].items()}
    return ClassCounts(data["objects"], data["pixels"], splits)


def _read_layer(path: Path, layer: str, legend: Legend) -> Iterator[tuple[list[str], Annotations]]:
    """Yield scene names and annotations in map coordinates, some thousands at a time."""
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
    except (KeyError, RuntimeError, ValueError) as error:
        raise AnnotationError(
            f"{where} cannot be read ({error}). Run geoseg prepare again"
        ) from error
    geometry: NDArray[np.object_] = shapely.from_wkb(wkb)
    if not np.isin(shapely.get_type_id(geometry), (3, 6)).all():
        raise AnnotationError(f"{where} has a feature that is not a polygon. Remove it")
    single = shapely.get_num_geometries(geometry) == 1
    geometry[single] = shapely.get_geometry(geometry[single], 0)
    try:
        ids = {name: legend.label_of(str(name)) for name in set(classes)}
    except ValueError as error:
        raise AnnotationError(f"{where}: {error}. Correct its features") from error
    class_id = np.array([ids[name] for name in classes], np.uint8)
    difficult = np.array(flags == 1, bool)  # None, of a feature added in a GIS, is False
    return [str(name) for name in names], Annotations(geometry, class_id, difficult)


def _joined(parts: Sequence[Annotations]) -> Annotations:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*((p.geometry, p.class_id, p.difficult) for p in parts), strict=True)
    return Annotations(*map(np.concatenate, columns)) if parts else Annotations.empty()
