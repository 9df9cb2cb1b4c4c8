"""Issues in the validation report of a dataset."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path


def count_issues(dataset: Path, kind: str, done: str) -> Counter[str]:
    """Return the number of issues of a kind and action by note."""
    report = json.loads((dataset / "report.json").read_text(encoding="utf-8"))
    notes: Counter[str] = Counter()
    for issue in report["findings"]:
        if (issue["kind"], issue["done"]) == (kind, done):
            notes[issue["note"]] += issue["count"]
    return notes
