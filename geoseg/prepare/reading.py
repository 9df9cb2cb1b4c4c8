"""What a reader of annotations is, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from geoseg.legend import Legend
from geoseg.prepare.drawn import Drawn
from geoseg.prepare.findings import Findings
from geoseg.scene import SceneInfo


@dataclass(frozen=True, slots=True)
class Reading:
    """How annotations are to be read; a format takes from it what it has a use for."""

    class_column: str = "class"
    """Column of a table that says what a polygon shows."""

    layer: str | None = None
    """Layer of a file that has several."""

    legend: Legend | None = None
    """Names of class ids, where the user named a legend."""

    colours: str | None = None
    """What colours of a picture mean: a name that `geoseg.prepare.formats.colours` knows, or a file."""

    findings: Findings = field(default_factory=Findings)
    """Where the reader tells of what is odd, and what it did about it."""


class Reader(Protocol):
    """Reads one format."""

    def __call__(
        self, path: Path, images: Sequence[SceneInfo], reading: Reading, /
    ) -> Sequence[Drawn | None]:
        """What was drawn on each of `images`, in their order.

        None for a scene whose annotations are of no use; why was told to `reading.findings.fault`. Raises
        AnnotationError when `path` as a whole is not what the format says.
        """
        ...
