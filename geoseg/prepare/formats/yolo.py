"""Objects as YOLO stores them: a text file per image, an object per line, corners as shares of the image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import AnnotationError
from geoseg.prepare.drawn import Drawn
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.prepare.formats.stems import by_stem
from geoseg.prepare.formats.tidy import Raw
from geoseg.prepare.formats.yolo_names import NAMES, class_names
from geoseg.prepare.reading import Reading
from geoseg.scene import SceneInfo

_QUAD = 8  # coordinates
_FURTHEST = 1.0  # times the image, that an object may reach beyond it


class _Line(NamedTuple):
    name: str
    corners: NDArray[np.float64]
    """(n, 2) x and y, 0 to 1 within the image"""

    confidence: bool


def read_yolo(
    path: Path, images: Sequence[SceneInfo], reading: Reading, /, *, quads: bool
) -> list[Drawn | None]:
    """The objects of a folder of label files, of those in its sub-folders too; the file of a scene has its
    name.

    A line is ``class x1 y1 x2 y2 ...``, with four corners if `quads`, else at least three. A tenth field
    in a line of four corners is the confidence of a prediction, and does not matter; an outline cannot have
    one, since it would look like a coordinate that lost its other half. Classes are numbers from 0, whose
    names are in `data.yaml` or `classes.txt`. A scene without a file has no objects, by YOLO's convention.

    What is wrong with a file is told as a fault. Raises AnnotationError when no scene has a file, or the names
    of classes are not to be found.
    """
    if not path.is_dir():
        raise AnnotationError(f"{path}: is no folder. name the one that holds YOLO's label files")
    scenes = by_stem(images)
    files: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("*.txt")):
        if file.name not in NAMES:
            files.setdefault(file.stem, []).append(file)
    if not files.keys() & scenes.keys():
        raise AnnotationError(
            f"{path}: holds no label file of any scene. it needs one named {next(iter(scenes))}.txt"
        )
    names = class_names(path)
    strangers = sum(len(found) for stem, found in files.items() if stem not in scenes)
    reading.findings.add(Kind.NO_IMAGE, path, Done.LEFT_OUT, count=strangers)
    return [
        _drawn(path, scene, files.get(stem, []), names, reading.findings, quads=quads)
        for stem, scene in scenes.items()
    ]


read_yolo_obb = partial(read_yolo, quads=True)
read_yolo_seg = partial(read_yolo, quads=False)


def _drawn(
    path: Path,
    scene: SceneInfo,
    files: Sequence[Path],
    names: Sequence[str],
    findings: Findings,
    *,
    quads: bool,
) -> Drawn | None:
    raw, name = Raw(), Path(scene.path).stem
    if not files:
        findings.add(
            Kind.NO_LABELS, path, Done.KEPT, scene=name, note="taken for one without objects"
        )
        return raw.tidied(path, scene, findings)
    file = files[0]
    if len(files) > 1:
        findings.fault(AnnotationError(f"{file}: there is also {files[1]}. keep one of them"))
        return None
    try:
        lines = _read(file, names, quads=quads)
    except AnnotationError as fault:
        findings.fault(fault)
        return None
    for line in lines:
        raw.add(shapely.Polygon(line.corners * (scene.width, scene.height)), line.name)
    sure = sum(line.confidence for line in lines)
    findings.add(Kind.CONFIDENCE, file, Done.LEFT_OUT, scene=name, count=sure)
    return raw.tidied(file, scene, findings, quads=quads)


def _read(file: Path, names: Sequence[str], *, quads: bool) -> list[_Line]:
    """Raises AnnotationError that tells of the first fault, and of how many there are."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise AnnotationError(f"{file}: cannot be read as text ({fault}). check it") from fault
    lines, faults = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            lines.append(_line(line.split(), names, quads=quads))
        except ValueError as fault:
            faults.append(f"{file}:{number}: {fault}")
    if faults:
        more = f" (and {len(faults) - 1} more lines)" if len(faults) > 1 else ""
        raise AnnotationError(f"{faults[0]}{more}. correct the file")
    return lines


def _line(fields: list[str], names: Sequence[str], *, quads: bool) -> _Line:
    if len(fields) == 5:
        raise ValueError("is a box of 5 fields, which YOLO has for detection; need corners")
    number, *coordinates = fields
    if not number.isascii() or not number.isdigit() or int(number) >= len(names):
        raise ValueError(f"class {number[:20]!r} is none of 0 to {len(names) - 1}")
    confidence = quads and len(coordinates) == _QUAD + 1
    if confidence:
        coordinates.pop()
    if quads and len(coordinates) != _QUAD:
        raise ValueError(f"has {len(fields)} fields, need a class and 4 corners, which is 9")
    if len(coordinates) % 2 or len(coordinates) < 6:
        raise ValueError(
            f"has {len(fields)} fields, need a class and two for each of at least 3 corners"
        )
    try:
        corners = np.array([float(text) for text in coordinates]).reshape(-1, 2)
    except ValueError as fault:
        raise ValueError(f"{str(fault).rpartition(': ')[2][:40]} is no coordinate") from fault
    if not ((corners >= -_FURTHEST) & (corners <= 1 + _FURTHEST)).all():  # nor nan
        raise ValueError("has coordinates far beyond 0 to 1, as if they were pixels")
    return _Line(names[int(number)], corners, confidence)
