"""What was found, told: a table at the end of a run, and report.json in the dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.dataset import REPORT
from geoseg.files import write_json
from geoseg.prepare.findings import Done, Finding, Findings

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
