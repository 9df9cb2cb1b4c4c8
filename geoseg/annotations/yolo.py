"""YOLO text of oriented boxes and outlines, as Ultralytics defines it, read and written.

One text file per image, one object per line: ``class x1 y1 x2 y2 ...``. Classes are numbered from 0; coordinates are
fractions of the image's width and height. Class names are in ``data.yaml`` or ``classes.txt``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
import yaml
from numpy.typing import NDArray

from geoseg.annotations.dota import normalize_class_names
from geoseg.annotations.readers import (
    AnnotatedObject,
    NamedAnnotations,
    ReaderOptions,
    index_by_stem,
    repair_objects,
)
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError
from geoseg.files import input_file, write_text
from geoseg.legend import Legend
from geoseg.raster.scene import SceneInfo

DATA_YAML = ("data.yaml", "data.yml", "dataset.yaml")
CLASSES_TXT = "classes.txt"

_PARENTS = 2  # of labels/train/
_MAX_BYTES = 1 << 20
_QUAD = 8  # coordinates
_OUTSIDE = 1.0  # largest distance of a corner from the image, as a multiple of its size


class _Polygon(NamedTuple):
    name: str
    corners: NDArray[np.float64]
    """(n, 2) x and y; 0 to 1 within the image."""

    has_confidence: bool


def read_yolo(
    path: Path,
    scenes: Sequence[SceneInfo],
    options: ReaderOptions,  # noqa: ARG001
    report: ValidationReport,
    /,
    *,
    quads: bool,
) -> list[NamedAnnotations | None]:
    """Read the objects of a folder of label files and its sub-folders; a file has the name of its scene.

    With `quads` a line has four corners, else at least three. A tenth field in a line of four corners is the confidence
    of a prediction and is ignored; an outline with a confidence is invalid, as it has an odd number of coordinates. A
    scene without a file has no objects, by YOLO's convention.

    A scene with an invalid file is rejected. Raises AnnotationError if no scene has a file, or class names are missing.
    """
    if not path.is_dir():
        raise AnnotationError(f"{path}: not a folder. Name the folder of YOLO's label files")
    by_stem = index_by_stem(scenes)
    files: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("*.txt")):
        if file.name != CLASSES_TXT:
            files.setdefault(file.stem, []).append(file)
    if not files.keys() & by_stem.keys():
        raise AnnotationError(
            f"{path}: no label file of any scene. The first scene needs {next(iter(by_stem))}.txt"
        )
    names = read_class_names(path)
    unmatched = sum(len(same) for stem, same in files.items() if stem not in by_stem)
    report.add(IssueKind.NO_IMAGE, path, Action.LEFT_OUT, count=unmatched)
    return [
        _read_scene(scene, files.get(stem, []), names, report, quads=quads)
        if stem in files
        else _read_empty(path, scene, report)
        for stem, scene in by_stem.items()
    ]


read_yolo_obb = partial(read_yolo, quads=True)
read_yolo_seg = partial(read_yolo, quads=False)


def read_class_names(folder: Path) -> Sequence[str]:
    """Read class names by number from ``data.yaml`` or ``classes.txt``.

    ``data.yaml`` has a list or mapping ``names``; ``classes.txt`` has one name per line. The file is in `folder` or in
    one of the two folders above it; the nearest is read. Raises AnnotationError if there is none or it is invalid.
    """
    for place in [folder, *folder.resolve().parents[:_PARENTS]]:
        for name in (*DATA_YAML, CLASSES_TXT):
            file = place / name
            if file.is_file():
                names = _read_txt_names(file) if name == CLASSES_TXT else _read_yaml_names(file)
                normalized = normalize_class_names(names, file)
                return [normalized[name] for name in names]
    raise AnnotationError(
        f"{folder}: no data.yaml and no classes.txt in it or the folders above it. Add one with the class "
        "names"
    )


def _read_yaml_names(file: Path) -> list[str]:
    try:
        content: Any = yaml.safe_load(_read_text(file))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise AnnotationError(
            f"{file}{line}: invalid YAML. Correct it, or use classes.txt"
        ) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if not all(type(n) is int for n in names) or sorted(names) != list(range(len(names))):
            raise AnnotationError(f"{file}: names must be numbered from 0 without gaps. Correct it")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise AnnotationError(f"{file}: no class names. Add them: names: [car, tree]")
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():  # YAML reads no, on and 1 as other types
            raise AnnotationError(f"{file}: the name of class {number} is not text. Quote it")
    return [name.strip() for name in names]


def _read_txt_names(file: Path) -> list[str]:
    lines = [line.strip() for line in _read_text(file).rstrip().split("\n")]
    if not all(lines):
        number = lines.index("") + 1
        raise AnnotationError(f"{file}:{number}: empty line. Write one class name per line")
    return lines


def _read_text(file: Path) -> str:
    if input_file(file, AnnotationError).stat().st_size > _MAX_BYTES:
        raise AnnotationError(f"{file}: too large for class names. Check the file")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file}: not UTF-8 text. Save it as UTF-8") from error


def _read_empty(path: Path, scene: SceneInfo, report: ValidationReport) -> NamedAnnotations:
    name = Path(scene.path).stem
    note = "read as a scene without objects"
    report.add(IssueKind.NO_LABELS, path, Action.KEPT, scene=name, note=note)
    return repair_objects([], path, scene, report)


def _read_scene(
    scene: SceneInfo,
    files: Sequence[Path],
    names: Sequence[str],
    report: ValidationReport,
    *,
    quads: bool,
) -> NamedAnnotations | None:
    file = files[0]
    if len(files) > 1:
        report.reject(AnnotationError(f"{file}: there is also {files[1]}. Keep one of them"))
        return None
    try:
        rows = _read_objects(file, names, quads=quads)
    except AnnotationError as error:
        report.reject(error)
        return None
    size = (scene.width, scene.height)
    objects = [AnnotatedObject(shapely.Polygon(row.corners * size), row.name) for row in rows]
    count = sum(row.has_confidence for row in rows)
    stem = Path(scene.path).stem
    report.add(IssueKind.CONFIDENCE, file, Action.LEFT_OUT, scene=stem, count=count)
    return repair_objects(objects, file, scene, report, quads=quads)


def _read_objects(file: Path, names: Sequence[str], *, quads: bool) -> list[_Polygon]:
    """Read a label file. Raises AnnotationError with the first error and the number of others."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{file}: cannot be read as text ({error}). Check it") from error
    objects, errors = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            objects.append(_parse_object(line.split(), names, quads=quads))
        except ValueError as error:
            errors.append(f"{file}:{number}: {error}")
    if errors:
        more = f" (and {len(errors) - 1} more lines)" if len(errors) > 1 else ""
        raise AnnotationError(f"{errors[0]}{more}. Correct the file")
    return objects


def _parse_object(fields: list[str], names: Sequence[str], *, quads: bool) -> _Polygon:
    if len(fields) == 5:
        raise ValueError("an upright box of 5 fields (YOLO detection); corners are needed")
    number, *coordinates = fields
    if not number.isascii() or not number.isdigit() or int(number) >= len(names):
        raise ValueError(f"class {number[:20]!r} is not one of 0 to {len(names) - 1}")
    has_confidence = quads and len(coordinates) == _QUAD + 1
    if has_confidence:
        coordinates.pop()
    if quads and len(coordinates) != _QUAD:
        raise ValueError(f"{len(fields)} fields, expected 9: a class and 4 corners")
    if len(coordinates) % 2 or len(coordinates) < 6:
        raise ValueError(
            f"{len(fields)} fields, expected a class and two for each of at least 3 corners"
        )
    try:
        corners = np.array([float(text) for text in coordinates]).reshape(-1, 2)
    except ValueError as error:
        raise ValueError(f"{str(error).rpartition(': ')[2][:40]} is not a coordinate") from error
    if not ((corners >= -_OUTSIDE) & (corners <= 1 + _OUTSIDE)).all():  # also False for NaN
        raise ValueError("coordinates far outside 0 to 1; they may be in pixels")
    return _Polygon(names[int(number)], corners, has_confidence)


def format_yolo(rings: Iterable[tuple[int, NDArray[np.float64]]], height: int, width: int) -> str:
    """Format objects as YOLO text.

    Parameters
    ----------
    rings
        Class ID and (n, 2) corners in pixels of the image. Class ID 1 becomes YOLO's class 0: YOLO has no background.
    height, width
        Shape of the image.
    """
    return "".join(
        " ".join([str(class_id - 1), *(f"{v:.10g}" for v in (ring / (width, height)).ravel())])
        + "\n"
        for class_id, ring in rings
    )


def write_data_yaml(path: Path, legend: Legend, splits: Sequence[str]) -> None:
    """Write Ultralytics' ``data.yaml``: folders of images by split, and class names by number."""
    lines = [f"{split}: {split}/images" for split in splits]
    names = [f"  {c.id - 1}: {json.dumps(c.name)}" for c in legend.objects]
    write_text(path, "\n".join([*lines, "names:", *names, ""]), overwrite=True)


def fit_quad(geometry: shapely.Geometry, height: int, width: int) -> NDArray[np.float64]:
    """Fit a quad to a geometry that lies in an image, also within the image.

    Parameters
    ----------
    geometry
        Polygon or multipolygon in pixels of the image.
    height, width
        Shape of the image.

    Returns
    -------
    (4, 2) array
        Corners of the geometry if it has four; else those of the smallest rotated rectangle around it. If that extends
        outside the image, its intersection with the image is reduced to four corners: the corners that span the
        smallest triangles are removed.
    """
    ring: NDArray[np.float64] = shapely.get_coordinates(geometry)
    if len(ring) == 5:
        return ring[:4]
    rectangle = shapely.oriented_envelope(geometry)
    image = shapely.box(0, 0, width, height)
    if image.covers(rectangle):
        corners: NDArray[np.float64] = shapely.get_coordinates(rectangle)[:4]
        return corners
    corners = shapely.get_coordinates(shapely.intersection(rectangle, image))[:-1]
    while len(corners) > 4:
        corners = np.delete(corners, int(np.argmin(_triangle_areas(corners))), axis=0)
    if len(corners) == 3:  # add one in the middle of the longest side
        following = np.roll(corners, -1, axis=0)
        side = int(np.argmax(np.hypot(*(following - corners).T)))
        corners = np.insert(corners, side + 1, (corners[side] + following[side]) / 2, axis=0)
    return corners


def _triangle_areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n,) area of the triangle of each of (n, 2) corners and its neighbours."""
    ax, ay = (np.roll(corners, 1, axis=0) - corners).T
    bx, by = (np.roll(corners, -1, axis=0) - corners).T
    areas: NDArray[np.float64] = np.abs(ax * by - ay * bx) / 2
    return areas
