"""Oriented boxes as DOTA result text, the input of its evaluation server.

One file ``Task1_<class>.txt`` per class and one line per box: ``image score x1 y1 x2 y2 x3 y3 x4 y4``, corners in
pixels of the image (x right, y down).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.legend import Legend
from geoseg.polygons.boxes import fit_oriented_boxes
from geoseg.polygons.trace import PolygonBatch

_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


class DotaResults:
    """Open result files. A box without confidence has the score 1."""

    def __init__(self, files: Mapping[int, TextIO], image: str) -> None:
        self._files = files
        self._image = image

    def add(self, regions: PolygonBatch, keep: NDArray[np.bool_]) -> None:
        """Write the boxes of the polygons for which `keep` is True."""
        corners = fit_oriented_boxes(regions).coordinates.reshape(-1, 5, 2)[:, :4].reshape(-1, 8)
        scores = np.nan_to_num(regions.confidence_mean, nan=1.0)
        for index in np.flatnonzero(keep):
            place = " ".join(f"{value:.1f}" for value in corners[index])
            file = self._files[int(regions.class_id[index])]
            file.write(f"{self._image} {scores[index]:.4f} {place}\n")


@contextmanager
def open_dota_results(
    folder: Path, legend: Legend, image: str, *, overwrite: bool = False, append: bool = False
) -> Iterator[DotaResults]:
    """Open result files for the boxes of an image; they appear in `folder` when the block ends.

    `append` appends to existing files. Raises OutputError if files exist or the folder cannot be created.
    """
    names = {item.id: dota_file_name(item.name) for item in legend.objects}
    check_dota_results(folder, legend, overwrite=overwrite or append)
    with TemporaryDirectory(prefix=".geoseg-", dir=folder.parent) as scratch, ExitStack() as stack:
        for name in names.values():
            if append and (folder / name).is_file():
                shutil.copyfile(folder / name, Path(scratch, name))
        files = {
            class_id: stack.enter_context(
                Path(scratch, name).open("a", encoding="utf-8", newline="\n")
            )
            for class_id, name in names.items()
        }
        yield DotaResults(files, image)
        stack.close()
        folder.mkdir(exist_ok=True)
        for name in names.values():
            Path(scratch, name).replace(folder / name)


def check_dota_results(folder: Path, legend: Legend | None, *, overwrite: bool) -> None:
    """Raise OutputError if the results cannot be written, or exist without `overwrite`."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder. Name another one")
    if not folder.parent.is_dir():
        raise OutputError(f"{folder}: its folder does not exist. Create it first")
    names = [dota_file_name(item.name) for item in legend.objects] if legend else []
    taken = [name for name in names if (folder / name).exists()]
    if taken and not overwrite:
        raise OutputError(
            f"{folder / taken[0]}: exists already. Choose another folder, or pass --overwrite"
        )


def dota_file_name(class_name: str) -> str:
    """Return the name of the result file of a class."""
    return f"Task1_{_NOT_IN_A_NAME.sub('_', class_name)}.txt"
