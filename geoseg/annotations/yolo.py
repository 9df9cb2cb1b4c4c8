"""Names of the classes of a YOLO data set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
import yaml
from numpy.typing import NDArray

from geoseg.annotations.dota import dota_spelling
from geoseg.annotations.reader import Drawn, Raw, Reading, by_stem
from geoseg.annotations.report import Done, Findings, Kind
from geoseg.errors import AnnotationError
from geoseg.files import input_file
from geoseg.raster.scene import SceneInfo

YAML = ("data.yaml", "data.yml", "dataset.yaml")
NAMES = ("classes.txt",)
_FOLDERS_UP = 3  # of labels/train/ at most
_LARGEST = 1 << 20  # bytes


def class_names(folder: Path) -> Sequence[str]:
    """Names by number, from `data.yaml` (a list or a mapping ``names``) or `classes.txt` (one a line), in
    `folder` or the nearest one above it that has such a file.

    Raises AnnotationError when there is none or it is not so.
    """
    above = folder.resolve()
    for place in [folder, *above.parents[: _FOLDERS_UP - 1]]:
        for name in (*YAML, *NAMES):
            if (place / name).is_file():
                file = place / name
                names = _of_yaml(file) if name in YAML else _of_text(file)
                spelled = dota_spelling(names, file)
                return [spelled[name] for name in names]
    raise AnnotationError(
        f"{folder}: holds no data.yaml and no classes.txt, nor do the folders above it. add one with the names "
        "of the classes"
    )


def _of_yaml(file: Path) -> list[str]:
    try:
        content: Any = yaml.safe_load(_text(file))
    except (yaml.YAMLError, RecursionError) as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise AnnotationError(
            f"{file}{line}: is no YAML. correct it, or use classes.txt"
        ) from fault
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if not all(type(number) is int for number in names) or sorted(names) != list(
            range(len(names))
        ):
            raise AnnotationError(f"{file}: names must be numbered from 0 without gaps. correct it")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise AnnotationError(f"{file}: has no names of classes. add them: names: [car, tree]")
    for number, name in enumerate(names):
        if (
            not isinstance(name, str) or not name.strip()
        ):  # YAML takes no, on and 1 for other things
            raise AnnotationError(
                f"{file}: the name of class {number} is no text. put it in quotes"
            )
    return [name.strip() for name in names]


def _of_text(file: Path) -> list[str]:
    lines = [line.strip() for line in _text(file).rstrip().split("\n")]
    if not all(lines):
        number = lines.index("") + 1
        raise AnnotationError(f"{file}:{number}: is empty, but each line names a class. correct it")
    return lines


def _text(file: Path) -> str:
    if input_file(file, AnnotationError).stat().st_size > _LARGEST:
        raise AnnotationError(f"{file}: is too large for names of classes. is it another file?")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise AnnotationError(f"{file}: is not UTF-8 text. save it as UTF-8") from fault


# Objects as YOLO stores them: a text file per image, an object per line, corners as shares of the image.

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
