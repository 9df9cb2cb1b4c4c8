"""A small dataset that a network can learn in seconds: objects are plain rectangles in the colour of their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasterio.transform import from_origin

from tests.calls import prepare
from tests.scenes import write_scene

COLOURS = {"plane": (230, 60, 60), "ship": (60, 60, 230), "harbor": (60, 220, 60)}
"""What objects of a class look like in `dota_folder`: one plain colour each, on grey."""


def dota_folder(folder: Path, *, scenes: int = 3, size: int = 160, seed: int = 0) -> Path:
    """A DOTA folder with train and val: rectangles of the colours above and their labels."""
    rng = np.random.default_rng(seed)
    for split in ("train", "val"):
        for name in ("images", "labelTxt"):
            (folder / split / name).mkdir(parents=True)
        for number in range(scenes):
            pixels = np.full((3, size, size), 120, np.uint8)
            pixels += rng.integers(0, 20, pixels.shape, np.uint8)
            lines = ["imagesource:drawn", "gsd:0.5"]
            for name, colour in COLOURS.items():
                left, top = rng.integers(0, size - 40, 2)
                right, bottom = (left, top) + rng.integers(15, 40, 2)  # noqa: RUF005
                pixels[:, top:bottom, left:right] = np.reshape(colour, (3, 1, 1))
                corners = f"{left} {top} {right} {top} {right} {bottom} {left} {bottom}"
                lines.append(f"{corners} {name} 0")
            stem = f"{split}{number}"
            origin = from_origin(500_000 + 1000 * number, 5_000_000, 0.5, 0.5)
            image = folder / split / "images" / f"{stem}.tif"
            write_scene(image, pixels, crs="EPSG:32631", transform=origin)
            text = "\n".join(lines) + "\n"
            (folder / split / "labelTxt" / f"{stem}.txt").write_text(text, encoding="utf-8")
    return folder


def dataset(folder: Path, **drawn: int) -> Path:
    """A prepared dataset of `dota_folder`."""
    return prepare(dota_folder(folder / "dota", **drawn), folder / "dataset")
