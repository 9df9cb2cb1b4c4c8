"""The way of one scene into the dataset: looked at, placed, written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from geoseg.annotations import Annotations
from geoseg.dataset import QUADS, SCENES, DatasetScene
from geoseg.dota import read_dota
from geoseg.legend import Legend
from geoseg.prepare.counts import Counting, Tally
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.prepare.georeference import transforms
from geoseg.prepare.images import look_at_image, write_scene
from geoseg.prepare.record import Record, fingerprint
from geoseg.prepare.sources import Source
from geoseg.scene import SceneInfo

Truths = Mapping[str, Annotations]
"""Layer name → annotations of one scene, in its pixels."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image and its annotations, looked at."""

    source: Source
    image: SceneInfo

    truths: Truths

    legend: Legend
    """What the class ids of `truths` mean."""

    gsd: float | None = None
    """Metres per pixel, where the annotations or a dataset say so."""

    image_source: str | None = None

    files: Mapping[str, Path] = field(default_factory=dict)
    """Layer name → where its annotations stand, if that is not the source's label file."""

    def file(self, layer: str) -> Path:
        """Where the annotations of a layer stand."""
        return self.files.get(layer, self.source.labels)


@dataclass(frozen=True, slots=True)
class Placed:
    """An input, and where it lies."""

    input: Input
    transform: Affine
    """From pixels to map coordinates."""


@dataclass(frozen=True, slots=True)
class Written:
    """A scene of the dataset, its annotations and their counts."""

    scene: DatasetScene
    truths: Truths
    tallies: Mapping[str, Tally]


def look(source: Source, *, legend: Legend, findings: Findings) -> Input:
    """Read the DOTA labels of an image, and what it says of itself."""
    labels = read_dota(source.labels, legend)
    image = look_at_image(source.image)
    for kind, done, count in (
        (Kind.INVALID_RING, Done.REPAIRED, labels.repaired),
        (Kind.NO_AREA, Done.LEFT_OUT, labels.skipped),
    ):
        findings.add(kind, source.labels, done, scene=source.name, count=count, note=QUADS)
    truths = {QUADS: labels.annotations}
    return Input(source, image, truths, legend, labels.gsd, labels.image_source)


def place(inputs: Sequence[Input]) -> list[Placed]:
    """Give every input its place, largest scene first."""
    found = transforms(
        [i.image for i in inputs],
        [i.gsd for i in inputs],
        [list(i.truths.values()) for i in inputs],
    )
    placed = [Placed(*parts) for parts in zip(inputs, found, strict=True)]
    # so that at the end no thread is alone with a large one
    return sorted(placed, key=lambda p: -p.input.image.width * p.input.image.height)


def write(
    placed: Placed,
    *,
    folder: Path,
    crs: CRS | None,
    legend: Legend,
    record: Record,
    check: Callable[[], None],
) -> Written:
    """Write the scene into the dataset `folder` and count its pixels; `check` is called often.

    What `record` has of it, unchanged, is not made again.
    """
    source, image, truths = placed.input.source, placed.input.image, placed.input.truths
    scene = DatasetScene(
        name=source.name,
        file=f"{SCENES}/{source.name}.tif",
        split=source.split or "",
        width=image.width,
        height=image.height,
        pixel_size_m=image.pixel_size_m if crs else placed.input.gsd,
        image_source=placed.input.image_source,
        transform=tuple(placed.transform[:6]),
    )
    key = fingerprint(source, image, truths, len(legend), crs)
    pixels = record.reuse(scene, key)
    if pixels is None:
        counting = {layer: Counting(objects, len(legend)) for layer, objects in truths.items()}

        def each(window: Window, valid: NDArray[np.bool_]) -> None:
            check()
            for counter in counting.values():
                counter.add(window, valid)

        write_scene(
            source.image,
            folder / scene.file,
            transform=placed.transform,
            crs=crs,
            each=each,
            window=source.window,
        )
        pixels = {layer: counter.pixels for layer, counter in counting.items()}
        record.add(scene, key, pixels)
    tallies = {n: Tally.of(objects, pixels[n]) for n, objects in truths.items()}
    return Written(scene, truths, tallies)
