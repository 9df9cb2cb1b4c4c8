"""A dataset folder as the source of another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from geoseg.dataset import ANNOTATIONS, DESCRIPTION, Dataset, DatasetScene
from geoseg.errors import DatasetError
from geoseg.prepare.images import look_at_image
from geoseg.prepare.scenes import Input
from geoseg.prepare.sources import Source


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
