"""What lies in a folder of windows: ``tiles.json``, ``legend.json`` and ``classes.txt``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.files import replacing, write_json
from geoseg.legend import IGNORE, Legend
from geoseg.tile.records import Records

MANIFEST = "tiles.json"
FORMAT = "geoseg tiles 1"


def write_manifest(folder: Path, head: Mapping[str, Any], splits: Sequence[Records]) -> None:
    """Write tiles.json: the head, then a line for each window."""
    with (
        replacing(folder / MANIFEST, overwrite=True) as scratch,
        scratch.open("w", encoding="utf-8") as file,
    ):
        opened = json.dumps({"format": FORMAT, **head}, indent=1, ensure_ascii=False)
        file.write(opened.removesuffix("\n}") + ',\n "windows": [')
        comma = ""
        for split in splits:
            for _, entry in split.windows():
                file.write(f"{comma}\n  {json.dumps(entry, ensure_ascii=False)}")
                comma = ","
        file.write("\n ]\n}\n")


def write_legend(folder: Path, legend: Legend) -> None:
    """Write the classes, for programs and as one name a line in the order of their ids."""
    write_json(folder / "legend.json", {"classes": legend.to_json(), "ignore": IGNORE})
    with replacing(folder / "classes.txt", overwrite=True) as scratch:
        scratch.write_text("".join(f"{name}\n" for name in legend.names), encoding="utf-8")
