"""The log of a run: JSON lines, a CSV table, and TensorBoard events."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError
from geoseg.files import replacing, write_json_lines

LogLine = Mapping[str, Any]
"""step, loss, learning_rate, miou (None between validations), seconds; after a validation also iou by class, and
interior_f1 with object outputs."""


def write_log(output: Path, history: Sequence[LogLine]) -> Path:
    """Write ``NAME.log.jsonl`` and ``NAME.log.csv`` next to `output`, and return the path of the first.

    The table has a column for the IoU of each class.
    """
    lines = output.with_suffix(".log.jsonl")
    write_json_lines(lines, history)
    with (
        replacing(output.with_suffix(".log.csv"), overwrite=True) as scratch,
        scratch.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = [_flatten(line) for line in history]
        columns = dict.fromkeys(column for row in rows for column in row)
        table = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return lines


class TensorBoardLog:
    """Event files of TensorBoard.

    Parameters
    ----------
    folder
        Folder of the event files.
    step
        Step that the run starts from. Events of later steps, of an interrupted run, are hidden.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                '--tensorboard: TensorBoard is not installed. pip install "geoseg[tensorboard]"'
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        self._last_step = step

    def write(self, history: Sequence[LogLine]) -> None:
        """Write the lines of steps that are not written yet."""
        for line in history:
            if line["step"] > self._last_step:
                for name, value in _flatten(line).items():
                    if name != "step" and value != "":
                        self._writer.add_scalar(name.replace(" ", "/"), value, line["step"])
        self._last_step = max(self._last_step, *(line["step"] for line in history), 0)
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def _flatten(line: LogLine) -> dict[str, Any]:
    """Return a log line without nesting: a column ``iou CLASS`` per class, "" for None."""
    plain = {name: "" if value is None else value for name, value in line.items() if name != "iou"}
    classes = {f"iou {name}": "" if v is None else v for name, v in line.get("iou", {}).items()}
    return plain | classes
