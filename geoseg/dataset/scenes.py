"""Write the scenes of a dataset, and count their classes at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn
from geoseg.dataset.folder import SCENES, ClassCounts, Counts, DatasetScene
from geoseg.dataset.images import write_image
from geoseg.dataset.record import BuildJournal, PixelCounts, compute_fingerprint
from geoseg.dataset.sources import SourceScene
from geoseg.legend import Legend


@dataclass(frozen=True, slots=True)
class WrittenScene:
    """Scene that is complete in the dataset folder."""

    scene: DatasetScene

    layers: Mapping[str, Annotations]
    """Annotations by layer, in pixels of the scene."""

    pixels: PixelCounts


def write_scene(
    source: SourceScene,
    *,
    journal: BuildJournal,
    crs: CRS | None,
    legend: Legend,
    check: Callable[[], None],
) -> WrittenScene:
    """Write a scene into the dataset folder, or reuse it if it is unchanged.

    Parameters
    ----------
    source
        Scene with its final transform and split.
    journal
        Journal of the dataset.
    crs
        CRS of the dataset.
    legend
        Legend of the dataset.
    check
        Called for every strip; raises to cancel the work.
    """
    image = source.image
    scene = DatasetScene(
        name=source.name,
        file=f"{SCENES}/{source.name}.tif",
        split=source.split or "",
        width=image.width,
        height=image.height,
        pixel_size_m=image.pixel_size_m if crs else source.gsd,
        image_source=source.image_source,
        transform=tuple(image.transform[:6]),
    )
    key = compute_fingerprint(source, len(legend), crs)
    pixels = journal.reuse(scene, key)
    if pixels is None:
        counters = {n: PixelCounter(o, len(legend)) for n, o in source.layers.items()}

        def count_strip(window: Window, valid: NDArray[np.bool_]) -> None:
            check()
            for counter in counters.values():
                counter.add(window, valid)

        write_image(
            source.path,
            journal.folder / scene.file,
            transform=image.transform,
            crs=crs,
            on_strip=count_strip,
            window=source.window,
        )
        pixels = {layer: counter.pixels for layer, counter in counters.items()}
        journal.add(scene, key, pixels)
    return WrittenScene(scene, source.layers, pixels)


class PixelCounter:
    """Counts the pixels of each class of a scene, window by window."""

    def __init__(self, annotations: Annotations, classes: int) -> None:
        self.pixels: NDArray[np.int64] = np.zeros(classes, np.int64)
        self._index = AnnotationIndex(annotations)

    def add(self, window: Window, valid: NDArray[np.bool_]) -> None:
        """Count the valid pixels of a window."""
        labels = burn(
            self._index.query_window(window),
            *valid.shape,
            transform=Affine.translation(-window.col_off, -window.row_off),
        )
        self.pixels += _count_ids(labels[valid], len(self.pixels))


def count_classes(written: Sequence[WrittenScene], layer: str, legend: Legend) -> ClassCounts:
    """Sum the objects and pixels of each class over all scenes and over each split."""
    splits = sorted({w.scene.split for w in written})
    whole = _sum_counts(written, layer, legend)
    parts = {
        split: _sum_counts([w for w in written if w.scene.split == split], layer, legend)
        for split in splits
    }
    return ClassCounts(whole.objects, whole.pixels, parts)


def _sum_counts(written: Sequence[WrittenScene], layer: str, legend: Legend) -> Counts:
    objects = np.sum([_count_ids(w.layers[layer].class_id, len(legend)) for w in written], axis=0)
    pixels = np.sum([w.pixels[layer] for w in written], axis=0)
    return Counts(
        {c.name: int(objects[c.id]) for c in legend.objects},
        {c.name: int(pixels[c.id]) for c in legend},
    )


def _count_ids(class_ids: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return the (classes,) number of each class ID, without IGNORE."""
    counts: NDArray[np.int64] = np.bincount(class_ids, minlength=classes)[:classes]
    return counts
