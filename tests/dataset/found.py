"""What the report of a dataset says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path


def found(dataset: Path, kind: str, done: str) -> Counter[str]:
    """Note → how often, of the findings of a kind."""
    report = json.loads((dataset / "report.json").read_text(encoding="utf-8"))
    notes: Counter[str] = Counter()
    for finding in report["findings"]:
        if (finding["kind"], finding["done"]) == (kind, done):
            notes[finding["note"]] += finding["count"]
    return notes
