"""Names of the classes of a YOLO data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from geoseg.errors import AnnotationError
from geoseg.files import input_file
from geoseg.prepare.formats.spelling import dota_spelling

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
