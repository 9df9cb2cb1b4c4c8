"""Formats of annotations by name: ours, and those that other packages offer under the entry point
``geoseg.annotations.burn``.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from geoseg.annotations.coco import read_coco
from geoseg.annotations.label_rasters import read_labels
from geoseg.annotations.reader import Reader
from geoseg.annotations.vector import read_vector
from geoseg.annotations.yolo import read_yolo_obb, read_yolo_seg
from geoseg.errors import ConfigError

_OURS: dict[str, Reader] = {
    "coco": read_coco,
    "labels": read_labels,
    "vector": read_vector,
    "yolo-obb": read_yolo_obb,
    "yolo-seg": read_yolo_seg,
}


def reader(name: str) -> Reader:
    """The reader of a format; ours cannot be replaced. Raises ConfigError for an unknown name."""
    if name in _OURS:
        return _OURS[name]
    theirs = {e.name: e for e in entry_points(group="geoseg.annotations.burn")}
    if name not in theirs:
        known = ", ".join(sorted(_OURS.keys() | theirs.keys()))
        raise ConfigError(f"--format {name!r}: unknown. known: {known}")
    found: Reader = theirs[name].load()
    return found
