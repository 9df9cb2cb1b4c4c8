"""Images of a scene for the HTML report: image, reference, labels, and their errors."""

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
from rasterio.windows import Window

from geoseg.annotations.burn import Annotations, burn
from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.options import Difficult
from geoseg.raster.labels import LabelArray, LabelFile, cut_strips
from geoseg.raster.stretch import Stretch
from geoseg.report.quicklook import read_quicklook

SIZE = 1024
"""Largest side of an image in pixels."""

_MAX_BYTES = 700_000  # of a scene's images: nine scenes in base64 stay below 10 MB
_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 78]

CORRECT, MISSED, FALSE_POSITIVE, WRONG_CLASS = 1, 2, 3, 4
Colours = Mapping[int, tuple[int, int, int]]
_ERROR_COLOURS: Colours = {
    CORRECT: (0, 158, 115),
    MISSED: (213, 94, 0),
    FALSE_POSITIVE: (86, 180, 233),
    WRONG_CLASS: (240, 228, 66),
}
"""Distinguishable with colour-vision deficiencies (Okabe and Ito 2008); the same as in style.css."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneImages:
    """Image, labels and references of a scene at the size of the report."""

    image: NDArray[np.uint8]
    """(h, w, 3) red, green, blue."""

    labels: NDArray[np.uint8]
    """(h, w) predicted class IDs; 255 is nodata."""

    references: Mapping[str, NDArray[np.uint8]]
    """Layer to (h, w) reference class IDs; 255 is ignored."""


def read_images(
    path: Path,
    labels: LabelFile | LabelArray,
    references: Mapping[str, Annotations],
    *,
    stretch: Stretch | None = None,
    difficult: Difficult = "keep",
    window: Window | None = None,
) -> SceneImages:
    """Read a scene at reduced size, and its labels strip by strip.

    Parameters
    ----------
    path
        Scene.
    labels
        Class IDs on the grid of the scene.
    references
        Layer to annotations in pixels of the scene.
    stretch
        Colours of the image, see `read_quicklook`.
    difficult
        Treatment of difficult annotations.
    window
        Part of scene and labels that is the scene of the references; None: all.

    Raises
    ------
    SceneError
        If the scene or the labels cannot be read.
    """
    part = window or Window(0, 0, *labels.shape[::-1])
    rows, columns = part.height, part.width
    image = read_quicklook(
        path, size=min(SIZE, max(rows, columns)), stretch=stretch, window=window
    ).picture
    height, width = image.shape[:2]
    small = np.empty((height, width), np.uint8)
    down, across = _pixel_centres(rows, height), _pixel_centres(columns, width)
    for strip in labels.strips() if window is None else cut_strips(window):
        top = strip.row_off - part.row_off
        shown = slice(*np.searchsorted(down, (top, top + strip.height)))
        small[shown] = labels.read(strip)[np.ix_(down[shown] - top, across)]
    burned = {
        layer: burn(
            annotations,
            height,
            width,
            transform=Affine.scale(width / columns, height / rows),
            difficult=difficult,
        )
        for layer, annotations in references.items()
    }
    for reference in burned.values():
        reference[small == IGNORE] = IGNORE
    return SceneImages(image, small, burned)


def classify_errors(reference: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classify pixels as CORRECT, MISSED, FALSE_POSITIVE or WRONG_CLASS.

    Pixels that are background in both, or ignored, are 0.
    """
    annotated, predicted = reference != BACKGROUND, labels != BACKGROUND
    kinds = np.select(
        [annotated & (reference == labels), annotated & predicted, annotated, predicted],
        [CORRECT, WRONG_CLASS, MISSED, FALSE_POSITIVE],
        0,
    )
    kinds[(reference == IGNORE) | (labels == IGNORE)] = 0
    return kinds.astype(np.uint8)


def encode_images(
    images: SceneImages, legend: Legend, *, max_bytes: int = _MAX_BYTES
) -> dict[str, Any]:
    """Encode the images of a scene as data URIs.

    Parameters
    ----------
    images
        Images of one size.
    legend
        Colours of the classes.
    max_bytes
        Largest sum of the encoded images; larger ones are decimated.

    Returns
    -------
    dict
        ``rows``, ``columns``, and data URIs ``image``, ``labels``, and by layer ``references`` and ``errors``.
    """
    colours = {c.id: legend.rgb(c.id) for c in legend.objects}
    step = 1
    while True:
        labels = images.labels[::step, ::step]
        references = {layer: of[::step, ::step] for layer, of in images.references.items()}
        image = cv2.resize(images.image, labels.shape[::-1], interpolation=cv2.INTER_AREA)
        encoded = {
            "image": _encode_webp(image),
            "labels": _encode_png(labels, colours),
            "references": {layer: _encode_png(of, colours) for layer, of in references.items()},
            "errors": {
                layer: _encode_png(classify_errors(of, labels), _ERROR_COLOURS)
                for layer, of in references.items()
            },
        }
        if step >= max(images.labels.shape) or _count_bytes(encoded) <= max_bytes:
            return {"rows": labels.shape[0], "columns": labels.shape[1], **encoded}
        step *= 2


def _count_bytes(encoded: Mapping[str, Any]) -> int:
    """Count the bytes of data URIs before base64."""
    return sum(
        _count_bytes(part) if isinstance(part, Mapping) else len(part) * 3 // 4
        for part in encoded.values()
    )


def _encode_webp(image: NDArray[Any]) -> str:
    ok, data = cv2.imencode(".webp", image[..., ::-1], _WEBP)
    if not ok:
        raise RuntimeError(f"OpenCV could not encode {image.shape} as WebP")
    return _data_uri("image/webp", data.tobytes())


def _encode_png(values: NDArray[np.uint8], colours: Colours) -> str:
    """Encode values as a palette image; values without a colour are transparent."""
    palette = {
        value: (*colours.get(value, (0, 0, 0)), 255 * (value in colours)) for value in range(256)
    }
    height, width = values.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(
            driver="PNG", width=width, height=height, count=1, dtype="uint8", zlevel=9
        ) as png:
            png.write(np.ascontiguousarray(values), 1)
            png.write_colormap(1, palette)
        return _data_uri("image/png", memory.read())


def _data_uri(mime_type: str, data: bytes) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def _pixel_centres(pixels: int, shown: int) -> NDArray[np.intp]:
    """Return, for each of `shown` pixels, the index of the scene's pixel at its centre."""
    return ((np.arange(shown) + 0.5) * pixels / shown).astype(np.intp)
