"""Text for Ultralytics' YOLO: a line an object, class number from 0, coordinates as shares of the image."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.files import replacing
from geoseg.tile.corners import four_corners
from geoseg.tile.pair import Format, Gathered, Line, Pair

PARTS = "objects are in several parts, a line each in YOLO"
HOLES = "objects have holes, which YOLO fills"
RESHAPED = "objects are no quads within their window and became some"


class _Yolo(Format):
    def finish(self, folder: Path, splits: Iterable[Gathered]) -> None:
        """Write data.yaml."""
        lines = [f"{split.split}: {split.split}/images" for split in splits]
        names = [f"  {c.id - 1}: {json.dumps(c.name)}" for c in self.legend.objects]
        with replacing(folder / "data.yaml", overwrite=True) as scratch:
            scratch.write_text("\n".join([*lines, "names:", *names, ""]), encoding="utf-8")

    def _write(
        self, pair: Pair, path: Path, rings: Iterable[tuple[int, NDArray[np.float64]]]
    ) -> None:
        height, width = pair.valid.shape
        lines = (
            " ".join([str(class_id - 1), *(f"{v:.10g}" for v in (ring / (width, height)).ravel())])
            for class_id, ring in rings
        )
        path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


class YoloSegments(_Yolo):
    """Outlines."""

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write a line for each part of each object."""
        rings = []
        for part, class_id in zip(pair.objects.part, pair.objects.whole.class_id, strict=True):
            parts = shapely.get_parts(part).tolist()
            pair.noted[PARTS] += len(parts) > 1
            pair.noted[HOLES] += any(polygon.interiors for polygon in parts)
            rings += [(int(class_id), np.array(p.exterior.coords[:-1])) for p in parts]
        self._write(pair, path, rings)
        return ()


class YoloBoxes(_Yolo):
    """Four corners, all within the image, as Ultralytics wants them."""

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write a line for each object."""
        height, width = pair.valid.shape
        quads = [four_corners(part, height, width) for part in pair.objects.part]
        pair.noted[RESHAPED] += sum(
            len(shapely.get_coordinates(part)) != 5 for part in pair.objects.part
        )
        ids = pair.objects.whole.class_id.tolist()
        self._write(pair, path, zip(ids, quads, strict=True))
        return ()
