"""A scene as pictures of a page: image, truth, labels, and where the two differ."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geoseg.annotations import Annotations, Difficult, burn
from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.polygons.labels import ArrayLabels, Labels
from geoseg.report.backdrop import read_backdrop

SIZE = 1024
"""Pixels of a picture's longer side, at most."""

_MOST_BYTES = 700_000  # of a scene's pictures: nine of them, in base64, stay below 10 MB
_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 78]

RIGHT, MISSED, INVENTED, CONFUSED = 1, 2, 3, 4
Colours = Mapping[int, tuple[int, int, int]]
_MISTAKES: Colours = {
    RIGHT: (0, 158, 115),
    MISSED: (213, 94, 0),
    INVENTED: (86, 180, 233),
    CONFUSED: (240, 228, 66),
}
"""Told apart with any vision (Okabe and Ito 2008); the same as in style.css."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A scene at the size of a picture."""

    image: NDArray[np.uint8]
    """(h, w, 3) red, green, blue"""

    labels: NDArray[np.uint8]
    """(h, w) class ids, IGNORE without data"""

    truths: Mapping[str, NDArray[np.uint8]]
    """Layer → (h, w) class ids, IGNORE where nothing counts"""


def look(
    path: Path,
    labels: Labels | ArrayLabels,
    truths: Mapping[str, Annotations],
    *,
    difficult: Difficult = "keep",
) -> Looked:
    """Read a scene, and its labels strip by strip; kept is what a picture shows.

    `labels` lie on the scene's grid, `truths` are in its pixels. Raises SceneError.
    """
    rows, columns = labels.shape
    image = read_backdrop(path, size=min(SIZE, max(rows, columns))).picture
    height, width = image.shape[:2]
    small = np.empty((height, width), np.uint8)
    down, across = _centres(rows, height), _centres(columns, width)
    for strip in labels.strips():
        top = strip.row_off
        part = slice(*np.searchsorted(down, (top, top + strip.height)))
        small[part] = labels.read(strip)[np.ix_(down[part] - top, across)]
    burned = {
        layer: burn(
            annotations,
            height,
            width,
            transform=Affine.scale(width / columns, height / rows),
            difficult=difficult,
        )
        for layer, annotations in truths.items()
    }
    for truth in burned.values():
        truth[small == IGNORE] = IGNORE
    return Looked(image, small, burned)


def mistakes(truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RIGHT, MISSED, INVENTED or CONFUSED where an object is or was seen, 0 elsewhere."""
    there, seen = truth != BACKGROUND, labels != BACKGROUND
    kinds = np.select(
        [there & (truth == labels), there & seen, there, seen],
        [RIGHT, CONFUSED, MISSED, INVENTED],
        0,
    )
    kinds[(truth == IGNORE) | (labels == IGNORE)] = 0
    return kinds.astype(np.uint8)


def pictures(looked: Looked, legend: Legend, *, most_bytes: int = _MOST_BYTES) -> dict[str, Any]:
    """The pictures of a scene as data URIs, with their size: rows, columns, image, labels, truths, mistakes.

    A scene that would take more than `most_bytes` is shown smaller.
    """
    classes = {c.id: legend.rgb(c.id) for c in legend.objects}
    step = 1
    while True:
        labels = looked.labels[::step, ::step]
        truths = {layer: truth[::step, ::step] for layer, truth in looked.truths.items()}
        image = cv2.resize(looked.image, labels.shape[::-1], interpolation=cv2.INTER_AREA)
        encoded = {
            "image": _webp(image),
            "labels": _png(labels, classes),
            "truths": {layer: _png(truth, classes) for layer, truth in truths.items()},
            "mistakes": {
                layer: _png(mistakes(truth, labels), _MISTAKES) for layer, truth in truths.items()
            },
        }
        if step >= max(looked.labels.shape) or _length(encoded) <= most_bytes:
            return {"rows": labels.shape[0], "columns": labels.shape[1], **encoded}
        step *= 2


def _length(encoded: Mapping[str, Any]) -> int:
    """Bytes of data URIs before base64."""
    return sum(
        _length(part) if isinstance(part, Mapping) else len(part) * 3 // 4
        for part in encoded.values()
    )


def _webp(image: NDArray[Any]) -> str:
    done, data = cv2.imencode(".webp", image[..., ::-1], _WEBP)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {image.shape} as WebP")
    return _uri("image/webp", data.tobytes())


def _png(values: NDArray[np.uint8], colours: Colours) -> str:
    """Opaque in the colours that are named, transparent elsewhere."""
    everything = {
        value: (*colours.get(value, (0, 0, 0)), 255 * (value in colours)) for value in range(256)
    }
    height, width = values.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(
            driver="PNG", width=width, height=height, count=1, dtype="uint8", zlevel=9
        ) as png:
            png.write(np.ascontiguousarray(values), 1)
            png.write_colormap(1, everything)
        return _uri("image/png", memory.read())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _centres(pixels: int, shown: int) -> NDArray[np.intp]:
    """The pixel of a scene that lies in the middle of each that is shown."""
    return ((np.arange(shown) + 0.5) * pixels / shown).astype(np.intp)
