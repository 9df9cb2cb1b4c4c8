"""The way of one scene into the dataset: looked at, placed, written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from geoseg.annotations import Annotations
from geoseg.dataset import OUTLINES, QUADS, SCENES, DatasetScene
from geoseg.dota import DotaLabels, read_dota
from geoseg.legend import Legend
from geoseg.prepare.counts import Tally
from geoseg.prepare.georeference import transforms
from geoseg.prepare.images import look_at_image, write_scene
from geoseg.prepare.sources import Source
from geoseg.scene import SceneInfo

log = logging.getLogger(__name__)

Truths = dict[str, Annotations]
"""Layer name → annotations of one scene, in its pixels."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image and its labels, looked at."""

    source: Source
    image: SceneInfo
    labels: DotaLabels


@dataclass(frozen=True, slots=True)
class Placed:
    """An input with all its annotations, and where it lies."""

    input: Input
    truths: Truths
    transform: Affine
    """From pixels to map coordinates."""


@dataclass(frozen=True, slots=True)
class Written:
    """A scene of the dataset, its annotations and their counts."""

    scene: DatasetScene
    truths: Truths
    tallies: dict[str, Tally]


def look(source: Source, *, legend: Legend) -> Input:
    """Read the labels of an image, and what it says of itself."""
    return Input(source, look_at_image(source.image), read_dota(source.labels, legend))


def truths(inputs: Sequence[Input], layers: Mapping[str, Sequence[Annotations]]) -> list[Truths]:
    """Of each input the annotations that have a part in its scene; tells what is odd about them.

    `layers` has, for each truth, the annotations of every input.
    """
    found = [
        {layer: inside(objects[n], i.image) for layer, objects in layers.items()}
        for n, i in enumerate(inputs)
    ]
    first = next(iter(layers))
    kept = [len(truth[first]) for truth in found]
    names = [i.source.labels.name for i in inputs]
    labels = [i.labels for i in inputs]
    outside = [len(b.annotations) - k for b, k in zip(labels, kept, strict=True)]
    _tell("lie outside their image and were left out", outside, names)
    _tell("are lines or points and were left out", [b.skipped for b in labels], names)
    _tell("had crossing sides, which were put in order", [b.repaired for b in labels], names)
    if QUADS in layers and OUTLINES in layers:
        bare = [k if not len(t[OUTLINES]) else 0 for k, t in zip(kept, found, strict=True)]
        _tell("have quads in a scene without any outline", bare, names)
    return found


def inside(annotations: Annotations, image: SceneInfo) -> Annotations:
    """The annotations whose interior reaches into the image."""
    left, top, right, bottom = shapely.bounds(annotations.geometry).reshape(-1, 4).T
    within = (left >= 0) & (top >= 0) & (right <= image.width) & (bottom <= image.height)
    across = annotations.geometry[~within]
    within[~within] = shapely.area(
        shapely.clip_by_rect(across, 0, 0, image.width, image.height)
    ).astype(bool)
    return annotations[within]


def place(inputs: Sequence[Input], truths: Sequence[Truths]) -> list[Placed]:
    """Give every input its place, largest scene first."""
    found = transforms(
        [i.image for i in inputs],
        [i.labels.gsd for i in inputs],
        [list(truth.values()) for truth in truths],
    )
    placed = [Placed(*parts) for parts in zip(inputs, truths, found, strict=True)]
    # so that at the end no thread is alone with a large one
    return sorted(placed, key=lambda p: -p.input.image.width * p.input.image.height)


def write(
    placed: Placed, *, folder: Path, crs: CRS | None, legend: Legend, check: Callable[[], None]
) -> Written:
    """Write the scene into the dataset `folder` and count its pixels; `check` is called often."""
    source, image = placed.input.source, placed.input.image
    tallies = {layer: Tally(objects, len(legend)) for layer, objects in placed.truths.items()}

    def each(window: Window, valid: NDArray[np.bool_]) -> None:
        check()
        for tally in tallies.values():
            tally.add(window, valid)

    file = f"{SCENES}/{source.name}.tif"
    write_scene(
        source.image,
        folder / file,
        transform=placed.transform,
        crs=crs,
        each=each,
        window=source.window,
    )
    scene = DatasetScene(
        name=source.name,
        file=file,
        split=source.split,
        width=image.width,
        height=image.height,
        pixel_size_m=image.pixel_size_m if crs else placed.input.labels.gsd,
        image_source=placed.input.labels.image_source,
        transform=tuple(placed.transform[:6]),
    )
    return Written(scene, placed.truths, tallies)


def _tell(what: str, counts: Sequence[int], names: Sequence[str]) -> None:
    """Warn once, however many files it concerns."""
    files = [name for name, count in zip(names, counts, strict=True) if count]
    if files:
        listed = ", ".join(files[:5]) + (", …" if len(files) > 5 else "")
        log.warning("%d objects in %d files %s: %s", sum(counts), len(files), what, listed)
