"""COCO instances: one JSON file for all windows of a split, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geoseg.files import replacing
from geoseg.legend import Legend
from geoseg.tile.pair import Format, Gathered, Line, Pair
from geoseg.tile.rle import run_lengths

HOLES = "objects have holes and are pixels (RLE) in COCO"


class Coco(Format):
    """Polygons as lists of corners; those with holes, which COCO cannot say so, as run lengths."""

    def truth(self, split: str, name: str) -> str:  # noqa: ARG002
        """One file for all."""
        return f"annotations/instances_{split}.json"

    def is_whole(self, path: Path, entry: Line) -> bool:  # noqa: ARG002
        """There is no file yet: lines are looked at where they are kept."""
        return True

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:  # noqa: ARG002
        """Annotations, still without the ids of their own and of their image."""
        height, width = pair.valid.shape
        whole = pair.objects.whole
        for part, class_id, difficult in zip(
            pair.objects.part, whole.class_id, whole.difficult, strict=True
        ):
            said = _segmentation(part, height, width)
            pair.noted[HOLES] += isinstance(said["segmentation"], dict)
            yield {"category_id": int(class_id), **said, "iscrowd": int(difficult)}

    def finish(self, folder: Path, splits: Iterable[Gathered]) -> None:
        """Write a file for each split."""
        for split in splits:
            path = folder / self.truth(split.split, "")
            path.parent.mkdir(exist_ok=True)
            with (
                replacing(path, overwrite=True) as scratch,
                scratch.open("w", encoding="utf-8") as file,
            ):
                file.writelines(_document(split, self.legend))


def _document(split: Gathered, legend: Legend) -> Iterator[str]:
    info = json.dumps({"description": f"{split.split}, cut by geoseg tile"})
    yield f'{{"info": {info},\n"licenses": [],\n"categories": '
    yield json.dumps([{"id": c.id, "name": c.name, "supercategory": ""} for c in legend.objects])
    yield ',\n"images": ['
    yield from _items(_image(number, entry) for number, entry in split.windows())
    yield '],\n"annotations": ['
    yield from _items(
        {"id": n, "image_id": image, **line}
        for n, (image, line) in enumerate(split.lines(), start=1)
    )
    yield "]}\n"


def _items(items: Iterable[Line]) -> Iterator[str]:
    """Of a JSON list, a line each."""
    comma = ""
    for item in items:
        yield f"{comma}\n{json.dumps(item)}"
        comma = ","


def _image(number: int, entry: Line) -> Line:
    _, _, width, height = entry["window"]
    return {
        "id": number,
        "file_name": Path(entry["image"]).name,
        "width": width,
        "height": height,
    }


def _segmentation(part: shapely.Geometry, height: int, width: int) -> dict[str, Any]:
    """Segmentation, area and bbox of an object, in pixels."""
    parts = shapely.get_parts(part).tolist()
    if any(polygon.interiors for polygon in parts):
        counts = run_lengths(part, height, width)
        left, top, right, bottom = shapely.bounds(part).tolist()
        segmentation: Any = {"counts": counts, "size": [height, width]}
        area = float(sum(counts[1::2]))
    else:
        left, top, right, bottom = shapely.total_bounds(parts).tolist()
        segmentation = [np.ravel(polygon.exterior.coords[:-1]).tolist() for polygon in parts]
        area = round(sum(polygon.area for polygon in parts), 4)
    bbox = [left, top, round(right - left, 6), round(bottom - top, 6)]
    return {"segmentation": segmentation, "area": area, "bbox": bbox}
