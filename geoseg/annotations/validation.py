"""Validation report: what is wrong with the input of a dataset, and how each issue was resolved.

Readers of annotations and the steps of the pipeline add issues to one `ValidationReport`, from any thread::

    report.add(IssueKind.INVALID_RING, path, Action.REPAIRED, scene="P0001", count=3)
    report.add(IssueKind.NO_AREA, path, Action.LEFT_OUT, count=int((~good).sum()))  # 0 adds nothing
    report.reject(AnnotationError(f"{path}: has no image. ..."), IssueKind.NO_IMAGE)  # unusable input

At the end the report is logged as a table and written to ``report.json`` in the dataset.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from geoseg.errors import AnnotationError, SceneError, SkippedInputsError
from geoseg.files import write_json

InputError = AnnotationError | SceneError
"""Error of one input that does not affect the other inputs."""

FORMAT = "geoseg report 1"

_LISTED = 20  # errors that a message lists
_COLUMNS = ("issue", "action", "count", "files", "example")

log = logging.getLogger(__name__)


class IssueKind(StrEnum):
    """Kind of an issue; the value is its text in the table and in report.json."""

    NO_LABELS = "image without labels"
    NO_IMAGE = "labels without image"
    UNUSABLE = "unusable input"
    SIZE_DIFFERS = "image and labels differ in size"
    DUPLICATE_SCENE = "duplicate image"
    SHARED_GROUND = "overlapping scenes in two splits"
    NAME_CLASH = "duplicate scene name"
    NOT_LISTED = "listed scene not found"
    GAP = "block trimmed by the gap"

    DUPLICATE_OBJECT = "duplicate object"
    OUTSIDE = "object outside its scene"
    ON_NO_SCENE = "object outside all scenes"
    CUT = "object cut by the scene edge"
    INVALID_RING = "self-intersecting outline"
    NO_AREA = "object without area"
    NOT_A_POLYGON = "feature that is not a polygon"
    DROPPED_CLASS = "object of a dropped class"
    DIFFICULT = "difficult object"
    CROWD = "crowd region"
    NO_OUTLINE = "scene with quads but no outlines"
    CLASS_COLOUR = "class with two colours"
    PARTIAL_LAYER = "layer missing in some sources"

    BOX_ONLY = "bounding box without outline"
    ID_TWICE = "duplicate id"
    CONFIDENCE = "unused confidence value"
    UNLABELLED = "area without labels"

    ACCEPTED = "accepted polygon"
    REJECTED = "rejected polygon, now background"
    NOT_REVIEWED = "polygon without status outside the annotated area"

    OUTSIDE_AREA = "object outside the annotated area"
    CUT_BY_AREA = "object cut by the border of the annotated area"
    NOT_ANNOTATED = "scene outside the annotated area"
    MISSING_CLASS = "class missing in a split"
    SPARSE = "scene with large parts without annotation"


class Action(StrEnum):
    """How an issue was resolved."""

    REPAIRED = "repaired"
    LEFT_OUT = "left out"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue of one file."""

    kind: IssueKind

    file: str
    """Path as the user gave it."""

    action: Action

    scene: str | None = None
    """Name of the scene, where the issue concerns one."""

    count: int = 1
    """Number of objects or files."""

    note: str = ""
    """Further detail, for example the name of a class or an annotation layer."""

    def to_json(self) -> dict[str, Any]:
        """Convert to the entry of report.json."""
        return {
            "kind": self.kind.value,
            "done": self.action.value,
            "file": self.file,
            "scene": self.scene,
            "count": self.count,
            "note": self.note,
        }


class ValidationReport:
    """Issues of all inputs of a run, in a deterministic order. Safe to use from several threads.

    Parameters
    ----------
    skip
        Leave rejected inputs out instead of raising their errors.
    """

    def __init__(self, *, skip: bool = False) -> None:
        self._skip = skip
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[IssueKind, str, Action, str | None, str], int] = (
            defaultdict(int)
        )
        self.errors: list[InputError] = []
        """Errors of the rejected inputs."""

    def add(
        self,
        kind: IssueKind,
        file: str | os.PathLike[str],
        action: Action,
        *,
        scene: str | None = None,
        count: int = 1,
        note: str = "",
    ) -> None:
        """Add `count` issues; issues that differ in the count only are summed."""
        if count:
            with self._lock:
                self._counts[kind, os.fspath(file), action, scene, note] += int(count)

    def reject(self, error: InputError, kind: IssueKind = IssueKind.UNUSABLE) -> None:
        """Add the error of an input that cannot be used; its message begins with the file."""
        with self._lock:
            self.errors.append(error)
        if self._skip:
            log.warning("left out: %s", error)
            file, _, note = str(error).partition(": ")
            self.add(kind, file, Action.LEFT_OUT, note=note)

    def raise_rejected(self) -> None:
        """Raise the errors of rejected inputs as one, unless such inputs are left out."""
        if self.errors and not self._skip:
            several = f"{len(self.errors)} invalid inputs: " if len(self.errors) > 1 else ""
            raise type(self.errors[0])(
                f"{several}{self.format_errors()} (--skip-bad leaves invalid inputs out)"
            )

    def raise_skipped(self, output: Path) -> None:
        """Raise SkippedInputsError if inputs were left out of the finished `output`."""
        if self.errors:
            raise SkippedInputsError(
                f"{output}: complete, but {len(self.errors)} inputs were left out: "
                f"{self.format_errors()}"
            )

    def format_errors(self) -> str:
        """Join all errors into one line; of more than 20 only the first are listed."""
        listed = " | ".join(str(error) for error in self.errors[:_LISTED])
        more = len(self.errors) - _LISTED
        return f"{listed} | and {more} more" if more > 0 else listed

    def __iter__(self) -> Iterator[Issue]:
        with self._lock:
            counts = sorted(self._counts.items(), key=lambda item: tuple(map(str, item[0])))
        order = list(IssueKind)
        for (kind, file, action, scene, note), count in sorted(
            counts, key=lambda item: order.index(item[0][0])
        ):
            yield Issue(kind, file, action, scene, count, note)

    def __len__(self) -> int:
        return len(self._counts)


@dataclass(slots=True)
class _Sum:
    """Issues of the same kind and action."""

    count: int = 0
    files: set[str] = field(default_factory=set)
    example: str = ""


def summarize(issues: Iterable[Issue]) -> list[dict[str, Any]]:
    """Sum issues by kind and action.

    Returns
    -------
    list of dict
        `kind`, `done`, `count`, number of `files`, and one of them as `example`.
    """
    sums: dict[tuple[str, str], _Sum] = {}
    for issue in issues:
        line = sums.setdefault((issue.kind.value, issue.action.value), _Sum())
        line.count += issue.count
        line.files.add(issue.file)
        line.example = line.example or _format_example(issue)
    return [
        {
            "kind": kind,
            "done": action,
            "count": line.count,
            "files": len(line.files),
            "example": line.example,
        }
        for (kind, action), line in sums.items()
    ]


def write_report(path: Path, report: ValidationReport) -> None:
    """Write the summary and every issue as JSON."""
    issues = list(report)
    write_json(
        path,
        {
            "format": FORMAT,
            "summary": summarize(issues),
            "findings": [issue.to_json() for issue in issues],
        },
    )


def log_report(path: Path, report: ValidationReport) -> None:
    """Log the summary as a table that names `path`, the file with all issues; nothing without issues."""
    lines = summarize(report)
    if not lines:
        return
    rows = [_COLUMNS, *(tuple(str(value) for value in line.values()) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = "\n".join(
        "  "
        + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    all_kept = all(line["done"] == Action.KEPT for line in lines)
    level = logging.INFO if all_kept else logging.WARNING
    log.log(level, "validation report (details in %s):\n%s", path, table)


def _format_example(issue: Issue) -> str:
    name = Path(issue.file).name
    return f"{name}: {issue.note}" if issue.note else name
