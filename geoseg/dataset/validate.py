"""What is odd about the objects of a scene, and scenes that should not be there twice."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import OUTLINES, QUADS, Annotations
from geoseg.annotations.report import Done, Finding, Findings, Kind
from geoseg.dataset.folder import REPORT
from geoseg.dataset.options import Marked
from geoseg.dataset.placement import common_crs
from geoseg.dataset.scenes import Input, ends
from geoseg.dataset.split import footprint
from geoseg.files import sha256, write_json
from geoseg.raster.scene import SceneInfo

_SHARED = 1e-6  # of a scene's area: neighbours share a border only


def checked(scene: Input, *, difficult: Marked, findings: Findings) -> Input:
    """A scene without objects outside it, objects that come twice, and, to be dropped, difficult ones."""
    truths = {}
    for layer, objects in scene.truths.items():
        within, cut = inside(objects, scene.image)
        twice = within & repeated(objects)
        marked = objects.difficult & within & ~twice & (difficult == "drop")
        for kind, done, found in (
            (Kind.OUTSIDE, Done.LEFT_OUT, ~within),
            (Kind.CUT, Done.KEPT, cut & ~twice & ~marked),
            (Kind.DUPLICATE_OBJECT, Done.LEFT_OUT, twice),
            (Kind.DIFFICULT, Done.LEFT_OUT, marked),
        ):
            count = int(found.sum())
            name = scene.source.name
            findings.add(kind, scene.file(layer), done, scene=name, count=count, note=layer)
        truths[layer] = objects[within & ~twice & ~marked]
    if len(truths.get(QUADS, ())) and not len(truths.get(OUTLINES, "some")):
        findings.add(
            Kind.NO_OUTLINE,
            scene.file(QUADS),
            Done.KEPT,
            scene=scene.source.name,
            count=len(truths[QUADS]),
        )
    return replace(scene, truths=truths)


def inside(
    annotations: Annotations, image: SceneInfo
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) True where the interior of an annotation reaches into the image, and where its edge cuts it."""
    left, top, right, bottom = shapely.bounds(annotations.geometry).reshape(-1, 4).T
    whole = (left >= 0) & (top >= 0) & (right <= image.width) & (bottom <= image.height)
    reaches = whole.copy()
    across = annotations.geometry[~whole]
    reaches[~whole] = (
        shapely.area(shapely.clip_by_rect(across, 0, 0, image.width, image.height)) > 0
    )
    return reaches, reaches & ~whole


def repeated(annotations: Annotations) -> NDArray[np.bool_]:
    """(n,) True for an annotation of the same class and geometry as an earlier one, wherever its ring begins."""
    wkb = shapely.to_wkb(shapely.normalize(annotations.geometry))
    first: dict[tuple[int, bytes], int] = {}
    earliest = [
        first.setdefault(key, number)
        for number, key in enumerate(zip(annotations.class_id.tolist(), wkb, strict=True))
    ]
    again: NDArray[np.bool_] = np.array(earliest, int) != np.arange(len(annotations))
    return again


def check_twins(inputs: Sequence[Input], findings: Findings) -> None:
    """Tell of images that have the same bytes. Only those that begin and end alike are read whole."""
    alike: dict[tuple[int, str], list[Path]] = {}
    for path in dict.fromkeys(i.source.image for i in inputs):
        alike.setdefault((path.stat().st_size, ends(path)), []).append(path)
    first: dict[str, Path] = {}
    for path in (path for paths in alike.values() if len(paths) > 1 for path in paths):
        twin = first.setdefault(sha256(path), path)
        if twin != path:
            findings.add(Kind.DUPLICATE_SCENE, path, Done.KEPT, note=f"the same as {twin}")


def check_ground(inputs: Sequence[Input], findings: Findings) -> None:
    """Tell of scenes in different splits that show the same ground."""
    if common_crs([i.image for i in inputs]) is None:
        return
    by_split: dict[str | None, list[Input]] = {}
    for scene in inputs:
        by_split.setdefault(scene.source.split, []).append(scene)
    ground = {split: _ground(scenes) for split, scenes in by_split.items()}
    for one, other in combinations(by_split, 2):
        pairs = shapely.STRtree(ground[other]).query(ground[one], predicate="intersects").T
        for a, b in pairs:
            shared = shapely.area(shapely.intersection(ground[one][a], ground[other][b]))
            if shared > _SHARED * shapely.area(ground[one][a]):
                here, there = by_split[one][a].source, by_split[other][b].source
                findings.add(
                    Kind.SHARED_GROUND,
                    here.image,
                    Done.KEPT,
                    scene=here.name,
                    note=f"in {one}, with {there.name} in {other}",
                )


def _ground(scenes: Sequence[Input]) -> NDArray[np.object_]:
    return np.array(
        [footprint(i.image.transform, Window(0, 0, i.image.width, i.image.height)) for i in scenes],
        object,
    )


# What was found, told: a table at the end of a run, and report.json in the dataset.

FORMAT = "geoseg report 1"

_COLUMNS = ("what", "done", "count", "files", "for example")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Line:
    """Findings of one kind that were treated alike."""

    count: int = 0
    files: set[str] = field(default_factory=set)
    example: str = ""


def write_report(folder: Path, findings: Findings) -> None:
    """Write report.json: a summary, and every finding."""
    every = list(findings)
    write_json(
        folder / REPORT,
        {
            "format": FORMAT,
            "summary": summary(every),
            "findings": [finding.to_json() for finding in every],
        },
    )


def tell(output: Path, findings: Findings) -> None:
    """Log the summary as a table, if there is anything to tell."""
    lines = summary(findings)
    if not lines:
        return
    rows = [_COLUMNS, *(tuple(str(value) for value in line.values()) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = "\n".join(
        "  "
        + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    quiet = all(line["done"] == Done.KEPT for line in lines)
    log.log(
        logging.INFO if quiet else logging.WARNING,
        "found in the input (all of it in %s):\n%s",
        output / REPORT,
        table,
    )


def summary(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """One entry for each kind and what was done: count, files, and one of the files."""
    lines: dict[tuple[str, str], _Line] = {}
    for finding in findings:
        line = lines.setdefault((finding.kind.value, finding.done.value), _Line())
        line.count += finding.count
        line.files.add(finding.file)
        line.example = line.example or _example(finding)
    return [
        {
            "kind": kind,
            "done": done,
            "count": line.count,
            "files": len(line.files),
            "example": line.example,
        }
        for (kind, done), line in lines.items()
    ]


def _example(finding: Finding) -> str:
    name = Path(finding.file).name
    return f"{name}: {finding.note}" if finding.note else name
