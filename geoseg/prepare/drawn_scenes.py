"""Make a dataset from scenes and a file of what was drawn over them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geoseg.dataset import OUTLINES, transformed
from geoseg.dota import DotaLabels
from geoseg.errors import AnnotationError, DatasetError
from geoseg.legend import Legend
from geoseg.prepare.blocks import Block, choose, clipped, cut, groups, shares, usual_side
from geoseg.prepare.drawn import Drawn, legend_of
from geoseg.prepare.findings import Findings
from geoseg.prepare.finish import write_dataset
from geoseg.prepare.folder import building
from geoseg.prepare.georeference import common_crs
from geoseg.prepare.images import look_at_image
from geoseg.prepare.legends import legend_named
from geoseg.prepare.readers import reader
from geoseg.prepare.reading import Reading
from geoseg.prepare.scenes import Input, place, truths
from geoseg.prepare.sources import TRAIN, VAL, Source, check_names
from geoseg.prepare.threads import Faults, Threads
from geoseg.progress import Track, silent
from geoseg.scene import SceneInfo


def prepare_drawn(
    scenes: Sequence[Path],
    output: Path,
    *,
    annotations: Path,
    format: str = "vector",
    class_column: str = "class",
    layer: str | None = None,
    colours: str | None = None,
    val_share: float = 0.2,
    block: int | None = None,
    legend: str | None = None,
    skip_bad: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
    track: Track = silent,
) -> Path:
    """Turn scenes and what was drawn over them into the dataset folder `output`, and return it.

    `annotations` is a vector file with a class in `class_column`, or what else the reader named `format`
    reads (`geoseg.prepare.readers`). What is not inside a polygon counts as background. Scenes are cut
    into blocks of about `block` pixels a side (default: about 16 blocks of up to 7 scenes; more scenes
    stay whole), and those blocks become the split *val* that hold together about `val_share` of the
    ground and of the area of each class; blocks that share ground are never parted. `legend` is as for
    `prepare` (default: the classes found).

    A scene at fault stops the work, or with `skip_bad` is left out. Raises SceneError, AnnotationError,
    DatasetError, OutputError.
    """
    if not 0 <= val_share < 1:
        raise ValueError(f"val_share must be at least 0 and less than 1, got {val_share}")
    read = reader(format)
    faults, findings = Faults(skip=skip_bad), Findings(skip=skip_bad)
    with (
        warnings.catch_warnings(),
        building(output, overwrite=overwrite) as scratch,
        Threads(jobs, track) as threads,
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        images = threads.run(look_at_image, scenes, "look at scenes", faults)
        faults.stop()
        if not images:
            raise DatasetError(f"{output}: no scene is left. {faults}")
        asked = legend_named(legend) if legend else None
        reading = Reading(class_column, layer, asked, colours, findings)
        found = read(annotations, images, reading)
        findings.stop()
        images = [image for image, drawn in zip(images, found, strict=True) if drawn is not None]
        drawn = [drawn for drawn in found if drawn is not None]
        if not images:
            raise DatasetError(f"{output}: no scene is left. {findings.faults_text()}")
        blocks = cut(images, block or usual_side(images))
        parts = [clipped(drawn[b.image], b.window) for b in blocks]
        val = _validating(images, blocks, parts, val_share)
        names = asked or _legend(annotations, parts)
        inputs = [
            Input(
                _source(images, blocks, number, VAL if val[number] else TRAIN, annotations),
                _part(images[b.image], b),
                _labels(annotations, part, names),
            )
            for number, (b, part) in enumerate(zip(blocks, parts, strict=True))
        ]
        check_names([i.source for i in inputs])
        layers = {OUTLINES: [i.labels.annotations for i in inputs]}
        placed = place(inputs, truths(inputs, layers))
        crs = common_crs(images)

        write_dataset(placed, scratch, crs, names, threads, faults, source=output)
    faults.tell(output)
    findings.tell(output)
    return output


def _validating(
    images: Sequence[SceneInfo], blocks: Sequence[Block], parts: Sequence[Drawn], share: float
) -> list[bool]:
    """Which blocks are for validation."""
    places = _places(images)
    footprints = np.array([_footprint(places[b.image], b) for b in blocks], object)
    group = groups(footprints)
    amount = shares(blocks, parts)
    together = np.zeros((group.max() + 1, amount.shape[1]))
    np.add.at(together, group, amount)
    if share > 0 and len(together) < 2:
        raise DatasetError(
            f"{images[0].path}: is too small to keep a part of it for validation. "
            "use more scenes or a smaller --block"
        )
    return [bool(v) for v in choose(together, share)[group]]


def _places(images: Sequence[SceneInfo]) -> list[Affine]:
    """From pixels to a plane on which scenes that say nothing of their place share no ground."""
    left = np.cumsum([0] + [image.width for image in images])
    return [
        Affine.translation(float(x), 0) if image.transform == Affine.identity() else image.transform
        for image, x in zip(images, left, strict=False)
    ]


def _footprint(place: Affine, block: Block) -> shapely.Geometry:
    w = block.window
    box = shapely.box(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height)
    return transformed(np.array([box], object), place)[0]


def _source(
    images: Sequence[SceneInfo], blocks: Sequence[Block], number: int, split: str, labels: Path
) -> Source:
    """A block by name: that of its scene, and a number where this is cut."""
    block = blocks[number]
    siblings = [n for n, other in enumerate(blocks) if other.image == block.image]
    path = Path(images[block.image].path)
    if len(siblings) == 1:
        return Source(path.stem, split, path, labels)
    name = f"{path.stem}-{siblings.index(number) + 1:0{len(str(len(siblings)))}d}"
    return Source(name, split, path, labels, block.window)


def _part(image: SceneInfo, block: Block) -> SceneInfo:
    """What a block says about itself."""
    w = block.window
    if (w.width, w.height) == (image.width, image.height):
        return image
    transform = image.transform @ Affine.translation(w.col_off, w.row_off)
    return replace(image, width=w.width, height=w.height, transform=transform)


def _legend(path: Path, parts: Sequence[Drawn]) -> Legend:
    try:
        return legend_of(parts)
    except ValueError as fault:
        raise AnnotationError(f"{path}: {fault}. is it the column with the classes?") from fault


def _labels(path: Path, part: Drawn, legend: Legend) -> DotaLabels:
    try:
        return DotaLabels(part.annotations(legend), gsd=None, image_source=None)
    except ValueError as fault:
        raise AnnotationError(f"{path}: {fault}. correct it or name another --legend") from fault
