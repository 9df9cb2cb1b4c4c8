"""Make a dataset from scenes and a file of what was drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from geoseg.annotations import Annotations
from geoseg.dataset import OUTLINES
from geoseg.errors import AnnotationError, DatasetError
from geoseg.legend import Legend
from geoseg.prepare.classes import unknown_class
from geoseg.prepare.drawn import Drawn, legend_of
from geoseg.prepare.images import SUFFIXES, look_at_image
from geoseg.prepare.make import Run, make
from geoseg.prepare.readers import reader
from geoseg.prepare.reading import Reading
from geoseg.prepare.scenes import Input
from geoseg.prepare.settings import Common, Settings
from geoseg.prepare.sources import Source


def prepare_drawn(
    scenes: Sequence[Path],
    output: Path,
    *,
    annotations: Path,
    format: str = "vector",
    class_column: str = "class",
    layer: str | None = None,
    colours: str | None = None,
    **common: Unpack[Common],
) -> Path:
    """Turn scenes (or folders of them) and what was drawn over them into the dataset folder `output`, and return it.

    `annotations` is a vector file with a class in `class_column`, or what else the reader named `format`
    reads (`geoseg.prepare.readers`; for `colours` see `geoseg.prepare.formats.colours`). What is not
    inside a polygon counts as background. `common` are the fields of `Settings`: scenes are cut into blocks
    of about `block` pixels a side (default: about 16 blocks of up to 7 scenes; more scenes stay whole), and
    those blocks become the split *val* that hold together about `val_share` of the ground and of the area
    of each class; blocks that share ground are never parted. The default legend has the classes found.

    A scene at fault stops the work, or with `skip_bad` is left out; see `prepare` for what is told.
    Raises SceneError, AnnotationError, DatasetError, ConfigError, OutputError.
    """
    read = reader(format)

    def gathered(run: Run) -> list[Input]:
        images = run.threads.run(look_at_image, _files(scenes), "look at scenes", run.findings)
        run.findings.stop()
        asked = None if run.renaming.path else run.asked
        reading = Reading(class_column, layer, run.asked, colours, run.findings)
        found = read(annotations, images, reading) if images else []
        drawn = {n: part for n, part in enumerate(found) if part is not None}
        if not drawn:
            return []
        legend = asked or _legend(annotations, list(drawn.values()))
        return [
            Input(_source(images[n].path, annotations), images[n], truth, legend)
            for n, part in drawn.items()
            for truth in [{OUTLINES: _annotations(annotations, part, legend)}]
        ]

    return make(output, Settings(**common), gathered, spatial=True)


def _files(scenes: Sequence[Path]) -> list[Path]:
    """The scenes, and of folders the images in them."""
    found: list[Path] = []
    for scene in scenes:
        inside = sorted(scene.iterdir()) if scene.is_dir() else [scene]
        images = [p for p in inside if p == scene or p.suffix.lower() in SUFFIXES]
        if not images:
            raise DatasetError(f"{scene}: has no images. name scenes, or a folder of them")
        found += images
    return found


def _source(image: object, annotations: Path) -> Source:
    path = Path(str(image))
    return Source(path.stem, None, path, annotations)


def _legend(path: Path, parts: Sequence[Drawn]) -> Legend:
    if not any(map(len, parts)):
        raise AnnotationError(
            f"{path}: has no object on these scenes. if that is meant, name the classes by --legend"
        )
    try:
        return legend_of(parts)
    except ValueError as fault:
        raise AnnotationError(f"{path}: {fault}. is it the column with the classes?") from fault


def _annotations(path: Path, part: Drawn, legend: Legend) -> Annotations:
    try:
        return part.annotations(legend)
    except ValueError as fault:
        raise unknown_class(path, fault) from fault
