"""What is odd about the input of a dataset, and what was done about it: nothing is dropped silently.

One `Findings` goes with a run. Readers of annotations and the pipeline add to it, from any thread::

    findings.add(Kind.INVALID_RING, path, Done.REPAIRED, scene="P0001", count=3)
    findings.add(Kind.NO_AREA, path, Done.LEFT_OUT, count=int((~good).sum()))  # 0 adds nothing
    findings.fault(AnnotationError(f"{path}: has no image. …"), Kind.NO_IMAGE)  # an input of no use

At the end a table tells of all of it, and ``report.json`` in the dataset keeps it (`geoseg.dataset.validate`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from geoseg.errors import AnnotationError, SceneError, SkippedInputsError

Fault = AnnotationError | SceneError
"""What is wrong with one input and says nothing about the others."""

_NAMED = 20  # faults that an error message spells out
log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What was found; the value is what users read, in the table and in report.json."""

    NO_LABELS = "image without labels"
    NO_IMAGE = "labels without image"
    UNUSABLE = "input that cannot be used"
    SIZE_DIFFERS = "size of image and labels differs"
    DUPLICATE_SCENE = "same image twice"
    SHARED_GROUND = "same ground in two splits"
    NAME_CLASH = "scene name used twice"
    NOT_LISTED = "scene in the list but not here"
    GAP = "block cut back by the gap"

    DUPLICATE_OBJECT = "same object twice"
    OUTSIDE = "object outside its scene"
    ON_NO_SCENE = "object on no scene"
    CUT = "object cut by the edge"
    INVALID_RING = "outline that crosses itself"
    NO_AREA = "object without area"
    NOT_A_POLYGON = "feature that is no polygon"
    DROPPED_CLASS = "class to be dropped"
    DIFFICULT = "difficult object"
    CROWD = "crowd region"
    NO_OUTLINE = "quads in a scene without outlines"
    CLASS_COLOUR = "class with two colours"
    PARTIAL_LAYER = "layer that not every source has"

    BOX_ONLY = "box instead of an outline"
    ID_TWICE = "id used twice"
    CONFIDENCE = "confidence that nobody needs"
    NO_TRUTH = "ground without labels"


class Done(StrEnum):
    """What was done about it."""

    REPAIRED = "repaired"
    LEFT_OUT = "left out"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd in one file."""

    kind: Kind

    file: str
    """The file it stands in, as the user named it."""

    done: Done

    scene: str | None = None
    """The scene it concerns, where it is one."""

    count: int = 1
    """How many objects, or files."""

    note: str = ""
    """What else is to be known, e.g. the name of the unknown class."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in report.json."""
        return {
            "kind": self.kind.value,
            "done": self.done.value,
            "file": self.file,
            "scene": self.scene,
            "count": self.count,
            "note": self.note,
        }


class Findings:
    """Everything that was found. Inputs of no use stop the work, or with `skip` are left out of it."""

    def __init__(self, *, skip: bool = False) -> None:
        self._skip = skip
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[Kind, str, Done, str | None, str], int] = defaultdict(int)
        self.faults: list[Fault] = []

    def add(
        self,
        kind: Kind,
        file: str | os.PathLike[str],
        done: Done,
        *,
        scene: str | None = None,
        count: int = 1,
        note: str = "",
    ) -> None:
        """Take note of `count` things; what differs in nothing but the count becomes one finding."""
        if count:
            with self._lock:
                self._counts[kind, os.fspath(file), done, scene, note] += int(count)

    def fault(self, fault: Fault, kind: Kind = Kind.UNUSABLE) -> None:
        """Take note of an input that cannot be used; its message begins with the file."""
        with self._lock:
            self.faults.append(fault)
        if self._skip:
            log.warning("left out: %s", fault)
            file, _, what = str(fault).partition(": ")
            self.add(kind, file, Done.LEFT_OUT, note=what)

    def stop(self) -> None:
        """Raise the faults as one error, unless such input is to be left out."""
        if self.faults and not self._skip:
            several = f"{len(self.faults)} inputs are at fault: " if len(self.faults) > 1 else ""
            raise type(self.faults[0])(
                f"{several}{self.faults_text()} (--skip-bad leaves such input out)"
            )

    def tell(self, output: Path) -> None:
        """Raise a SkippedInputsError once `output` is complete but for inputs left out."""
        if self.faults:
            raise SkippedInputsError(
                f"{output}: complete, but {len(self.faults)} inputs were left out: "
                f"{self.faults_text()}"
            )

    def faults_text(self) -> str:
        """All faults in one line; of very many only the first."""
        named = " | ".join(str(fault) for fault in self.faults[:_NAMED])
        more = len(self.faults) - _NAMED
        return f"{named} | and {more} more" if more > 0 else named

    def __iter__(self) -> Iterator[Finding]:
        """In an order that does not depend on who was first."""
        with self._lock:
            counts = sorted(self._counts.items(), key=lambda item: tuple(map(str, item[0])))
        order = list(Kind)
        for (kind, file, done, scene, note), count in sorted(
            counts, key=lambda item: order.index(item[0][0])
        ):
            yield Finding(kind, file, done, scene, count, note)

    def __len__(self) -> int:
        return len(self._counts)
