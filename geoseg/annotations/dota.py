"""DOTA label text (v1.0, v1.5 and v2.0), read and written.

One object per line, ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``, with corners in pixels of the image (x right, y down).
Optional header lines: ``imagesource:GoogleEarth`` and ``gsd:0.146`` (metres per pixel).
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
from geoseg.files import input_file, write_text
from geoseg.legend import BACKGROUND, DOTA_V2, Legend

LIMIT = 1e6
"""Largest absolute value of a coordinate, in pixels; larger ones are errors."""

_LISTED = 20  # errors and lines that a message lists
_LISTED_NAMES = 3
_SMALLEST_AREA = 1e-6  # square pixels: rounding error of a collinear quad
_HEADER = re.compile(r"(imagesource|gsd|acquisition dates)\s*:\s*(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SYNONYMS = {"store-tank": "storage-tank", "harbour": "harbor"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DotaLabels:
    """Contents of one label file."""

    annotations: Annotations
    """Objects in the order of the file; a quad keeps its corners and their order."""

    gsd: float | None
    """Metres per pixel; None if unknown."""

    image_source: str | None
    """Source of the image, for example ``GoogleEarth``."""

    repaired: int = 0
    """Number of objects whose corners invalid; they were replaced by their convex hull."""

    skipped: int = 0
    """Number of objects left out because they have no area: lines and points."""


class _Quad(NamedTuple):
    corners: list[float]
    class_id: int
    difficult: bool


def read_dota(path: Path, legend: Legend) -> DotaLabels:
    """Read a DOTA label file; an empty file has no objects.

    Raises AnnotationError with up to 20 errors of the file and their lines.
    """
    objects: list[_Quad] = []
    header: dict[str, str] = {}
    errors: list[tuple[int, str]] = []
    gsd = None
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            if not line.strip():
                continue
            if not objects and (match := _HEADER.fullmatch(line.strip())):
                header[match[1].lower()] = match[2]
                gsd = _parse_gsd(match[2]) if match[1].lower() == "gsd" else gsd
            else:
                objects.append(_parse_object(line, legend))
        except ValueError as error:
            errors.append((number, str(error)))
    if errors:
        raise AnnotationError(_format_errors(path, errors))
    annotations, repaired, skipped = _repair_quads(objects)
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
    """Write annotations as DOTA v1.0 text, with all digits: `read_dota` returns the same numbers.

    An object that is not a quad is written as its smallest rotated rectangle.
    """
    text = format_dota(annotations, legend, gsd=gsd, image_source=image_source)
    write_text(path, text, overwrite=overwrite)
    return path


def format_dota(
    annotations: Annotations,
    legend: Legend,
    *,
    gsd: float | None = None,
    image_source: str | None = None,
) -> str:
    """Format annotations as the text that `write_dota` writes; blanks in class names become underscores."""
    lines = [f"imagesource:{image_source or 'unknown'}", f"gsd:{'null' if gsd is None else gsd}"]
    rows = zip(annotations.geometry, annotations.class_id, annotations.difficult, strict=True)
    for geometry, class_id, difficult in rows:
        corners = " ".join(repr(float(v)) for v in _to_quad(geometry).ravel())
        name = "_".join(legend[class_id].name.split())
        lines.append(f"{corners} {name} {int(difficult)}")
    return "\n".join(lines) + "\n"


def normalize_class_names(names: Iterable[str], file: Path) -> Mapping[str, str]:
    """Map class names to DOTA's spelling, if all of them are DOTA's but for case, spaces, underscores and hyphens.

    Data sets of the same images spell them differently, for example ``Small_Vehicle`` in iSAID. Other names are
    returned unchanged. `file` is for the log.
    """
    normalized = {name: re.sub(r"[\s_-]+", "-", name.strip().lower()) for name in names}
    normalized = {name: _SYNONYMS.get(plain, plain) for name, plain in normalized.items()}
    if not normalized or not set(normalized.values()) <= set(DOTA_V2.names):
        return {name: name for name in normalized}
    changed = [f"{name!r} to {plain!r}" for name, plain in normalized.items() if name != plain]
    if changed:
        more = ", ..." if len(changed) > _LISTED_NAMES else ""
        listed = ", ".join(changed[:_LISTED_NAMES])
        log.info("%s: renamed classes to DOTA's spelling: %s%s", file, listed, more)
    return normalized


def _read_lines(path: Path) -> list[str]:
    if path.is_file() and path.stat().st_size == 0:
        return []
    try:
        text = input_file(path, AnnotationError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text. Save it as UTF-8") from error
    return text.split("\n")  # read_text translates CR and CRLF


def _parse_object(line: str, legend: Legend) -> _Quad:
    fields = line.split()
    if len(fields) not in (9, 10):
        raise ValueError(
            f"{len(fields)} fields, expected 9 or 10 (8 numbers, class, 0 or 1): {_shorten(line)}"
        )
    difficult = fields[9] if len(fields) == 10 else "0"
    if difficult not in ("0", "1", "2"):  # 2 occurs in DOTA v1.5 and v2.0
        raise ValueError(f"difficult must be 0, 1 or 2, got {_shorten(difficult)}")
    corners = [_parse_coordinate(field) for field in fields[:8]]
    class_id = legend.id_of(fields[8])
    if class_id == BACKGROUND:
        raise ValueError(f"{fields[8]!r} is the background, not a class of objects")
    return _Quad(corners, class_id, difficult != "0")


def _parse_coordinate(text: str) -> float:
    # float() also accepts nan, inf, 5_0 and digits of other scripts
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{_shorten(text)} is not a coordinate")
    value = float(text)
    if not abs(value) <= LIMIT:
        raise ValueError(f"coordinate {_shorten(text)} is more than {LIMIT:,.0f} pixels away")
    return value


def _parse_gsd(text: str) -> float | None:
    if text.strip().lower() in ("", "null", "none", "nan"):
        return None
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not 1e-4 <= value <= 1e4:
        raise ValueError(f"gsd must be metres per pixel or null, got {_shorten(text)}")
    return value


def _repair_quads(objects: list[_Quad]) -> tuple[Annotations, int, int]:
    """Build polygons; also return the number of repaired and of skipped objects."""
    if not objects:
        return Annotations.empty(), 0, 0
    corners = np.array([o.corners for o in objects]).reshape(-1, 4, 2)
    geometry: NDArray[np.object_] = shapely.polygons(corners)
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.convex_hull(geometry[invalid])
    good = (shapely.get_dimensions(geometry) == 2) & (shapely.area(geometry) > _SMALLEST_AREA)
    annotations = Annotations(
        geometry,
        np.array([o.class_id for o in objects], np.uint8),
        np.array([o.difficult for o in objects], bool),
    )
    return annotations[good], int((invalid & good).sum()), int((~good).sum())


def _to_quad(geometry: shapely.Geometry) -> NDArray[np.float64]:
    """Return (4, 2) corners."""
    ring: NDArray[np.float64] = shapely.get_coordinates(geometry)
    if len(ring) != 5:
        ring = shapely.get_coordinates(shapely.oriented_envelope(geometry))
    return ring[:4]


def _shorten(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:60]) + "..."


def _format_errors(path: Path, errors: list[tuple[int, str]]) -> str:
    """Join the errors of a file; equal errors are listed once with all their lines."""
    lines: dict[str, list[str]] = {}
    for number, error in errors:
        lines.setdefault(error, []).append(str(number))
    parts = [f"{error}{_format_lines(numbers[1:])}" for error, numbers in lines.items()][:_LISTED]
    parts[1:] = [f"line {n[0]}: {part}" for n, part in zip(lines.values(), parts, strict=False)][1:]
    more = f"; and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return f"{path}:{errors[0][0]}: {'; '.join(parts)}{more}. Correct the file"


def _format_lines(numbers: list[str]) -> str:
    if not numbers:
        return ""
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f" (also line {', '.join(numbers[:_LISTED])}{more})"
