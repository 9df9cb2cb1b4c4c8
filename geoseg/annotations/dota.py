"""DOTA label text: v1.0, v1.5 and v2.0, read and written.

One object per line, ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``, corners in pixels of the image (x
right, y down); before them, if the annotator gave them, ``imagesource:GoogleEarth`` and
``gsd:0.146`` (metres per pixel).
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations
from geoseg.errors import AnnotationError
from geoseg.files import input_file, replacing
from geoseg.legend import BACKGROUND, DOTA_V2, Legend

LIMIT = 1e6
"""Coordinates beyond plus or minus this many pixels are an error, not an object."""

_SHOWN = 20
_SMALLEST_AREA = 1e-6  # square pixels: what remains of a collinear quad after rounding
_HEADER = re.compile(r"(imagesource|gsd|acquisition dates)\s*:\s*(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class DotaLabels:
    """What one label file says."""

    annotations: Annotations
    """The objects, in the file's order; a quad keeps its corners and where it begins."""

    gsd: float | None
    """Metres per pixel, if the file knows."""

    image_source: str | None
    """Where the image comes from, e.g. ``GoogleEarth``."""

    repaired: int = 0
    """Objects whose corners ran crosswise and were put in order (their convex hull)."""

    skipped: int = 0
    """Objects left out because they have no area: a line or a point."""


class _Object(NamedTuple):
    corners: list[float]
    class_id: int
    difficult: bool


def read_dota(path: Path, legend: Legend) -> DotaLabels:
    """Read a DOTA label file; an empty one holds no objects.

    Raises AnnotationError that says every fault of the file with its line, up to 20 of them.
    """
    objects: list[_Object] = []
    header: dict[str, str] = {}
    faults: list[tuple[int, str]] = []
    gsd = None
    for number, line in enumerate(_lines(path), start=1):
        try:
            if not line.strip():
                continue
            if not objects and (match := _HEADER.fullmatch(line.strip())):
                header[match[1].lower()] = match[2]
                gsd = _gsd(match[2]) if match[1].lower() == "gsd" else gsd
            else:
                objects.append(_object(line, legend))
        except ValueError as fault:
            faults.append((number, str(fault)))
    if faults:
        raise AnnotationError(_message(path, faults))
    annotations, repaired, skipped = _annotations(objects)
    return DotaLabels(annotations, gsd, header.get("imagesource") or None, repaired, skipped)


def write_dota(
    path: Path,
    annotations: Annotations,
    legend: Legend,
    *,
    gsd: float | None = None,
    image_source: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write annotations as DOTA v1.0 text, to the last digit: `read_dota` gives the same numbers.

    What is no quad is written as its smallest rotated rectangle, as a DOTA annotator would draw it.
    """
    text = dota_text(annotations, legend, gsd=gsd, image_source=image_source)
    with replacing(path, overwrite=overwrite) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return path


def dota_text(
    annotations: Annotations,
    legend: Legend,
    *,
    gsd: float | None = None,
    image_source: str | None = None,
) -> str:
    """What `write_dota` writes; blanks in a class name become underscores."""
    lines = [f"imagesource:{image_source or 'unknown'}", f"gsd:{'null' if gsd is None else gsd}"]
    rows = zip(annotations.geometry, annotations.class_id, annotations.difficult, strict=True)
    for geometry, class_id, difficult in rows:
        corners = " ".join(repr(float(v)) for v in _quad(geometry).ravel())
        name = "_".join(legend[class_id].name.split())
        lines.append(f"{corners} {name} {int(difficult)}")
    return "\n".join(lines) + "\n"


def _lines(path: Path) -> list[str]:
    if path.is_file() and path.stat().st_size == 0:
        return []
    try:
        text = input_file(path, AnnotationError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise AnnotationError(f"{path}: is not UTF-8 text. save it as UTF-8") from fault
    return text.split("\n")  # Python has made one of CR, LF and CRLF


def _object(line: str, legend: Legend) -> _Object:
    fields = line.split()
    if len(fields) not in (9, 10):
        raise ValueError(
            f"found {len(fields)} fields, need 9 or 10 (8 numbers, class, 0 or 1): {_short(line)}"
        )
    difficult = fields[9] if len(fields) == 10 else "0"
    if difficult not in ("0", "1", "2"):  # 2 occurs in DOTA v1.5 and v2.0
        raise ValueError(f"difficult must be 0, 1 or 2, got {_short(difficult)}")
    corners = [_coordinate(field) for field in fields[:8]]
    class_id = legend.id_of(fields[8])
    if class_id == BACKGROUND:
        raise ValueError(f"{fields[8]!r} is what is left beside objects, not a class of them")
    return _Object(corners, class_id, difficult != "0")


def _coordinate(text: str) -> float:
    # float() alone would also take nan, inf, 5_0 and digits of other scripts
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{_short(text)} is not a coordinate")
    value = float(text)
    if not abs(value) <= LIMIT:
        raise ValueError(f"coordinate {_short(text)} is further than {LIMIT:,.0f} pixels away")
    return value


def _gsd(text: str) -> float | None:
    if text.strip().lower() in ("", "null", "none", "nan"):
        return None
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not 1e-4 <= value <= 1e4:
        raise ValueError(f"gsd must be metres per pixel or null, got {_short(text)}")
    return value


def _annotations(objects: list[_Object]) -> tuple[Annotations, int, int]:
    """The objects as polygons, how many of them were repaired, and how many more were skipped."""
    if not objects:
        return Annotations.empty(), 0, 0
    corners = np.array([o.corners for o in objects]).reshape(-1, 4, 2)
    geometry: NDArray[np.object_] = shapely.polygons(corners)
    crossed = ~shapely.is_valid(geometry)
    geometry[crossed] = shapely.convex_hull(geometry[crossed])
    whole = (shapely.get_dimensions(geometry) == 2) & (shapely.area(geometry) > _SMALLEST_AREA)
    annotations = Annotations(
        geometry,
        np.array([o.class_id for o in objects], np.uint8),
        np.array([o.difficult for o in objects], bool),
    )
    return annotations[whole], int((crossed & whole).sum()), int((~whole).sum())


def _quad(geometry: shapely.Geometry) -> NDArray[np.float64]:
    """(4, 2) corners."""
    ring: NDArray[np.float64] = shapely.get_coordinates(geometry)
    if len(ring) != 5:
        ring = shapely.get_coordinates(shapely.oriented_envelope(geometry))
    return ring[:4]


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:60]) + "..."


def _message(path: Path, faults: list[tuple[int, str]]) -> str:
    """Every fault once, with its lines, so that a class that is wrong throughout is said once."""
    lines: dict[str, list[str]] = {}
    for number, fault in faults:
        lines.setdefault(fault, []).append(str(number))
    parts = [f"{fault}{_also(numbers[1:])}" for fault, numbers in lines.items()][:_SHOWN]
    parts[1:] = [f"line {n[0]}: {part}" for n, part in zip(lines.values(), parts, strict=False)][1:]
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{path}:{faults[0][0]}: {'; '.join(parts)}{more}. correct the file"


def _also(numbers: list[str]) -> str:
    if not numbers:
        return ""
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f" (also line {', '.join(numbers[:_SHOWN])}{more})"


# DOTA's classes, as other data sets of the same images spell them.

log = logging.getLogger(__name__)

_TOLD = 3
_ALSO = {"store-tank": "storage-tank", "harbour": "harbor"}


def dota_spelling(names: Iterable[str], file: Path) -> Mapping[str, str]:
    """What to write for each name: where all are DOTA's but for capitals, spaces and underscores
    (``Small_Vehicle`` of iSAID), DOTA's, else the names as they are.
    """
    found = {name: re.sub(r"[\s_-]+", "-", name.strip().lower()) for name in names}
    found = {name: _ALSO.get(plain, plain) for name, plain in found.items()}
    if not found or not set(found.values()) <= set(DOTA_V2.names):
        return {name: name for name in found}
    changed = [f"{name!r} is {plain!r}" for name, plain in found.items() if name != plain]
    if changed:
        more = ", ..." if len(changed) > _TOLD else ""
        log.info("%s: classes are written as in DOTA: %s%s", file, ", ".join(changed[:_TOLD]), more)
    return found
