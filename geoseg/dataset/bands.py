"""Bands of a dataset: all scenes have the same ones, in one order and data type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from geoseg.annotations.validation import ValidationReport
from geoseg.dataset.sources import SourceScene
from geoseg.errors import SceneError
from geoseg.raster.bands import RGB
from geoseg.raster.histogram import DTYPES
from geoseg.raster.scene import SceneInfo


@dataclass(frozen=True, slots=True)
class BandLayout:
    """Bands that all scenes of a dataset have."""

    names: tuple[str, ...]
    """Name of each band; "" where the scenes have none, or different ones."""

    dtype: str


def align_bands(
    scenes: Sequence[SourceScene], report: ValidationReport, *, chosen: bool = False
) -> tuple[BandLayout, list[SourceScene]]:
    """Read the same bands of all scenes, in the same order.

    Parameters
    ----------
    scenes
        Scenes of all sources.
    report
        Collects the errors of scenes whose data type, number of bands or names differ from those of most.
    chosen
        The user chose the bands: their order is kept, whatever their names.

    Returns
    -------
    layout
        Bands of the dataset.
    scenes
        Scenes that have them. Bands are matched by name where all are named, else by their order. One band among
        scenes of red, green and blue is grey, and read three times.
    """
    if not scenes:
        return BandLayout((), DTYPES[0]), []
    first = _choose_example([scene.image for scene in scenes])
    aligned = []
    for scene in scenes:
        try:
            aligned.append(replace(scene, image=_align(scene.image, first, chosen=chosen)))
        except SceneError as error:
            report.reject(error)
    named = [s.image.read_names for s in aligned if len(set(s.image.indexes)) == len(first.indexes)]
    names = tuple(of[0] if len(set(of)) == 1 else "" for of in zip(*named, strict=True))
    return BandLayout(names, first.dtype), aligned


def _choose_example(images: Sequence[SceneInfo]) -> SceneInfo:
    """Return the first image of the data type and number of bands that most have; of colours rather than of grey."""
    layouts = Counter((image.dtype, len(image.indexes)) for image in images)
    dtype, count = max(layouts, key=lambda of: (layouts[of], -DTYPES.index(of[0]), of[1]))
    alike = [image for image in images if image.dtype == dtype]
    if count == 1 and (coloured := [image for image in alike if image.read_names == RGB]):
        return coloured[0]
    return next(image for image in alike if len(image.indexes) == count)


def _align(image: SceneInfo, first: SceneInfo, *, chosen: bool) -> SceneInfo:
    """Return the metadata of an image with the bands to read. Raises SceneError if they are not those of the first."""
    if image.dtype != first.dtype:
        raise SceneError(
            f"{image.path}: its pixels are {image.dtype}, those of {first.path.name} are {first.dtype}. "
            "Convert one of them: gdal_translate -ot TYPE IN OUT.tif"
        )
    wanted, names = first.read_names, image.read_names
    if len(names) == 1 and wanted == RGB:
        return replace(image, indexes=image.indexes * len(RGB))
    same = len(names) == len(wanted)
    if same and (chosen or names == wanted or not all((*names, *wanted))):
        return image
    if not same or sorted(names) != sorted(wanted):
        raise SceneError(
            f"{image.path}: has {_list_names(names)}, but {first.path.name} has {_list_names(wanted)}. "
            "Choose the same bands of all scenes: --bands"
        )
    return replace(image, indexes=tuple(image.indexes[names.index(name)] for name in wanted))


def _list_names(names: Sequence[str]) -> str:
    count = f"{len(names)} {'band' if len(names) == 1 else 'bands'}"
    return f"{count} ({', '.join(name or '?' for name in names)})" if any(names) else count
