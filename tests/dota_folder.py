"""DOTA folders for tests: drawn in legend colours, so that a pixel says which class is truly there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, burn
from geoseg.annotations.dota import write_dota
from geoseg.legend import DOTA_V2


class Thing(NamedTuple):
    """One annotated object: its four corners, x and y by turns, in pixels."""

    corners: Sequence[float]
    name: str = "plane"
    difficult: bool = False


SHIP = Thing((10, 20, 50, 20, 50, 34, 10, 34), "ship")
PLANE = Thing((60.5, 8, 90, 30, 70, 55, 44, 30.25), "plane", difficult=True)


def annotated(things: Sequence[Thing]) -> Annotations:
    corners = np.array([thing.corners for thing in things], float).reshape(-1, 4, 2)
    return Annotations(
        shapely.polygons(corners),
        np.array([DOTA_V2.id_of(thing.name) for thing in things], np.uint8),
        np.array([thing.difficult for thing in things], bool),
    )


def drawn(things: Sequence[Thing], height: int, width: int) -> NDArray[np.uint8]:
    """(3, height, width) colours of the legend, background black."""
    colours = np.array([DOTA_V2.rgb(c.id) for c in DOTA_V2], np.uint8)
    return np.moveaxis(colours[burn(annotated(things), height, width)], -1, 0)


def write_image(path: Path, pixels: NDArray[np.uint8], **profile: object) -> None:
    driver = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower(), "GTiff")
    count, height, width = pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver=driver, **shape, **profile) as image:
        image.write(pixels)


def add(
    folder: Path,
    name: str,
    things: Sequence[Thing] = (SHIP, PLANE),
    *,
    height: int = 80,
    width: int = 100,
    suffix: str = ".png",
    gsd: float | None = None,
    **profile: object,
) -> Path:
    """Add an image and its labels to a DOTA folder; returns the path of the image."""
    for part in ("images", "labelTxt"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_dota(
        folder / "labelTxt" / f"{name}.txt", annotated(things), DOTA_V2, gsd=gsd, overwrite=True
    )
    image = folder / "images" / f"{name}{suffix}"
    write_image(image, drawn(things, height, width), **profile)
    return image
