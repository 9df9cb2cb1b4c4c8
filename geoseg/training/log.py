"""The log of a run: JSON lines, a CSV table, and TensorBoard's events for those who watch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError
from geoseg.files import replacing, write_json_lines

Line = Mapping[str, Any]
"""step, loss, learning_rate, miou (None between validations), seconds; after a validation also iou by class."""


def write_log(output: Path, history: Sequence[Line]) -> Path:
    """Write ``NAME.log.jsonl`` and ``NAME.log.csv`` beside `output`, as whole files; the path of the first.

    The table has a column for each class's IoU.
    """
    lines = output.with_suffix(".log.jsonl")
    write_json_lines(lines, history)
    with (
        replacing(output.with_suffix(".log.csv"), overwrite=True) as scratch,
        scratch.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = [_row(line) for line in history]
        columns = dict.fromkeys(column for row in rows for column in row)
        table = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return lines


class Board:
    """TensorBoard's event files in a folder."""

    def __init__(self, folder: Path, *, step: int) -> None:
        """Go on after `step`; what was written beyond it is hidden. Raises ConfigError without TensorBoard."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                '--tensorboard: TensorBoard is not installed. pip install "geoseg[tensorboard]"'
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        self._told = step

    def tell(self, history: Sequence[Line]) -> None:
        """Write the lines that are new."""
        for line in history:
            if line["step"] > self._told:
                for name, value in _row(line).items():
                    if name != "step" and value != "":
                        self._writer.add_scalar(name.replace(" ", "/"), value, line["step"])
        self._told = max(self._told, *(line["step"] for line in history), 0)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _row(line: Line) -> dict[str, Any]:
    plain = {name: "" if value is None else value for name, value in line.items() if name != "iou"}
    classes = {f"iou {name}": "" if v is None else v for name, v in line.get("iou", {}).items()}
    return plain | classes
